"""Reading pictures, the one resize, and turning. All images are made here."""

import contextlib
import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xray_core.errors import UnreadableImage
from xray_core.imaging.pixels import rotate, to_model_input
from xray_core.imaging.radiograph import MAX_BYTES, Radiograph, read_radiograph


def encoded(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(*values: int, dtype: str = "u1") -> np.ndarray:
    return np.array([values], dtype=dtype)


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds one byte of it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


IMAGE = np.arange(48, dtype="u1").reshape(6, 8) * 5


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_grey_levels_arrive_unchanged(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    image = read_radiograph(encoded(IMAGE, kind, **options))
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels, IMAGE)
    assert image.source_format == kind
    assert image.original_size == (6, 8)
    assert (image.frames, image.notes, image.windows, image.had_colour) == (1, (), (), False)
    assert (image.modality, image.view, image.body_part, image.age_years) == (None,) * 4


def test_equal_channels_are_grey_and_not_colour() -> None:
    image = read_radiograph(encoded(np.dstack([IMAGE] * 3), "PNG"))
    np.testing.assert_array_equal(image.pixels, IMAGE)
    assert not image.had_colour


def test_colour_is_found_and_becomes_luminance() -> None:
    image = read_radiograph(encoded(Image.new("RGB", (40, 30), (255, 0, 0)), "PNG"))
    assert image.had_colour
    assert image.pixels[0, 0] == 76  # ITU-R 601: 0.299 x 255


def test_compression_noise_in_a_grey_jpeg_is_not_colour() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64), dtype="u1")
    image = read_radiograph(encoded(np.dstack([noise] * 3), "JPEG", quality=30))
    assert image.source_format == "JPEG"
    assert not image.had_colour


@pytest.mark.parametrize(
    ("pixels", "expected", "note"),
    [
        (grey(0, 257, 65535, dtype="u2"), (0, 1, 255), False),
        (grey(0, 32896, 65535, dtype="u2"), (0, 128, 255), False),
        (grey(0, 819, 4095, dtype="u2"), (0, 51, 255), True),  # 12 bits in 16
        (grey(0, 100, 255, dtype="u2"), (0, 100, 255), True),  # 8 bits in 16
        (grey(0, 0, 0, dtype="u2"), (0, 0, 0), True),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_pixels_are_scaled_by_their_bits(
    kind: str, pixels: np.ndarray, expected: tuple[int, ...], note: bool
) -> None:
    image = read_radiograph(encoded(pixels, kind))
    np.testing.assert_allclose(image.pixels, [expected], atol=1e-4)
    assert bool(image.notes) == note


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (grey(0, 1, dtype="f4") / 2, (0, 127.5)),  # floats in [0, 1]
        (np.array([[0, np.nan, 255]], "f4"), (0, 0, 255)),
        (grey(-1000, 0, 1000, dtype="i4"), (0, 127.5, 255)),
        (grey(-7, -7, dtype="i4"), (0, 0)),
        (grey(0, 51, 255, dtype="i4"), (0, 51, 255)),
        (np.array([[-3e38, 0, 3e38]], "f4"), (0, 127.5, 255)),  # more than float32 spans
    ],
)
def test_floats_and_32_bit_numbers_are_scaled(
    pixels: np.ndarray, expected: tuple[float, ...]
) -> None:
    image = read_radiograph(encoded(pixels.astype(pixels.dtype), "TIFF"))
    np.testing.assert_allclose(image.pixels, [expected], atol=1e-3)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_tiff_with_white_as_zero_is_inverted(dtype: str) -> None:
    data = bytearray(encoded(grey(0, 51, 255, dtype=dtype), "TIFF"))
    (directory,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[directory : directory + 2])
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack("<H", data[entry : entry + 2]) == (262,):
            data[entry + 8 : entry + 10] = b"\0\0"
    np.testing.assert_allclose(read_radiograph(bytes(data)).pixels, [[255, 204, 0]], atol=1e-4)


def test_one_bit_is_black_and_white() -> None:
    image = read_radiograph(encoded(Image.fromarray(grey(0, 255, 0)).convert("1"), "PNG"))
    np.testing.assert_array_equal(image.pixels, [[0, 255, 0]])


def test_palette_is_looked_up() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 10, 10, 250, 250, 250, 128, 128, 128])
    image.putdata([0, 1, 2])
    for kind in ("PNG", "GIF", "BMP"):
        np.testing.assert_array_equal(
            read_radiograph(encoded(image, kind)).pixels, [[10, 250, 128]]
        )


def test_transparency_is_laid_on_black() -> None:
    image = read_radiograph(encoded(np.array([[[200, 255], [200, 0]]], "u1"), "PNG"))
    np.testing.assert_array_equal(image.pixels, [[200, 0]])


def test_alpha_of_zero_everywhere_is_ignored() -> None:
    image = read_radiograph(encoded(np.full((2, 2, 4), (90, 90, 90, 0), "u1"), "PNG"))
    np.testing.assert_array_equal(image.pixels, np.full((2, 2), 90))


def test_cmyk_jpeg_is_not_inverted() -> None:
    image = read_radiograph(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 55)), "JPEG"))
    np.testing.assert_allclose(image.pixels, 200, atol=1)


@pytest.mark.parametrize(
    ("orientation", "corner"),
    # Where the stored image's first pixel (0) stands when upright, as (row, column).
    [
        (1, (0, 0)),
        (2, (0, -1)),
        (3, (-1, -1)),
        (4, (-1, 0)),
        (5, (0, 0)),
        (6, (0, -1)),
        (7, (-1, -1)),
        (8, (-1, 0)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_turns_the_image_upright(
    kind: str, orientation: int, corner: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = read_radiograph(encoded(IMAGE, kind, exif=exif, **options))
    assert image.pixels.shape == ((6, 8) if orientation < 5 else (8, 6))
    assert image.pixels[corner] == 0
    assert image.original_size == (6, 8)


def test_of_an_animation_the_first_frame_is_read_and_said_so() -> None:
    frames = [Image.new("L", (4, 4), level) for level in (10, 100, 200)]
    image = read_radiograph(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert image.pixels.max() == 10
    assert image.frames == 3
    assert image.notes == ("Only the first of 3 frames was read.",)


@pytest.mark.parametrize("pixels", [grey(0), np.zeros((20, 30), "u1"), np.full((9, 9), 255, "u1")])
def test_tiny_black_and_white_images_are_readable(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(read_radiograph(encoded(pixels, "PNG")).pixels, pixels)


def test_path_bytes_and_file_object_give_the_same(tmp_path: Path) -> None:
    data = encoded(IMAGE, "PNG")
    path = tmp_path / "misleading.dcm"
    path.write_bytes(data)
    stream = io.BytesIO(data)
    stream.read(7)  # someone looked at it already
    for source in (path, str(path), data, bytearray(data), stream):
        np.testing.assert_array_equal(read_radiograph(source).pixels, IMAGE)


def test_pixels_cannot_be_changed() -> None:
    image = read_radiograph(encoded(IMAGE, "PNG"))
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0] = 1


JPEG = encoded(np.random.default_rng(0).integers(0, 256, (64, 64), dtype="u1"), "JPEG")
PNG = encoded(IMAGE, "PNG")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"%PDF-1.7\n%...", "PDF"),
        (b"\xef\xbb\xbf<!DOCTYPE HTML><html>", "web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing"),
        (b"PK\x03\x04" + bytes(40), "ZIP"),
        (b"\x1f\x8b\x08" + bytes(40), "gzip"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"Dear colleague, please find attached", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1", "not an image"),
        (bytes(1000), "not an image"),
        (JPEG[: len(JPEG) // 2], "damaged"),
        (JPEG[:20], "damaged"),
        (b"\xff\xd8\xff", "damaged"),
        (PNG[:-25], "damaged"),
        (PNG[:40] + b"\x55" + PNG[41:], "damaged"),
        (encoded(IMAGE, "TIFF")[:60], "damaged"),
        (encoded(IMAGE, "GIF")[:30], "damaged"),
        (png_header(30_000, 30_000), "megapixels"),
        (png_header(8_001, 8_000), "megapixels"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableImage, match=said) as refusal:
        read_radiograph(data)
    assert str(refusal.value).endswith(".")
    assert refusal.value.__cause__ is None


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for source in (tmp_path / "DOE_JANE.png", tmp_path, "nul\0in name"):
        with pytest.raises(UnreadableImage, match="does not exist") as refusal:
            read_radiograph(source)
        assert "JANE" not in str(refusal.value)


def test_files_over_the_limit_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UnreadableImage, match="200 MB"):
        read_radiograph(path)


def test_other_pillow_formats_are_not_opened() -> None:
    with pytest.raises(UnreadableImage):
        read_radiograph(encoded(IMAGE, "PPM"))


def test_a_wrong_type_of_source_is_the_programs_error() -> None:
    with pytest.raises(TypeError, match="Received"):
        read_radiograph(42)  # type: ignore[arg-type]


def test_damaged_pictures_never_raise_anything_else() -> None:
    chance = np.random.default_rng(5)
    samples = [JPEG, PNG, encoded(IMAGE, "TIFF"), encoded(IMAGE, "GIF"), encoded(IMAGE, "BMP")]
    for data in samples:
        for _ in range(60):
            broken = bytearray(data)
            for place in chance.integers(0, len(broken), 4):
                broken[place] = chance.integers(0, 256)
            with contextlib.suppress(UnreadableImage):
                read_radiograph(bytes(broken))


def test_threads_read_side_by_side() -> None:
    images = {level: encoded(np.full((50, 40), level, "u1"), "PNG") for level in range(0, 200, 10)}
    wrong: list[int] = []

    def read(level: int) -> None:
        for _ in range(5):
            if not (read_radiograph(images[level]).pixels == level).all():
                wrong.append(level)

    threads = [threading.Thread(target=read, args=(level,)) for level in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- to_model_input


def test_an_image_of_the_models_size_passes_unchanged() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (224, 224), dtype="u1")
    result = to_model_input(pixels)
    assert result.dtype == np.float32
    assert result.shape == (224, 224, 1)
    np.testing.assert_array_equal(result[:, :, 0], pixels)
    np.testing.assert_array_equal(to_model_input(pixels[:, :, np.newaxis]), result)
    np.testing.assert_array_equal(to_model_input(read_radiograph(encoded(pixels, "PNG"))), result)


def test_shrinking_averages_over_the_area() -> None:
    # Columns alternate 0, 0, 0, 255: nearest gives 0 or 255, plain bilinear 0 or 128 at best.
    pixels = np.zeros((448, 896), dtype=np.float32)
    pixels[:, 3::4] = 255
    result = to_model_input(pixels)
    inner = result[:, 2:-2]
    assert inner.min() > 40
    assert inner.max() < 90
    assert abs(float(inner.mean()) - 63.75) < 1


def test_every_pixel_counts_when_shrinking() -> None:
    pixels = np.zeros((2240, 2240), dtype=np.float32)
    pixels[1003, 1207] = 255  # one of five million: it must show wherever it lies
    assert to_model_input(pixels).sum() > 0


def test_the_aspect_ratio_is_not_kept() -> None:
    pixels = np.zeros((100, 1000), dtype="u1")
    pixels[:, 500:] = 200
    result = to_model_input(pixels)[:, :, 0]
    assert result.shape == (224, 224)
    assert (result[:, :100] == 0).all()
    assert (result[:, 124:] == 200).all()


def test_grey_levels_are_whole_and_in_range() -> None:
    pixels = np.random.default_rng(3).random((500, 300), dtype=np.float32) * 255
    result = to_model_input(pixels)
    assert (result == np.rint(result)).all()
    assert result.min() >= 0
    assert result.max() <= 255


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((224, 224, 3)),
        np.zeros((1, 224, 224)),
        np.zeros(224),
        np.zeros((0, 5)),
        np.full((10, 10), 300.0),
        np.full((10, 10), -1.0),
        np.full((10, 10), np.nan),
    ],
)
def test_wrong_shapes_and_ranges_are_an_error(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Received"):
        to_model_input(pixels)


def test_pixels_scaled_to_one_are_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"\[0, 1\]"):
        to_model_input(np.full((10, 10), 0.5))


def test_a_dark_image_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_model_input(Radiograph(np.full((9, 9), 0.4, np.float32), original_size=(9, 9)))
        to_model_input(np.ones((9, 9), dtype="u1"))
        to_model_input(np.zeros((9, 9)))


# --- turned


def test_turning_is_clockwise() -> None:
    image = read_radiograph(encoded(np.array([[1, 2, 3], [4, 5, 6]], "u1"), "PNG"))
    np.testing.assert_array_equal(rotate(image, 1).pixels, [[4, 1], [5, 2], [6, 3]])
    np.testing.assert_array_equal(rotate(image, 2).pixels, [[6, 5, 4], [3, 2, 1]])
    np.testing.assert_array_equal(rotate(image, -1).pixels, [[3, 6], [2, 5], [1, 4]])
    np.testing.assert_array_equal(rotate(image, 4).pixels, image.pixels)
    assert rotate(image, 1).original_size == (2, 3)


def test_inverting_exchanges_black_and_white() -> None:
    image = read_radiograph(encoded(grey(0, 100, 255), "PNG"))
    np.testing.assert_array_equal(rotate(image, inverted=True).pixels, [[255, 155, 0]])
    np.testing.assert_array_equal(image.pixels, [[0, 100, 255]])
