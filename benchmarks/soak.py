"""A day's work in one process: memory and open files while many images are analysed.

Run: python benchmarks/soak.py [--images 10000] [--files 200] [--models models] [--model resnet50]

The files are made first: examples of the model with noise of their own, of a size between 300 and
1,600 pixels, as PNG, JPEG or DICOM of 12 bits. One in fifty is damaged, and one in fifty is a
compressed DICOM image of pydicom's test files, for which a separate process is started. Each image
draws a file, is read, analysed with a map, packed for the viewer and released, as the Prediction
page does; every tenth gets a PDF report. The allocator is set as in the server. A table has the
memory of this process and the number of its open files and threads twenty times during the run. The
exit status is 1 if, over the second half, memory grew by more than 5%, any file stayed open or any
thread was left.
"""

import argparse
import gc
import io
import os
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from ui.common.memory import bound_allocator
from ui.prediction.cases import Case
from ui.prediction.view import make_view
from ui.viewer.viewer import pack_map
from xray_core.command_line import silence_tensorflow
from xray_core.errors import UnreadableImage
from xray_core.prediction.overlay import draw_pictures
from xray_core.prediction.predictor import Predictor
from xray_core.prediction.report_pdf import report_pdf

GROWTH = 1.05
METHODS = ("gradcam", "gradcam++", "layercam")
COMPRESSED = "JPEGLSNearLossless_16.dcm"


def make_file(example: Image.Image, random: np.random.Generator, number: int) -> bytes:
    """Return the file of an image: of the formats in turn; one in fifty ends too early."""
    if number % 50 == 25:
        return Path(str(get_testdata_file(COMPRESSED))).read_bytes()
    side = int(random.integers(300, 1600))
    pixels = np.asarray(example.convert("L").resize((side, side)), np.float32)
    pixels = np.clip(pixels + random.normal(0, 6, pixels.shape).astype(np.float32), 0, 255)
    file = io.BytesIO()
    if number % 3 == 2:
        _dicom(pixels).save_as(file, enforce_file_format=True)
    else:
        image = Image.fromarray(pixels.astype(np.uint8))
        image.save(file, "PNG" if number % 3 else "JPEG", compress_level=1)
    data = file.getvalue()
    return data[: len(data) // 3] if number % 50 == 49 else data


def _dicom(pixels: np.ndarray) -> Dataset:
    """Return grey levels in [0, 255] as a radiograph of 12 bits, without a patient."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3.4"
    data.Modality, data.PhotometricInterpretation = "CR", "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.WindowCenter, data.WindowWidth = 2048, 4096
    data.PixelData = np.rint(pixels * (4095 / 255)).astype("<u2").tobytes()
    data["PixelData"].VR = "OW"
    return data


def analyse(predictor: Predictor, data: bytes, method: str, report: bool) -> str:
    """Do what the page does with a file, and return the verdict."""
    try:
        case = Case(1, data=data)
        view = make_view(case.read(), case.settings)
    except UnreadableImage:
        return "UNREADABLE"
    result = view.prediction(predictor, method)
    _ = view.shown
    if result.heatmap is not None:
        pack_map(result.heatmap)
    if report:
        pictures = draw_pictures(view.small, result)
        report_pdf(result, pictures.pixels, predictor.bundle, overlay=pictures.overlay)
    return result.verdict


def resident() -> float:
    """Return the resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--model", default="resnet50")
    options = parser.parse_args()
    silence_tensorflow()
    bound_allocator()
    predictor = Predictor.load(options.models / options.model)
    folder = options.models / options.model / "examples"
    examples = [Image.open(path) for path in sorted(folder.glob("*.png"))]
    random, counts, rows = np.random.default_rng(0), Counter[str](), []
    files = [make_file(examples[n % len(examples)], random, n) for n in range(options.files)]
    start = time.monotonic()
    print("images  minutes  resident MB  open files  threads")
    for number in range(options.images):
        data = files[random.integers(len(files))]
        method = METHODS[number % len(METHODS)]
        counts[analyse(predictor, data, method, number % 10 == 0)] += 1
        if (number + 1) % max(1, options.images // 20) == 0:
            gc.collect()
            row = resident(), *(len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task"))
            minutes = (time.monotonic() - start) / 60
            print("{:6} {:8.1f} {:12.0f} {:11} {:8}".format(number + 1, minutes, *row), flush=True)
            rows.append(row)
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    half, end = rows[len(rows) // 2 - 1], rows[-1]
    growth, opened, threads = end[0] / half[0], end[1] - half[1], end[2] - half[2]
    print(f"second half: memory x {growth:.3f}, open files {opened:+d}, threads {threads:+d}")
    return 0 if growth <= GROWTH and opened <= 0 and threads <= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
