"""A day's work in one process: memory and open files while many images are analysed.

Run: python benchmarks/soak.py [--images 10000] [--models models] [--model resnet50]

Each image is an example of the model with noise of its own, of a size between 300 and 2,500 pixels,
as PNG or JPEG; one in fifty is damaged. It is read, analysed with a map, packed for the
viewer and released, as the Prediction page does. A table has resident memory and
the number of open files ten times during the run. The exit status is 1 if, over the second half,
memory grew by more than 5%, or any file stayed open.
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ui.prediction.cases import Case
from ui.prediction.view import make_view
from ui.viewer.viewer import pack_map
from xray_core.errors import UnreadableImage
from xray_core.prediction.predictor import Predictor

GROWTH = 1.05
METHODS = ("gradcam", "gradcam++", "layercam")


def file_of(example: Image.Image, random: np.random.Generator, number: int) -> bytes:
    """Return the file of an image: PNG or JPEG; one in fifty ends too early."""
    side = int(random.integers(300, 2500))
    pixels = np.asarray(example.convert("L").resize((side, side)), np.float32)
    pixels = np.clip(pixels + random.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG" if number % 2 else "JPEG", compress_level=1)
    data = file.getvalue()
    return data[: len(data) // 3] if number % 50 == 49 else data


def analyse(predictor: Predictor, data: bytes, method: str) -> str:
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
    return result.verdict


def resident() -> float:
    """Return the resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--model", default="resnet50")
    options = parser.parse_args()
    predictor = Predictor.load(options.models / options.model)
    folder = options.models / options.model / "examples"
    examples = [Image.open(path) for path in sorted(folder.glob("*.png"))]
    random, counts, rows = np.random.default_rng(0), Counter[str](), []
    start = time.monotonic()
    print("images  minutes  resident MB  open files")
    for number in range(options.images):
        data = file_of(examples[number % len(examples)], random, number)
        verdict = analyse(predictor, data, METHODS[number % len(METHODS)])
        counts[verdict] += 1
        if (number + 1) % max(1, options.images // 10) == 0:
            gc.collect()
            rows.append((resident(), len(os.listdir("/proc/self/fd"))))
            minutes = (time.monotonic() - start) / 60
            print(f"{number + 1:6} {minutes:8.1f} {rows[-1][0]:12.0f} {rows[-1][1]:11}", flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    half, end = rows[len(rows) // 2 - 1], rows[-1]
    print(f"second half: memory x {end[0] / half[0]:.3f}, open files {end[1] - half[1]:+d}")
    return 0 if end[0] <= GROWTH * half[0] and end[1] <= half[1] else 1


if __name__ == "__main__":
    sys.exit(main())
