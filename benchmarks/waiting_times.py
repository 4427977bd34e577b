"""How long a visitor waits for the next image of a list, another page, and another threshold.

    python benchmarks/waiting_times.py [--images 20] [--rounds 15] [--side 1500]

Starts the app and a headless Chromium (its path in CHROMIUM, by default /usr/bin/chromium) on this
computer.

- Next image: images made from an example of the default model are dropped and stepped through. The
  time is from the arrow key until the result is drawn and the viewer has drawn the image.
- Another page: the pages are opened in turn by their links, with the images still open. The time
  is from the click until the script has ended and the page changes no more, without the first
  round, which fills the caches.
- Another threshold: the decision threshold of the Evaluation page is moved by one step. The time is
  from the key, to the same end.
"""

import argparse
import io
import os
import re
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

SETTLED = """() => {
  const start = performance.now();
  let last = start;
  const app = document.querySelector("[data-testid=stApp]");
  new MutationObserver(() => { last = performance.now(); }).observe(app, {
    subtree: true, childList: true, characterData: true,
    attributes: true, attributeFilter: ["data-test-script-state"],
  });
  window.settled = new Promise(done => {
    const poll = setInterval(() => {
      const idle = app.dataset.testScriptState === "notRunning";
      if (!idle || performance.now() - last < 1500) return;
      clearInterval(poll);
      done((last - start) / 1000);
    }, 50);
  });
}"""
PAGES = ("Evaluation", "Dataset", "Training", "Prediction")


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
            name = f"next image of {arguments.images}, {arguments.side} pixels a side"
            times = {name: _step(page, arguments.images, arguments.rounds, arguments.side)}
            times |= _switch(page)
            times["another threshold"] = _threshold(page, arguments.rounds)
            browser.close()
    finally:
        server.terminate()
        server.wait(20)
    for name, seconds in times.items():
        print(
            f"{name}: median {1e3 * statistics.median(seconds):.0f} ms, largest "
            f"{1e3 * max(seconds):.0f} ms ({len(seconds)} times)"
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


def _switch(page: Page, rounds: int = 4) -> dict[str, list[float]]:
    """Open each page in turn."""
    times: dict[str, list[float]] = {f"page {name}": [] for name in PAGES}
    for turn in range(rounds):
        for name in PAGES:
            page.evaluate(SETTLED)
            page.get_by_role("link", name=name).click()
            seconds = page.evaluate("window.settled")
            if turn:
                times[f"page {name}"].append(seconds)
    return times


def _threshold(page: Page, rounds: int) -> list[float]:
    page.get_by_role("link", name="Evaluation").click()
    slider = page.get_by_role("slider", name=re.compile("hreshold")).first
    slider.wait_for(timeout=TIMEOUT)
    page.wait_for_timeout(3000)
    seconds = []
    for _ in range(rounds):
        page.evaluate(SETTLED)
        slider.press("ArrowRight")
        seconds.append(page.evaluate("window.settled"))
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
