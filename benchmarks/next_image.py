"""Time from an arrow key in the list of images to the next image in the viewer.

    python benchmarks/next_image.py [--images 20] [--rounds 15] [--side 1500]

Starts the app and a headless Chromium (its path in CHROMIUM, by default /usr/bin/chromium) on this
computer, drops images made from an example of the default model, and steps through them. The time
ends when the new result is drawn and the viewer has drawn the new image.
"""

import argparse
import io
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 180_000  # milliseconds
DRAWN = """number => {
  const result = document.querySelector("section.result"), root = document.querySelector(".xv");
  return result?.textContent.includes(`Image ${number}`) && root?.dataset.state === "ready"
    && root.querySelector("canvas").getAttribute("aria-label")?.includes(`Image ${number}.`);
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--side", type=int, default=1500, help="side of the images in pixels")
    arguments = parser.parse_args()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    server = subprocess.Popen(
        [*command, "--server.headless", "true"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://localhost:{port}/_stcore/health")
        with sync_playwright() as playwright:
            chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1366, "height": 850})
            page.goto(f"http://localhost:{port}")
            seconds = _step(page, arguments.images, arguments.rounds, arguments.side)
            browser.close()
    finally:
        server.terminate()
        server.wait(20)
    print(
        f"next image of {arguments.images}, {arguments.side} pixels a side: median "
        f"{1e3 * statistics.median(seconds):.0f} ms, largest {1e3 * max(seconds):.0f} ms "
        f"({len(seconds)} steps)"
    )


def _wait_for(address: str) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("The app did not start.")


def _step(page: Page, images: int, rounds: int, side: int) -> list[float]:
    page.locator("input[type=file]").first.set_input_files(_files(images, side))
    expect(page.locator(".cl-row")).to_have_count(images, timeout=TIMEOUT)
    page.wait_for_function(DRAWN, arg=1, timeout=TIMEOUT)
    page.locator(".cl").focus()
    seconds = []
    for number in range(2, min(rounds, images - 1) + 2):
        page.wait_for_timeout(500)  # a reader looks at the image
        start = time.perf_counter()
        page.keyboard.press("ArrowDown")
        page.wait_for_function(DRAWN, arg=number, timeout=TIMEOUT)
        seconds.append(time.perf_counter() - start)
    return seconds


def _files(count: int, side: int) -> list[dict]:
    source = Image.open(ROOT / "models" / "resnet50" / "examples" / "pneumonia.png")
    pixels = np.asarray(source.resize((side, side)), np.float32)
    files = []
    for seed in range(count):
        noise = np.random.default_rng(seed).normal(0, 4, pixels.shape)
        buffer = io.BytesIO()
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG")
        name = f"{seed}.jpg"
        files.append({"name": name, "mimeType": "image/jpeg", "buffer": buffer.getvalue()})
    return files


if __name__ == "__main__":
    main()
