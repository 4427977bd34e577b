"""Script time of the image viewer for each frame while a visitor drags, in headless Chromium.

Run: python benchmarks/viewer_frames.py [--side 2048] [--frames 120]

The viewer is loaded without Streamlit, with an image of 16 bits of `--side` pixels, a map and a
mask of the lungs. Each gesture moves the pointer once a frame. The time of a frame is that of the
events since the last frame and of the drawing, both in the script; 16 ms are the time between two
frames of a screen at 60 Hz. The stage is that of a laptop (800 x 600) and of a full screen
(1920 x 1000). The line of each gesture has the median, the 95th percentile and the maximum.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ui.viewer.viewer import pack, pack_map

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "http://viewer.test/"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
PAGE = """<!doctype html><html><head><style>%s
  body { margin: 0 } .xv-stage { width: %dpx !important; height: %dpx !important }
</style></head><body><div id="parent">%s</div>
<script type="module">
  import show from "./viewer.js";
  const parentElement = document.getElementById("parent");
  const data = await (await fetch("./data.json")).json();
  show({ data, parentElement, setTriggerValue() {} });
</script></body></html>"""
MEASURE = """async ({ frames, button, dx, dy, zoom, side }) => {
  const viewer = document.querySelector(".xv").viewer, { canvas } = viewer;
  viewer.reset();
  viewer.setLayout(side ? "both" : "overlay");
  viewer.zoom(zoom / viewer.scale);
  const box = canvas.getBoundingClientRect(), times = [];
  let x = box.x + box.width / 2, y = box.y + box.height / 2, spent = 0;
  const paint = viewer.paint;
  viewer.paint = function () {
    const start = performance.now();
    paint.call(this);
    spent += performance.now() - start;
  };
  const fire = (kind) => {
    const options = { clientX: x, clientY: y, button, pointerId: 1, bubbles: true };
    const start = performance.now();
    canvas.dispatchEvent(new PointerEvent(kind, options));
    spent += performance.now() - start;
  };
  canvas.setPointerCapture = () => {};
  fire("pointerdown");
  for (let frame = 0; frame < frames; frame++) {
    const forth = frame % 40 < 20 ? 1 : -1;
    x += forth * dx;
    y += forth * dy;
    spent = 0;
    fire("pointermove");
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    times.push(spent);
  }
  fire("pointerup");
  viewer.paint = paint;
  return times;
}"""


def planes(side: int) -> tuple[dict[str, bytes], dict[str, object]]:
    """Return what the page fetches by its path, and the data of the viewer."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    noise = np.random.default_rng(0).normal(0, 20, (side, side))
    values = np.clip(1500 + 1200 * np.sin(6 * x) * np.cos(5 * y) + noise, 0, 4095)
    heatmap = np.exp(-((x - 0.3) ** 2 + (y - 0.6) ** 2) / 0.05).astype(np.float32)
    mask = (np.abs(np.abs(x - 0.5) - 0.22) < 0.15) & (np.abs(y - 0.5) < 0.3)
    levels = np.clip(np.arange(4096) / 16, 0, 255).astype(np.uint8)
    packed = {
        "image": pack(values.astype(np.uint16)),
        "map": pack_map(heatmap),
        "lungs": pack(mask[:: max(1, side // 224), :: max(1, side // 224)].astype(np.uint8) * 255),
        "levels": pack(levels[np.newaxis]),
    }
    addresses = {
        name: {"url": f"/{name}", "width": p.width, "height": p.height, "bits": p.bits}
        for name, p in packed.items()
    }
    tone = {"slope": 1, "intercept": 0, "center": 2048, "width": 4096, "inverted": False}
    data = {
        "description": "A drawn image",
        "image": addresses["image"],
        "map": {**addresses["map"], "name": "Grad-CAM"},
        "lungs": addresses["lungs"],
        "tone": {**tone, "presets": [], "levels": addresses["levels"]},
        "spacing": {"rows": 0.2, "columns": 0.2, "atDetector": True},
        "colours": {"Heat": "/wAA" * 256},
        "several": False,
        "previous": False,
        "next": False,
    }
    return {f"/{name}": plane.data for name, plane in packed.items()}, data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--frames", type=int, default=120)
    options = parser.parse_args()
    from playwright.sync_api import Route, sync_playwright

    folder = ROOT / "ui" / "viewer"
    style, html = (folder / f"viewer.{kind}" for kind in ("css", "html"))
    content, data = planes(options.side)
    stage = (800, 600)

    def answer(route: Route) -> None:
        path = "/" + route.request.url.removeprefix(ADDRESS)
        if path == "/":
            page = PAGE % (style.read_text(), *stage, html.read_text())
            route.fulfill(body=page, content_type="text/html")
        elif path == "/viewer.js":
            route.fulfill(path=folder / "viewer.js", content_type="text/javascript")
        elif path == "/data.json":
            route.fulfill(body=json.dumps(data), content_type="application/json")
        elif path in content:
            route.fulfill(body=content[path], content_type="application/octet-stream")
        else:
            route.fulfill(status=404)

    gestures = {
        "move, fitted": {"button": 0, "dx": 3, "dy": 2, "zoom": 0.3, "side": False},
        "move, 1:1": {"button": 0, "dx": 12, "dy": 7, "zoom": 1, "side": False},
        "window, fitted": {"button": 2, "dx": 3, "dy": 2, "zoom": 0.3, "side": False},
        "window, at 0.55": {"button": 2, "dx": 3, "dy": 2, "zoom": 0.55, "side": False},
        "window, 1:1": {"button": 2, "dx": 3, "dy": 2, "zoom": 1, "side": False},
        "move, side by side": {"button": 0, "dx": 12, "dy": 7, "zoom": 0.55, "side": True},
    }
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        for stage in ((800, 600), (1920, 1000)):
            page = browser.new_page(viewport={"width": stage[0], "height": stage[1] + 200})
            page.route(ADDRESS + "**", answer)
            page.goto(ADDRESS)
            page.locator(".xv[data-state=ready]").wait_for()
            page.locator("[data-xv=lungs]").check()
            for name, gesture in gestures.items():
                # The first half warms up the compiler of the script.
                arguments = {"frames": 2 * options.frames, **gesture}
                times = page.evaluate(MEASURE, arguments)[options.frames :]
                median, high, most = np.percentile(times, [50, 95, 100])
                print(
                    f"{stage[0]} x {stage[1]}, {name}: median {median:.1f} ms, "
                    f"95th percentile {high:.1f} ms, maximum {most:.1f} ms"
                )
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
