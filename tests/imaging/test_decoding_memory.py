"""Decoding needs little memory per pixel, and all decodes together stay within a set limit."""

import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from dicom_maker import as_bytes, dicom_image
from drawn_images import encoded
from PIL import Image, ImageChops
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from xray_core.errors import UnreadableImage
from xray_core.imaging import decoding_memory
from xray_core.imaging.decoding_memory import LARGE_POOL_BYTES, MemoryPool, Reservation
from xray_core.imaging.dicom import decode, header
from xray_core.imaging.pixels import to_model_input
from xray_core.imaging.radiograph import MAX_PIXELS, read_radiograph
from xray_core.pacs.source import exclusions
from xray_core.prediction import inputs
from xray_core.prediction.inputs import prepare_input, prepare_input_or_reason

GREY = np.random.default_rng(0).integers(0, 256, (90, 80), dtype="u1")


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for another thread. The time limit of the suite ends a test that waits in vain."""
    while not holds():
        time.sleep(0.001)


class WatchedPool(MemoryPool):
    """A pool that records the most that was held at once."""

    most = 0

    def acquire(self, amount: int) -> None:
        super().acquire(amount)
        self.most = max(self.most, self.held)


@pytest.fixture
def large_pool(monkeypatch: pytest.MonkeyPatch) -> WatchedPool:
    """A pool for 1.5 images of the size of GREY, which count as large here."""
    with Reservation() as reservation:
        reservation.acquire(1)
    pool = WatchedPool(1)
    monkeypatch.setattr(decoding_memory, "LARGE_POOL", pool)
    monkeypatch.setattr(decoding_memory, "LARGEST_SMALL_BYTES", 0)
    pool.size = 10**9
    read_radiograph(encoded(GREY, "PNG"))
    pool.size = pool.most * 3 // 2
    pool.most = 0
    return pool


# --- pools


def test_threads_are_served_in_order() -> None:
    pool = MemoryPool(100)
    pool.acquire(80)
    threads = [threading.Thread(target=pool.acquire, args=(amount,)) for amount in (50, 10)]
    for count, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(lambda count=count: pool.waiting == count)
    # 10 bytes are free, but stay free while an earlier request waits.
    assert pool.held == 80
    pool.release(80)
    for thread in threads:
        thread.join()
    assert (pool.held, pool.waiting) == (60, 0)


def test_a_reservation_is_released_when_its_block_raises(large_pool: WatchedPool) -> None:
    def fail() -> None:
        with Reservation() as reservation:
            reservation.acquire(7)
            assert large_pool.held == 7
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert large_pool.held == 0


def test_a_reservation_is_released_before_another_is_acquired(large_pool: WatchedPool) -> None:
    with Reservation() as reservation:
        reservation.acquire(large_pool.size)
        reservation.acquire(large_pool.size)  # would wait for itself
        assert large_pool.held == large_pool.size
        reservation.acquire(7)  # less than is held
        assert large_pool.held == 7
        reservation.shrink(5)
        assert large_pool.held == 5


def test_large_images_wait_for_each_other(large_pool: WatchedPool) -> None:
    files = [encoded(GREY, "PNG") for _ in range(30)]
    with ThreadPoolExecutor(6) as threads:
        read = list(threads.map(read_radiograph, files))
    assert all((one.pixels == GREY).all() for one in read)
    assert 0 < large_pool.most <= large_pool.size
    assert (large_pool.held, large_pool.waiting) == (0, 0)


def test_a_small_image_does_not_wait_for_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with Reservation() as reservation:
        reservation.acquire(LARGE_POOL_BYTES)
        large = threading.Thread(target=read_radiograph, args=(large_png(),))
        large.start()
        wait_until(lambda: decoding_memory.LARGE_POOL.waiting == 1)
        assert (read_radiograph(encoded(GREY, "PNG")).pixels == GREY).all()
        assert decoding_memory.LARGE_POOL.waiting == 1
    large.join()
    assert decoding_memory.LARGE_POOL.held == 0


def large_png() -> bytes:
    return encoded(np.zeros((3000, 4000), "u1"), "PNG")


def test_a_decode_that_fails_releases_its_memory(large_pool: WatchedPool) -> None:
    broken = encoded(GREY, "PNG")[:-30]
    for _ in range(5):
        with pytest.raises(UnreadableImage, match="damaged"):
            read_radiograph(broken)
    assert large_pool.most > 0
    assert large_pool.held == 0


def test_a_failure_keeps_no_pixels_alive() -> None:
    with pytest.raises(UnreadableImage) as refusal:
        read_radiograph(encoded(GREY, "PNG")[:-30])
    assert refusal.value.__context__ is None


def test_an_image_that_exceeds_the_pool_is_refused(large_pool: WatchedPool) -> None:
    large_pool.size = 1000
    with pytest.raises(UnreadableImage, match="more memory to decode than is allowed"):
        read_radiograph(encoded(GREY, "PNG"))


def test_memory_stays_reserved_until_the_model_input_is_computed(
    large_pool: WatchedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    def spy(pixels: object) -> np.ndarray:
        held.append(large_pool.held)
        return to_model_input(pixels)

    monkeypatch.setattr(inputs, "to_model_input", spy)
    prepare_input(encoded(GREY, "PNG"))
    assert held[0] >= 4 * GREY.size
    assert large_pool.held == 0


def test_concurrent_readers_release_all_memory(large_pool: WatchedPool) -> None:
    """As `predict_many` reads: two threads, intact and damaged files, DICOM among them."""
    files = [encoded(GREY, "PNG"), encoded(GREY, "PNG")[:-30], encoded(GREY, "TIFF"), b"", GREY]
    files[4] = as_bytes(dicom_image(GREY))
    large_pool.size *= 10
    with ThreadPoolExecutor(2) as readers:
        results = [
            one.result() for one in [readers.submit(prepare_input_or_reason, f) for f in files * 8]
        ]
    assert sum(isinstance(one, str) for one in results) == 16
    assert (large_pool.held, large_pool.waiting) == (0, 0)


def test_a_deflated_file_is_inflated_and_decoded_within_the_pool(
    large_pool: WatchedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    large_pool.size = 1_000_000
    held: dict[str, int] = {}

    def record(module: ModuleType, name: str) -> None:
        original = getattr(module, name)

        def recording(*arguments: object, **options: object) -> object:
            held[name] = large_pool.held
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, recording)

    record(header, "_inflate")
    record(decode, "_decode_native")
    read_radiograph(as_bytes(dicom_image(GREY)))
    plain = held.pop("_decode_native")
    deflated = as_bytes(dicom_image(GREY), DeflatedExplicitVRLittleEndian)
    assert (read_radiograph(deflated).pixels == GREY).all()
    assert held["_inflate"] == 1_000_000
    # The inflated file, whose header takes less than its pixels, is held as well.
    assert GREY.size < held["_decode_native"] - plain < 2 * GREY.size
    assert large_pool.held == 0

    held.clear()
    assert exclusions(deflated) == []
    assert held == {"_inflate": 1_000_000}
    assert large_pool.held == 0


# --- memory of one decode

HEIGHT, WIDTH = 3_000, 4_000
LARGE = 10_000_000  # pixels from which an image counts as large here


def shades(side: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    row = np.linspace(0, 255, side).astype("u1")
    return np.broadcast_to(row, (height, side)).copy()


def rle_rgb32(height: int, width: int) -> bytes:
    runs = np.full(height * width // 128, 0x0781, "<u2").tobytes()  # 128 times the byte 7
    offsets = [64 + len(runs) * number for number in range(12)]
    data = dicom_image(np.zeros((2, 2, 3), "u4"), Rows=height, Columns=width)
    data.PixelData = encapsulate([struct.pack("<16L", 12, *offsets, 0, 0, 0) + runs * 12])
    data["PixelData"].is_undefined_length = True
    return as_bytes(data, RLELossless)


def jpeg_2000(pixels: np.ndarray) -> bytes:
    data = dicom_image(pixels)
    data.PixelData = encapsulate([encoded(pixels, "JPEG2000", irreversible=False, no_jp2=True)])
    data["PixelData"].is_undefined_length = True
    return as_bytes(data, JPEG2000Lossless)


def in_colour(alpha: int | None = None) -> Image.Image:
    image = Image.fromarray(shades()).convert("RGB")
    if alpha is not None:
        image.putalpha(alpha)
    return image


def one_strip(pixels: np.ndarray) -> bytes:
    from PIL import TiffImagePlugin

    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[278] = len(pixels)  # RowsPerStrip
    return encoded(pixels, "TIFF", compression="tiff_adobe_deflate", tiffinfo=directory)


# Bytes per pixel at the peak. Without strips, halving and OpenCV for WebP they were
# 19, 20 (of 3 samples: 60), 17, 10, 10, 11, 7, 8 and 12.
CASES: dict[str, tuple[Callable[[], bytes], float]] = {
    "WebP RGBA": (lambda: encoded(in_colour(200), "WEBP", lossless=True, method=0, quality=0), 11),
    "DICOM RLE RGB of 32 bits": (lambda: rle_rgb32(HEIGHT, WIDTH), 18),
    "TIFF of floats": (lambda: one_strip(shades().astype("f4")), 11),
    "JPEG": (lambda: encoded(in_colour(), "JPEG"), 4),
    "JPEG, progressive": (lambda: encoded(in_colour(), "JPEG", progressive=True), 9.5),
    "PNG RGBA": (lambda: encoded(in_colour(200), "PNG", compress_level=1), 6.5),
    "PNG": (lambda: encoded(shades(), "PNG", compress_level=1), 4),
    "PNG of 16 bits": (lambda: encoded(shades().astype("u2"), "PNG", compress_level=1), 5),
    "DICOM JPEG 2000": (lambda: jpeg_2000(shades().astype("u2") * 16), 11),
}

PROGRAM = """
import json, sys
from pathlib import Path
from xray_core.imaging import decoding_memory
from xray_core.imaging.radiograph import read_radiograph

decoding_memory.LARGEST_KEPT = int(sys.argv[3])

def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

requested = []
Reservation = decoding_memory.Reservation
acquire = Reservation.acquire
Reservation.acquire = lambda self, peak: (requested.append(peak), acquire(self, peak))[1]
if sys.argv[1].endswith("WebP RGBA"):
    import cv2
read_radiograph(sys.argv[2])
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
read = read_radiograph(sys.argv[1])
peak = resident("VmHWM") - before
print(json.dumps([peak, requested[-1], read.pixels.shape, read.original_size]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured through /proc")
@pytest.mark.parametrize("name", CASES)
def test_the_peak_of_a_decode_is_low_and_within_its_estimate(name: str, tmp_path: Path) -> None:
    make, most = CASES[name]
    (tmp_path / name).write_bytes(make())
    small = as_bytes(dicom_image(GREY)) if name.startswith("DICOM") else encoded(GREY, "PNG")
    (tmp_path / "small").write_bytes(small)
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / name), str(tmp_path / "small"), str(LARGE)],
        capture_output=True,
        text=True,
        check=True,
    )
    peak, estimate, shape, stored = json.loads(run.stdout)
    pixels = stored[0] * stored[1]
    assert pixels == HEIGHT * WIDTH
    assert shape == [stored[0] // 2, stored[1] // 2]
    file_bytes = (tmp_path / name).stat().st_size  # held by the caller as well
    assert peak - 2 * file_bytes < most * pixels
    # Ten megabytes for modules that are loaded, threads and fragmentation.
    assert peak - 2 * file_bytes < estimate + 10e6


@pytest.mark.parametrize("name", [name for name in CASES if "DICOM" not in name])
def test_the_largest_image_of_every_format_can_be_decoded(name: str) -> None:
    """The estimate for 64 megapixels, from the header alone, fits into the pool."""
    from xray_core.imaging.decode import _peak_bytes

    with Image.open(io.BytesIO(CASES[name][0]())) as image:
        image._size = (8_000, MAX_PIXELS // 8_000)
        kind = str(image.format)
        assert _peak_bytes(image, kind, 1) <= LARGE_POOL_BYTES


def test_a_tile_larger_than_its_image_counts() -> None:
    from xray_core.imaging.decode import _peak_bytes

    with Image.open(io.BytesIO(encoded(GREY, "TIFF", compression="tiff_lzw"))) as image:
        usual = _peak_bytes(image, "TIFF", 1)
        image.tag_v2[322] = image.tag_v2[323] = 60_000  # TileWidth, TileLength
        assert usual < 10e6 < LARGE_POOL_BYTES < _peak_bytes(image, "TIFF", 1)


# --- images read at half size


@pytest.fixture
def five_megapixels_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_memory, "LARGEST_KEPT", 5_000_000)


@pytest.fixture(scope="module")
def chest() -> np.ndarray:
    """Smooth shapes with fine noise, uint8 (2201, 2303)."""
    y, x = np.mgrid[-1:1:2201j, -1:1:2303j].astype(np.float32)
    noise = np.random.default_rng(4).normal(0, 12, y.shape).astype(np.float32)
    return np.clip(120 + 70 * np.cos(5 * x) * np.sin(4 * y) + 20 * x + noise, 0, 255).astype("u1")


@pytest.mark.parametrize("kind", ["PNG", "RGB", "WEBP", "16 bits", "float", "DICOM", "DICOM RGB"])
@pytest.mark.usefixtures("five_megapixels_are_large")
def test_halving_does_not_change_the_model_input(kind: str, chest: np.ndarray) -> None:
    rgb = Image.fromarray(chest).convert("RGB")
    data = {
        "PNG": lambda: encoded(chest, "PNG", compress_level=0),
        "RGB": lambda: encoded(rgb, "TIFF"),
        "WEBP": lambda: encoded(rgb, "WEBP", lossless=True, quality=0, method=0),
        "16 bits": lambda: encoded(chest.astype("u2") * 257, "TIFF"),
        "float": lambda: encoded(chest.astype("f4") / 255, "TIFF"),
        "DICOM": lambda: as_bytes(dicom_image(chest)),
        "DICOM RGB": lambda: as_bytes(dicom_image(np.asarray(rgb))),
    }[kind]()
    read = read_radiograph(data)
    assert read.pixels.shape == (1_101, 1_152)
    assert read.original_size == (2_201, 2_303)
    assert not read.had_colour
    assert np.abs(to_model_input(read) - to_model_input(chest)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_halving_in_the_jpeg_decoder_does_not_change_the_model_input(
    mode: str, chest: np.ndarray
) -> None:
    """A JPEG decoder halves by frequencies, not by averages."""
    pixels = np.block([[chest, chest[:, ::-1]], [chest[::-1], chest[::-1, ::-1]]])
    data = encoded(Image.fromarray(pixels).convert(mode), "JPEG", quality=90)
    whole = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    assert whole.size > decoding_memory.LARGEST_KEPT
    read = read_radiograph(data)
    assert read.pixels.shape == (2_201, 2_303)
    assert np.abs(to_model_input(read) - to_model_input(whole)).max() <= 1


@pytest.mark.usefixtures("five_megapixels_are_large")
def test_halving_averages_two_by_two_pixels_and_fewer_at_odd_edges() -> None:
    pixels = np.zeros((2_001, 2_501), "u1")
    pixels[:2, :2] = [[10, 20], [30, 40]]
    pixels[-1, -3:] = [100, 200, 50]
    for data in (encoded(pixels, "PNG"), as_bytes(dicom_image(pixels))):
        read = read_radiograph(data).pixels
        assert read.shape == (1_001, 1_251)
        assert (read[0, 0], read[-1, -2], read[-1, -1]) == (25, 150, 50)
    spaced = read_radiograph(as_bytes(dicom_image(pixels, PixelSpacing=[0.1, 0.15])))
    assert spaced.pixel_spacing == (0.2, 0.3)


@pytest.mark.usefixtures("five_megapixels_are_large")
def test_a_large_image_is_rotated_upright() -> None:
    pixels = np.zeros((2_000, 2_502), "u1")
    pixels[:500, :500] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right side
    for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        read = read_radiograph(encoded(pixels, kind, exif=exif))
        assert read.pixels.shape == (1_251, 1_000)
        assert read.original_size == (2_000, 2_502)
        assert abs(read.pixels[100, -100] - 200) < 4
        assert read.pixels[100, 100] < 4


@pytest.mark.usefixtures("five_megapixels_are_large")
def test_colour_is_detected_in_a_large_image() -> None:
    colour = Image.new("RGB", (2_600, 2_000), (90, 90, 90))
    colour.paste((200, 90, 20), (0, 0, 900, 900))
    for data in (
        encoded(colour, "JPEG"),
        encoded(colour, "PNG"),
        encoded(colour, "WEBP"),
        as_bytes(dicom_image(np.asarray(colour))),
    ):
        assert read_radiograph(data).had_colour


@pytest.mark.usefixtures("five_megapixels_are_large")
def test_alpha_counts_in_a_large_image_unless_it_is_zero_everywhere() -> None:
    image = Image.new("RGBA", (2_600, 2_000), (90, 90, 90, 255))
    image.paste((90, 90, 90, 0), (0, 0, 900, 900))
    for kind in ("PNG", "WEBP"):
        read = read_radiograph(encoded(image, kind, **({"exact": True} if kind == "WEBP" else {})))
        assert (read.pixels[:400, :400] == 0).all()
        assert abs(read.pixels[900, 1_200] - 90) < 3
        image_without = image.copy()
        image_without.putalpha(0)
        lossless = {"exact": True, "lossless": True} if kind == "WEBP" else {}
        read = read_radiograph(encoded(image_without, kind, **lossless))
        assert (read.pixels == 90).all()


# --- images read at full size


@pytest.mark.parametrize("shape", [(20, 900_003), (900_003, 20), (2_001, 2_003), (1, 1)])
def test_strips_give_every_pixel_unchanged(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype="u1")
    np.testing.assert_array_equal(
        read_radiograph(encoded(pixels, "PNG", compress_level=0)).pixels, pixels
    )


@pytest.mark.parametrize(
    "shape", [(701, 900), (5_000, 300), (300, 5_000), (224, 3_000), (3_000, 224), (100, 90)]
)
def test_resizing_in_strips_equals_resizing_at_once(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(2).random(shape, dtype=np.float32) * 255
    at_once = Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(to_model_input(pixels)[..., 0], np.rint(np.asarray(at_once)))


def whole_levels(image: Image.Image) -> np.ndarray:
    """Convert a whole image to grey, on black where it is transparent."""
    alpha = None
    if image.mode in ("RGBA", "LA"):
        alpha = image.getchannel("A")
    elif "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
    levels = image.convert("L")
    return np.asarray(levels if alpha is None else ImageChops.multiply(levels, alpha))


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("1", "PNG", {}),
        ("L", "GIF", {}),
        ("P", "PNG", {}),
        ("P", "PNG", {"transparency": 7}),
        ("P", "GIF", {"transparency": 7}),
        ("LA", "PNG", {}),
        ("RGB", "PNG", {}),
        ("RGB", "PNG", {"transparency": (1, 2, 3)}),
        ("RGB", "JPEG", {"progressive": True}),
        ("RGB", "BMP", {}),
        ("RGB", "WEBP", {"quality": 60}),
        ("RGBA", "PNG", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
        ("CMYK", "TIFF", {}),
        ("CMYK", "JPEG", {}),
    ],
)
def test_conversion_to_grey_in_strips_equals_conversion_at_once(
    mode: str, kind: str, options: dict[str, object]
) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (777, 1_003, 4), dtype="u1")
    pixels[5, 5] = 1, 2, 3, 255
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.convert("RGB").quantize(64)
    elif mode != "RGBA":
        image = image.convert("RGB" if mode == "CMYK" else mode).convert(mode)
    data = encoded(image, kind, **options)
    with Image.open(io.BytesIO(data)) as decoded:
        np.testing.assert_array_equal(read_radiograph(data).pixels, whole_levels(decoded))


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_deep_pixels_scaled_in_strips_share_one_scale(kind: str) -> None:
    pixels = np.zeros((1_500, 400), "u2")
    pixels[0, 0], pixels[-1, -1] = 100, 4_095  # the first strip alone would have 8 bits
    read = read_radiograph(encoded(pixels, kind))
    assert read.pixels[0, 0] == np.float32(100) * np.float32(255 / 4_095)
    assert read.pixels[-1, -1] == 255
    floats = np.zeros((1_500, 400), "f4")
    floats[0, 0], floats[-1, -1] = -1, 3
    read = read_radiograph(encoded(floats, "TIFF"))
    assert (read.pixels[0, 0], read.pixels[1, 1], read.pixels[-1, -1]) == (0, 63.75, 255)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "DICOM"])
def test_memory_that_runs_out_ends_as_a_sentence(kind: str, tmp_path: Path) -> None:
    """A process that may take 40 MB more than it has, and then as much as it needs."""

    def image(side: int) -> bytes:
        pixels = np.tile(np.arange(side, dtype=np.uint16) % 256, (side, 1))
        if kind == "DICOM":
            return as_bytes(dicom_image(pixels, 12))
        return encoded(pixels.astype(np.uint8), kind)

    (tmp_path / "small").write_bytes(image(300))
    (tmp_path / "large").write_bytes(image(4000))
    script = """
import resource
from pathlib import Path
from xray_core.errors import UnreadableImage
from xray_core.imaging.radiograph import read_radiograph

small, large = Path("small").read_bytes(), Path("large").read_bytes()
read_radiograph(small)  # imports what the format needs
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 40 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
try:
    read_radiograph(large)
except UnreadableImage as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(read_radiograph(large).pixels.shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "The image is too large for this computer's memory.",
        "(4000, 4000)",
    ], done.stderr
