"""From "Search" to the results on the Prediction page, against dropping the same files.

    python benchmarks/pacs_page.py [--studies 50] [--side 2000] [--repeats 3]

Starts an Orthanc on localhost with synthetic studies of one image each, made from the examples of
the default model. The page runs in Streamlit's test runner, so no browser is measured. For one
study and for all of them, both ways alternate; medians are printed, and the ratio of the pairs. The
selection is not timed. The test runner draws the whole page for a search, a browser the tab alone.
"""

import argparse
import os
import secrets
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
os.chdir(ROOT)

from pacs_demo import USER, free_port, make_study, orthanc, wait_until_ready  # noqa: E402

from xray_core.pacs.client import PacsClient  # noqa: E402
from xray_core.pacs.settings import Server  # noqa: E402

PAGE = str(ROOT / "pages" / "prediction.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=50)
    parser.add_argument("--side", type=int, default=2000, help="height and width in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that Orthanc is ended
    examples = sorted((ROOT / "models" / "resnet50" / "examples").glob("*.png"))
    images = [
        np.asarray(Image.open(path).convert("L").resize((options.side, options.side)))
        for path in examples
    ]
    studies = [make_study(n, images[n % len(images)], ["PA"]) for n in range(options.studies)]
    password, port = secrets.token_urlsafe(12), free_port()
    url = f"http://localhost:{port}/dicom-web"
    os.environ |= {
        "XRAY_PACS_URL": url,
        "XRAY_PACS_USER": USER,
        "XRAY_PACS_PASSWORD": password,
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        orthanc(Path(folder), port, password) as process,
    ):
        client = PacsClient(Server("demo", url, user=USER, password=password, write=True))
        wait_until_ready(client, process)
        for uid, files in studies:
            client.store(uid, files)
        client.close()
        contents = [file for _, files in studies for file in files]
        size = sum(len(file) for file in contents) / len(contents) / 1e6
        print(f"{len(contents)} images of {size:.1f} MB, uncompressed")
        drop(contents[:1])  # loads the model
        for number in sorted({1, len(contents)}):
            compare(contents[:number], options.repeats)


def compare(contents: list[bytes], repeats: int) -> None:
    """Print the times of both ways, for these files and for as many studies."""
    pairs = [(fetch(len(contents)), drop(contents)) for _ in range(repeats)]
    search = statistics.median(searched for (searched, _), _ in pairs)
    fetched = statistics.median(sum(both) for both, _ in pairs)
    dropped = statistics.median(dropped for _, dropped in pairs)
    ratio = statistics.median(sum(both) / dropped for both, dropped in pairs)
    print(
        f"{len(contents):3} images: {fetched:6.2f} s from the PACS, of which the search "
        f"{search:.2f} s; {dropped:6.2f} s dropped; ratio {ratio:.2f} ({repeats} pairs)",
        flush=True,
    )


def fetch(number: int) -> tuple[float, float]:
    """Return the seconds of a search, and of fetching and analysing that many of its studies."""
    at = AppTest.from_file(PAGE, default_timeout=600).run()
    start = time.perf_counter()
    at = press(at, "Search")
    found = time.perf_counter()
    key = f"pacs-studies-{at.session_state['pacs_search'].number}"
    at.session_state[key] = {"selection": {"rows": list(range(number)), "columns": [], "cells": []}}
    at = at.run()
    chosen = time.perf_counter()
    check(press(at, "Fetch and analyse"), number)
    return found - start, time.perf_counter() - chosen


def drop(contents: list[bytes]) -> float:
    """Return the seconds from the drop of files to their results."""
    at = AppTest.from_file(PAGE, default_timeout=600).run()
    for place, data in enumerate(contents):
        at.file_uploader[0].upload(f"{place}.dcm", data, "application/dicom")
    start = time.perf_counter()
    check(at.run(), len(contents))
    return time.perf_counter() - start


def press(at: AppTest, label: str) -> AppTest:
    return next(button for button in at.button if button.label.startswith(label)).click().run()


def check(at: AppTest, number: int) -> None:
    cases = at.session_state["prediction_visit"].cases
    results = [case.result for case in cases if case.result is not None]
    if len(results) != number or any(result.probability is None for result in results):
        raise SystemExit("An image has no result.")


if __name__ == "__main__":
    main()
