"""Measure the memory of decoding one large image, six at once, and of a server process.

    python benchmarks/decode_memory.py [--model models/resnet50]

Every case is an image of 64 megapixels, the largest that is read, in a small file generated here.
Each is read in a new process that has read a small image of the same format before. Printed is the
growth of the process's resident memory from before the read, in MB (10^6 bytes): at its peak, with
the `Radiograph` in memory, and after it is deleted.
"""

import argparse
import io
import json
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

SIDE = 8_000
SMALL = 64
AT_ONCE = 6


def main() -> None:
    """Generate the files, measure each and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(ROOT / "models" / "resnet50"))
    parser.add_argument("--measure", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--warm", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.warm, arguments.prepare)))
        return

    with tempfile.TemporaryDirectory() as folder:
        print(f"{'image of 64 megapixels':34} {'file':>8} {'peak':>7} {'held':>7} {'after':>7}")
        files = {}
        for name in CASES:
            files[name] = Path(folder, name.replace(" ", "-")), Path(folder, f"small-{len(files)}")
            for path, side in zip(files[name], (SIDE, SMALL), strict=True):
                # Generated in another process, so that this one stays small.
                subprocess.run(
                    [sys.executable, __file__, "--make", name, str(path), str(side)], check=True
                )
            print_row(name, [files[name]], files[name][0].stat().st_size)
        six = [files[name] for name in list(CASES)[:AT_ONCE]]
        print_row(f"the first {AT_ONCE} at once", six, 0)
        print_row(f"the first {AT_ONCE} at once, checked", six, 0, "--prepare")
        same = [next(iter(files.values()))] * AT_ONCE
        print_row(f"{AT_ONCE} times the first at once", same, 0)
        print(f"\na process with Streamlit, TensorFlow and {Path(arguments.model).name}:")
        six_large = [str(large) for large, _ in six]
        command = [sys.executable, "-c", SERVER, str(ROOT), arguments.model, *six_large]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        print(run.stdout.strip())


SERVER = """
import resource, sys, threading
sys.path.insert(0, sys.argv[1])
import numpy as np, streamlit
from xray_core import Predictor
from xray_core.imaging.radiograph import Radiograph
y, x = np.mgrid[-1:1:500j, -1:1:600j].astype(np.float32)
image = 120 + 60 * np.sin(9 * x) * np.cos(7 * y) + 20 * np.sin(90 * x * y)
image += np.random.default_rng(0).normal(0, 8, image.shape)
predictor = Predictor.load(sys.argv[2])
predictor.explain(Radiograph(np.clip(image, 0, 255).astype(np.float32), image.shape), "gradcam")
peak = lambda: round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
print("one small image analysed, with a map:", peak(), "MB")
threads = [threading.Thread(target=predictor.predict, args=(path,)) for path in sys.argv[3:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("then six images of 64 megapixels at once:", peak(), "MB")
"""


def print_row(name: str, files: list[tuple[Path, Path]], size: int, *options: str) -> None:
    """Measure reading these files at once, in a new process, and print its growth in MB."""
    large, small = zip(*files, strict=True)
    command = [sys.executable, __file__, *options, "--measure", *map(str, large)]
    command += ["--warm", *map(str, small)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    growth = json.loads(run.stdout)
    columns = " ".join(f"{growth[key] / 1e6:7.0f}" for key in ("peak", "held", "after"))
    file = f"{size / 1e6:5.2f} MB" if size else ""
    print(f"{name:34} {file:>8} {columns}  {growth['problem']}", flush=True)


def measure(large: list[str], small: list[str], prepare: bool) -> dict[str, object]:
    """Read the files concurrently; return the growth of resident memory in bytes."""
    from xray_core.errors import UnreadableImage
    from xray_core.imaging.radiograph import read_radiograph

    def read(path: str) -> object:
        if prepare:
            from xray_core.prediction.inputs import prepare_input

            return prepare_input(path)
        return read_radiograph(path)

    for path in small:
        read(path)
    results: list[object] = []
    problems: list[str] = []

    def work(path: str) -> None:
        try:
            results.append(read(path))
        except UnreadableImage as error:
            problems.append(str(error))

    reset_peak()
    before = resident("VmRSS")
    threads = [threading.Thread(target=work, args=(path,)) for path in large]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    peak, held = resident("VmHWM"), resident("VmRSS")
    results.clear()
    return {
        "peak": peak - before,
        "held": held - before,
        "after": resident("VmRSS") - before,
        "problem": " ".join(sorted(set(problems))),
    }


def reset_peak() -> None:
    """Reset the recorded peak of this process (Linux, proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def resident(key: str) -> int:
    """Return a line of this process's status in bytes: VmRSS (current) or VmHWM (peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def image_file(mode: str, kind: str, **options: object) -> Callable[[int], bytes]:
    """Return a function that encodes a smooth image of this Pillow mode and format."""

    def make(side: int) -> bytes:
        row = np.linspace(0, 255, side).astype("u1")
        image = Image.fromarray(np.broadcast_to(row, (side, side)).copy()).convert(mode)
        if mode == "RGBA":
            image.putalpha(200)
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return make


def deep_png(side: int) -> bytes:
    """Return a PNG of 16 bits."""
    row = np.linspace(0, 4095, side).astype("u2")
    buffer = io.BytesIO()
    Image.fromarray(np.broadcast_to(row, (side, side)).copy()).save(buffer, "PNG")
    return buffer.getvalue()


def dicom(bits: int, samples: int, coding: str = "RLE") -> Callable[[int], bytes]:
    """Return a function that encodes a DICOM file; with three samples, a third of the pixels."""

    def make(side: int) -> bytes:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.encaps import encapsulate
        from pydicom.uid import (
            UID,
            ComputedRadiographyImageStorage,
            JPEG2000Lossless,
            JPEGLosslessSV1,
            RLELossless,
        )

        rows, columns = side, side // samples
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3.4"
        data.Rows, data.Columns, data.SamplesPerPixel = rows, columns, samples
        data.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = bits
        data.HighBit, data.PixelRepresentation = bits - 1, 0
        if samples == 3:
            data.PlanarConfiguration = 0
        syntax: UID = RLELossless
        if coding == "JPEG lossless":
            syntax = JPEGLosslessSV1
            frame = jpeg_lossless(rows, columns)
        elif coding == "JPEG 2000":
            syntax, frame = JPEG2000Lossless, jpeg_2000(rows, columns)
        else:
            planes = samples * bits // 8
            segment = packbits(rows * columns)
            offsets = [64 + len(segment) * number for number in range(planes)]
            header = struct.pack("<16L", planes, *offsets, *[0] * (15 - planes))
            frame = header + segment * planes
        data.PixelData = encapsulate([frame])
        data["PixelData"].is_undefined_length = True
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        buffer = io.BytesIO()
        data.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    return make


def packbits(count: int) -> bytes:
    """Return `count` bytes as runs of 128 (PS3.5, Annex G), each with a different value."""
    whole, rest = divmod(count, 128)
    values = np.arange(whole, dtype="u1")
    runs = np.stack([np.full(whole, 129, "u1"), values], axis=1).tobytes()
    return runs + (bytes([257 - rest, 7]) if rest > 1 else b"\0\7" * rest)


def jpeg_lossless(rows: int, columns: int) -> bytes:
    """Return a lossless JPEG of 16 bits (ITU-T T.81, process 14) with every difference zero."""
    tables = struct.pack(">HHB16BB", 0xFFC4, 20, 0, 1, *[0] * 15, 0)  # one code, of one bit: 0
    start = struct.pack(">HHBHHBBBB", 0xFFC3, 11, 16, rows, columns, 1, 1, 0x11, 0)
    scan = struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, 1, 0, 0)
    body = bytes((rows * columns + 7) // 8)
    return b"\xff\xd8" + tables + start + scan + body + b"\xff\xd9"


def jpeg_2000(rows: int, columns: int) -> bytes:
    """Return a lossless JPEG 2000 codestream of 16 bits, of smooth content."""
    row = np.linspace(0, 65_535, columns).astype("u2")
    buffer = io.BytesIO()
    image = Image.fromarray(np.broadcast_to(row, (rows, columns)).copy())
    image.save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
    return buffer.getvalue()


CASES: dict[str, Callable[[int], bytes]] = {
    "WebP RGBA, lossless": image_file("RGBA", "WEBP", lossless=True, quality=0, method=0),
    "DICOM RLE, RGB of 32 bits": dicom(32, 3),
    "TIFF of floats, deflate": image_file("F", "TIFF", compression="tiff_adobe_deflate"),
    "JPEG, colour": image_file("RGB", "JPEG", subsampling=0),
    "JPEG, colour, progressive": image_file("RGB", "JPEG", subsampling=0, progressive=True),
    "PNG RGBA": image_file("RGBA", "PNG", compress_level=1),
    "JPEG, grey": image_file("L", "JPEG"),
    "PNG of 16 bits": deep_png,
    "PNG, grey": image_file("L", "PNG", compress_level=1),
    "GIF": image_file("L", "GIF"),
    "WebP RGB, lossy": image_file("RGB", "WEBP", method=0),
    "TIFF RGBA, LZW": image_file("RGBA", "TIFF", compression="tiff_lzw"),
    "DICOM RLE, 16 bits": dicom(16, 1),
    "DICOM JPEG 2000, 16 bits": dicom(16, 1, "JPEG 2000"),
    "DICOM JPEG lossless, 16 bits": dicom(16, 1, "JPEG lossless"),
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        Path(sys.argv[3]).write_bytes(CASES[sys.argv[2]](int(sys.argv[4])))
    else:
        main()
