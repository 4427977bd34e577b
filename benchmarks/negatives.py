"""Random images other than upright frontal chest X-rays, for measuring the input check.

The limits of the checks were chosen with the kinds in `SEEN`. Those in `UNSEEN` were set aside and
are only reported. `ALTERED` are upright chest X-rays as other machines and exports may produce
them; a caution is acceptable for these, a refusal should be rare. Each kind is a function
`(random, images) -> uint8 (H, W) or (H, W, 3)`, where `images` are chest X-rays (uint8 H x W) for
the kinds that alter one.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator

Pixels = np.ndarray
Kind = Callable[[Generator, Sequence[Pixels]], Pixels]


def _size(random: Generator, low: int = 200, high: int = 700) -> tuple[int, int]:
    return int(random.integers(low, high)), int(random.integers(low, high))


def _bytes(values: np.ndarray) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _clouds(random: Generator, height: int, width: int, steepness: float) -> np.ndarray:
    """Return noise in [0, 1] with a spectrum that falls like that of a photograph."""
    y = np.fft.fftfreq(height)[:, None]
    x = np.fft.rfftfreq(width)[None, :]
    radius = np.sqrt(x * x + y * y)
    radius[0, 0] = 1.0
    spectrum = random.normal(size=radius.shape) + 1j * random.normal(size=radius.shape)
    values = np.fft.irfft2(spectrum / radius**steepness, s=(height, width))
    low, high = np.percentile(values, (1, 99))
    return np.clip((values - low) / (high - low), 0, 1)


def _image(random: Generator, images: Sequence[Pixels]) -> Pixels:
    return images[int(random.integers(len(images)))]


def _words(random: Generator, count: int) -> str:
    letters = list("etaoinshrdlucmfwypvbgk")
    return " ".join(
        "".join(random.choice(letters, int(random.integers(2, 9)))) for _ in range(count)
    )


def landscape(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Noise with the spectrum of a photograph, with shaded objects in front."""
    height, width = _size(random)
    image = 255 * _clouds(random, height, width, random.uniform(1.2, 2.0))
    for _ in range(int(random.integers(2, 9))):
        shape = np.zeros((height, width), np.uint8)
        centre = (int(random.integers(width)), int(random.integers(height)))
        axes = tuple(int(random.integers(10, min(height, width) // 2)) for _ in range(2))
        cv2.ellipse(shape, centre, axes, float(random.uniform(0, 180)), 0, 360, 1, -1)
        texture = _clouds(random, height, width, 1.5) * random.uniform(10, 120)
        image = np.where(shape, random.uniform(0, 200) + texture, image)
    return _bytes(cv2.GaussianBlur(image, (0, 0), random.uniform(0.3, 1.5)))


def colour(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """A landscape whose channels differ."""
    image = landscape(random, images).astype(np.float32)
    tint = random.uniform(0.4, 1.0, 3)
    sky = _clouds(random, *image.shape, 2.0)[..., None] * random.uniform(-60, 60, 3)
    return _bytes(image[..., None] * tint + sky)


def text_page(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """A scanned page: lines of text, paper texture, uneven light."""
    height, width = 900, 650
    page = np.full((height, width), int(random.integers(200, 250)), np.uint8)
    for top in range(60, height - 40, int(random.integers(18, 34))):
        size = float(random.uniform(0.4, 0.6))
        cv2.putText(page, _words(random, 9), (40, top), 0, size, int(random.integers(60)), 1)
    image = (
        page + 40 * (_clouds(random, height, width, 2.5) - 0.5) + random.normal(0, 4, page.shape)
    )
    return _bytes(cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 1.2)))


def screenshot(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Windows, bars and text, dark or light, some with an image in one window."""
    height, width = int(random.integers(500, 800)), int(random.integers(800, 1200))
    dark = random.random() < 0.5
    image = np.full((height, width), 30 if dark else 240, np.uint8)
    for _ in range(int(random.integers(4, 10))):
        x, y = int(random.integers(width)), int(random.integers(height))
        corner = (x + int(random.integers(80, 500)), y + int(random.integers(30, 300)))
        cv2.rectangle(image, (x, y), corner, int(random.integers(20, 250)), -1)
    for _ in range(25):
        place = (int(random.integers(width)), int(random.integers(height)))
        cv2.putText(image, _words(random, 4), place, 0, 0.5, 220 if dark else 20, 1)
    if random.random() < 0.5:
        shown = cv2.resize(_image(random, images), (width // 3, height // 2))
        image[20 : 20 + height // 2, 30 : 30 + width // 3] = shown
    return image


def drawing(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Pencil strokes on paper with little noise."""
    height, width = _size(random, 300)
    image = np.full((height, width), int(random.integers(225, 255)), np.uint8)
    for _ in range(int(random.integers(15, 60))):
        points = np.cumsum(random.normal(0, 25, (12, 2)), axis=0) + random.uniform(0, 400, 2)
        cv2.polylines(image, [points.astype(np.int32)], False, int(random.integers(120)), 2)
    return _bytes(cv2.GaussianBlur(image, (0, 0), 0.8) + random.normal(0, 5, image.shape))


def mask(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Two white lungs on black, as segmentations are stored, some blurred by JPEG."""
    height, width = _size(random, 224)
    image = np.zeros((height, width), np.uint8)
    for side in (0.3, 0.7):
        centre = (int(width * (side + random.uniform(-0.03, 0.03))), height // 2)
        axes = (int(width * random.uniform(0.1, 0.17)), int(height * random.uniform(0.25, 0.4)))
        cv2.ellipse(image, centre, axes, float(random.uniform(-10, 10)), 0, 360, 255, -1)
    return _bytes(cv2.GaussianBlur(image, (0, 0), random.uniform(0.5, 4.0)))


def blank(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """One shade, or a smooth gradient, with noise."""
    height, width = _size(random)
    image = np.full((height, width), random.uniform(0, 255), np.float32)
    if random.random() < 0.6:
        image += np.linspace(0, random.uniform(-150, 150), width)[None, :]
        image += np.linspace(0, random.uniform(-150, 150), height)[:, None]
    return _bytes(image + random.normal(0, random.uniform(0, 6), image.shape))


def noise(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """White or coloured noise."""
    height, width = _size(random)
    if random.random() < 0.5:
        image = random.normal(random.uniform(60, 200), random.uniform(10, 90), (height, width))
        return _bytes(cv2.GaussianBlur(image, (0, 0), random.uniform(0.3, 3)))
    return _bytes(255 * _clouds(random, height, width, random.uniform(0, 3)))


def rotated_90(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """A chest X-ray rotated by 90 degrees."""
    return np.rot90(_image(random, images), int(random.choice([1, 3])))


def rotated_180(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """A chest X-ray rotated by 180 degrees."""
    return np.rot90(_image(random, images), 2)


def inverted(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """A chest X-ray with black and white exchanged."""
    return 255 - _image(random, images)


def crop(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """A ninth to a sixteenth of a chest X-ray, without a whole lung."""
    image = _image(random, images)
    share = random.uniform(0.25, 0.34)
    high, wide = int(image.shape[0] * share), int(image.shape[1] * share)
    y = int(random.integers(image.shape[0] - high))
    x = int(random.integers(image.shape[1] - wide))
    return cv2.resize(image[y : y + high, x : x + wide], (400, 400), interpolation=cv2.INTER_CUBIC)


def ct_slice(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """An axial slice of a body: bright rim, dark lungs, organs, on black."""
    side = 512
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]

    def disc(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1

    wide, high = random.uniform(0.7, 0.9), random.uniform(0.5, 0.65)
    image = np.where(disc(0, 0, wide, high), random.uniform(90, 130), 0.0)
    image[disc(0, 0, wide - 0.07, high - 0.07)] = random.uniform(120, 160)
    if random.random() < 0.6:
        for side_of in (-1, 1):
            image[disc(side_of * 0.38, 0, 0.25, random.uniform(0.25, 0.4))] = 20
    for _ in range(int(random.integers(3, 9))):
        where = disc(*random.uniform(-0.4, 0.4, 2), *random.uniform(0.04, 0.2, 2))
        image[where] = random.uniform(100, 190)
    image[disc(0, high - 0.2, 0.09, 0.08)] = 240
    blurred = cv2.GaussianBlur(image, (0, 0), random.uniform(1, 3))
    return _bytes(blurred + random.normal(0, random.uniform(3, 12), image.shape))


def hand(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Bones of five fingers within soft tissue, on black."""
    image = np.full((600, 480), random.uniform(5, 30), np.float32)
    soft, bone = float(random.uniform(60, 110)), float(random.uniform(170, 235))
    cv2.ellipse(image, (240, 430), (130, 140), 0, 0, 360, soft, -1)
    for number, angle in enumerate(np.linspace(-0.75, 0.5, 5) + random.uniform(-0.1, 0.1)):
        start = np.array([130 + 55 * number, 400 - 30 * (number % 4)], float)
        for length in (110, 75, 50):
            end = start + length * np.array([np.sin(angle), -np.cos(angle)])
            ends = tuple(start.astype(int)), tuple(end.astype(int))
            cv2.line(image, *ends, soft, 44)
            inner = tuple((start + 0.1 * (end - start)).astype(int))
            cv2.line(image, inner, tuple((start + 0.9 * (end - start)).astype(int)), bone, 20)
            start = end
    image = cv2.GaussianBlur(image, (0, 0), random.uniform(2, 5))
    return _bytes(image + random.normal(0, random.uniform(2, 8), image.shape))


# Set aside: no limit was chosen with these kinds.


def mr_head(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """A slice of a head: bright skin, folded brain, dark ventricles."""
    side = 256
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    radius = np.sqrt((x / random.uniform(0.65, 0.8)) ** 2 + (y / random.uniform(0.75, 0.9)) ** 2)
    folds = _clouds(random, side, side, 1.2)
    image = np.where(radius < 1, 200.0, 0.0)
    image[radius < 0.93] = 20
    brain = radius < 0.85
    image[brain] = (90 + 110 * folds)[brain]
    for sign in (-1, 1):
        image[((x - sign * 0.1) / 0.07) ** 2 + (y / 0.25) ** 2 < 1] = 25
    return _bytes(cv2.GaussianBlur(image, (0, 0), 1.2) + random.normal(0, 5, image.shape))


def montage(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Four chest X-rays in one image, as on a teaching slide."""
    tiles = [cv2.resize(_image(random, images), (220, 220)) for _ in range(4)]
    framed = [cv2.copyMakeBorder(t, 6, 6, 6, 6, cv2.BORDER_CONSTANT, value=0) for t in tiles]
    return np.vstack([np.hstack(framed[:2]), np.hstack(framed[2:])])


def ultrasound(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """A fan of speckle on black."""
    y, x = np.mgrid[0:480, 0:640]
    radius, angle = np.hypot(x - 320, y + 60), np.arctan2(x - 320, y + 60)
    speckle = random.rayleigh(1.0, (480, 640)) * (20 + 90 * _clouds(random, 480, 640, 1.8))
    fan = (radius > 90) & (radius < 520) & (np.abs(angle) < random.uniform(0.5, 0.8))
    return _bytes(cv2.GaussianBlur(np.where(fan, speckle, 2.0), (0, 0), 1.2))


def chart(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Bars and curves on a shaded background, as in a paper."""
    image = np.tile(np.linspace(120, 220, 640, dtype=np.float32), (480, 1))
    for number in range(int(random.integers(4, 12))):
        top = int(random.integers(60, 400))
        corner = (50 + 45 * number, top), (80 + 45 * number, 430)
        cv2.rectangle(image, *corner, float(random.uniform(20, 250)), -1)
    curve = np.stack([np.arange(40, 620, 20), 240 + 60 * np.cumsum(random.normal(0, 0.5, 29))], 1)
    cv2.polylines(image, [curve.astype(np.int32)], False, 10.0, 3)
    return _bytes(image + random.normal(0, 3, image.shape))


def weave(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Stripes and weaves, as of fabric or brick."""
    height, width = _size(random, 300)
    y, x = np.mgrid[0:height, 0:width]
    periods, phases = random.uniform(5, 60, 2), random.uniform(0, 6, 2)
    image = 128 + 60 * np.sin(x / periods[0] + phases[0]) + 50 * np.sin(y / periods[1] + phases[1])
    return _bytes(image + 40 * (_clouds(random, height, width, 1.0) - 0.5))


# Still chest X-rays: a caution is acceptable.


def locally_equalised(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Contrast-limited adaptive histogram equalisation, which many machines apply."""
    return cv2.createCLAHE(random.uniform(1.5, 4), (8, 8)).apply(_image(random, images))


def sharpened(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Edges enhanced by an unsharp mask."""
    image = _image(random, images).astype(np.float32)
    soft = cv2.GaussianBlur(image, (0, 0), random.uniform(1, 6))
    return _bytes(image + random.uniform(0.5, 1.5) * (image - soft))


def other_window(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Other brightness and contrast."""
    image = _image(random, images) / 255.0
    curved = image ** np.exp(random.uniform(-0.7, 0.7))
    return _bytes(255 * ((curved - 0.5) * random.uniform(0.6, 1.5) + 0.5))


def framed(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """A black border with a marker in it."""
    image = _image(random, images)
    rows, columns = (int(random.integers(5, 40)) for _ in range(2))
    image = cv2.copyMakeBorder(image, rows, rows, columns, columns, cv2.BORDER_CONSTANT, value=0)
    cv2.putText(image, "R AP", (columns + 4, rows + 16), 0, 0.5, 240, 1)
    return image


def barred(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Wide black bars above and below, or on both sides, as in a screenshot."""
    image = _image(random, images)
    high, wide = image.shape
    share = random.uniform(0.12, 0.6, 2)
    rows, columns = (
        (int(share[0] * high), 0) if random.random() < 0.5 else (0, int(share[1] * wide))
    )
    return cv2.copyMakeBorder(image, rows, rows, columns, columns, cv2.BORDER_CONSTANT, value=0)


def on_a_page(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """A white or grey border with a different width on each side, as of a scanned page."""
    image = _image(random, images)
    top, bottom, left, right = (
        int(side * random.uniform(0.03, 0.3)) for side in np.repeat(image.shape, 2)
    )
    shade = int(random.integers(150, 256))
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=shade)


def blurred_or_noisy(random: Generator, images: Sequence[Pixels]) -> Pixels:
    """Low resolution, or the noise of a low exposure."""
    image = _image(random, images)
    if random.random() < 0.5:
        side = int(random.integers(70, 140))
        return cv2.resize(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), (400, 400))
    return _bytes(image + random.normal(0, random.uniform(5, 14), image.shape))


SEEN: tuple[Kind, ...] = (
    landscape, colour, text_page, screenshot, drawing, mask, blank, noise, rotated_90,
    rotated_180, inverted, crop, ct_slice, hand,
)  # fmt: skip
UNSEEN: tuple[Kind, ...] = (mr_head, montage, ultrasound, chart, weave)
ALTERED: tuple[Kind, ...] = (
    locally_equalised, sharpened, other_window, blurred_or_noisy, framed, barred, on_a_page,
)  # fmt: skip
