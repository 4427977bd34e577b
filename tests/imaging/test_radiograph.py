"""Reading image files other than DICOM. All images are generated here."""

import contextlib
import gzip
import io
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from drawn_images import encoded
from PIL import Image

from xray_core.errors import UnreadableImage
from xray_core.imaging.radiograph import MAX_BYTES, read_radiograph


def grey(*values: int, dtype: str = "u1") -> np.ndarray:
    return np.array([values], dtype=dtype)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that declares a size and contains one byte of it."""

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


def test_colour_is_detected_and_converted_to_luminance() -> None:
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
        (np.array([[-3e38, 0, 3e38]], "f4"), (0, 127.5, 255)),  # a range beyond float32
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


def test_transparency_is_composited_on_black() -> None:
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
    # (row, column) of the first stored pixel (0) in the upright image.
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
def test_exif_orientation_is_applied(kind: str, orientation: int, corner: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = read_radiograph(encoded(IMAGE, kind, exif=exif, **options))
    assert image.pixels.shape == ((6, 8) if orientation < 5 else (8, 6))
    assert image.pixels[corner] == 0
    assert image.original_size == (6, 8)


def test_the_first_frame_of_several_is_read_with_a_note() -> None:
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
    stream.read(7)  # a caller has read part of it
    for source in (path, str(path), data, bytearray(data), stream):
        np.testing.assert_array_equal(read_radiograph(source).pixels, IMAGE)


def test_pixels_cannot_be_changed() -> None:
    image = read_radiograph(encoded(IMAGE, "PNG"))
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0] = 1


JPEG = encoded(np.random.default_rng(0).integers(0, 256, (64, 64), dtype="u1"), "JPEG")
PNG = encoded(IMAGE, "PNG")


@pytest.mark.parametrize(
    ("data", "message"),
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
def test_unreadable_files_are_refused_with_a_sentence(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableImage, match=message) as refusal:
        read_radiograph(data)
    assert str(refusal.value).endswith(".")
    assert refusal.value.__cause__ is None


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for source in (tmp_path / "DOE_JANE.png", tmp_path, "nul\0in name"):
        with pytest.raises(UnreadableImage, match="does not exist") as refusal:
            read_radiograph(source)
        assert "JANE" not in str(refusal.value)


def test_files_over_the_limit_are_refused_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UnreadableImage, match="200 MB"):
        read_radiograph(path)


def truncated_gzip() -> IO[bytes]:
    return gzip.open(io.BytesIO(gzip.compress(PNG)[:-20]))


def zip_member_with_a_wrong_checksum() -> IO[bytes]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", PNG)
    damaged = file.getvalue().replace(PNG, PNG[:-1] + b"x")
    return zipfile.ZipFile(io.BytesIO(damaged)).open("a.png")


class WithoutSeekable:
    def read(self, size: int) -> bytes:
        return PNG


class NothingYet(io.RawIOBase):
    """A stream that does not block and has no bytes yet."""

    def read(self, size: int = -1) -> None:
        return None


@pytest.mark.parametrize(
    "make", [truncated_gzip, zip_member_with_a_wrong_checksum, WithoutSeekable, NothingYet]
)
def test_a_file_object_that_fails_is_refused_with_a_sentence(make: Callable[[], object]) -> None:
    with pytest.raises(UnreadableImage, match="cannot be read to its end"):
        read_radiograph(make())


def test_an_interruption_of_a_file_object_is_not_held_back() -> None:
    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_radiograph(Interrupted(PNG))


def test_other_pillow_formats_are_not_opened() -> None:
    with pytest.raises(UnreadableImage):
        read_radiograph(encoded(IMAGE, "PPM"))


def test_a_source_of_another_type_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="Received"):
        read_radiograph(42)  # type: ignore[arg-type]


def test_damaged_images_raise_no_other_exception() -> None:
    random = np.random.default_rng(5)
    samples = [JPEG, PNG, encoded(IMAGE, "TIFF"), encoded(IMAGE, "GIF"), encoded(IMAGE, "BMP")]
    for data in samples:
        for _ in range(60):
            broken = bytearray(data)
            for position in random.integers(0, len(broken), 4):
                broken[position] = random.integers(0, 256)
            with contextlib.suppress(UnreadableImage):
                read_radiograph(bytes(broken))


def test_threads_read_concurrently() -> None:
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
