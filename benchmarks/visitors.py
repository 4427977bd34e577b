"""Many visitors at once in headless Chromium: time to the result, foreign images, memory.

Run: python benchmarks/visitors.py [--visitors 20] [--minutes 10] [--public]
     python benchmarks/visitors.py --cold 5

One visitor alone comes first, then all together. Each drops images of its own, one after the other;
every image carries a number in its first rows, and the pixels that the browser receives for the
viewer are decoded to find it. Between two images a visitor switches to the Dataset page and back,
and every third image is also shown with another map.
The time to the result is that from the drop to the arrival of these pixels, which are sent after
the analysis. The last lines state the memory of the server (resident, with its children) one minute
after the start, at the end and after all sessions have ended.

Browsers and server share the processor, so the times are those of this computer as a whole.

With `--cold` a server is started several times, and one visitor, whose browser is running already,
opens the page and drops an image as soon as the page is there. The times are those from the start
of the process until `/ready` answers, and until the result.
"""

import argparse
import asyncio
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "models" / "resnet50" / "examples" / "pneumonia.png"
WIDTH, HEIGHT = 1000, 900
MAP_WIDTH, MAP_HEIGHT = 512, 461
BITS, BLOCK = 24, 32  # of the number in the first rows, and its pixels for one bit
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
PATIENCE = 600.0
BANNER = ("You can now view your Streamlit app", "URL: ")  # all that a healthy server prints
SESSION_ENDS = 40.0  # seconds after a tab was closed, with some to spare


@dataclass
class Record:
    """What the visitors of one run met: seconds to each result, and what was wrong."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def numbered_image(base: Image.Image, number: int) -> bytes:
    """Return `base` as a PNG file of WIDTH x HEIGHT with a number in its first four rows."""
    pixels = np.array(base.convert("L").resize((WIDTH, HEIGHT)))
    for bit in range(BITS):
        value = 255 if number >> bit & 1 else 0
        pixels[:4, bit * BLOCK : (bit + 1) * BLOCK] = value
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def unpack(packed: bytes) -> bytes:
    """Return the values of an image or a map that was packed for the viewer, else nothing."""
    try:
        return zlib.decompress(packed)[16:]
    except zlib.error:
        return b""


def number_of(content: bytes) -> int | None:
    """Return the number of an image that was unpacked; None for anything else."""
    if len(content) != WIDTH * HEIGHT:
        return None
    row = np.cumsum(np.frombuffer(content, np.uint8, WIDTH), dtype=np.uint8)
    middle = [int(row[bit * BLOCK + BLOCK // 2]) > 127 for bit in range(BITS)]
    return sum(1 << bit for bit, is_set in enumerate(middle) if is_set)


class Visitor:
    """One visitor: a browser context, and the numbers of the images that it was shown."""

    def __init__(self, page: Any, first: int, base: Image.Image, record: Record) -> None:
        self.page, self.number, self.base, self.record = page, first, base, record
        self.own: set[int] = set()
        self.arrived, self.mapped = asyncio.Event(), asyncio.Event()
        page.on("response", lambda response: asyncio.ensure_future(self._look(response)))

    async def _look(self, response: Any) -> None:
        if "/media/" not in response.url:
            return
        try:
            content = unpack(await response.body())
        except Exception:  # the page was left before the response was complete
            return
        if len(content) == MAP_WIDTH * MAP_HEIGHT:
            self.mapped.set()
        number = number_of(content)
        if number is None:
            return
        if number not in self.own:
            self.record.wrong.append(f"image {number} reached the visitor of {sorted(self.own)}")
        if number == self.number:
            self.arrived.set()

    async def drop(self, count: bool = True) -> None:
        """Drop a new image and wait until it is shown."""
        self.number += 1
        self.own.add(self.number)
        self.arrived.clear()
        self.mapped.clear()
        zone = self.page.locator('input[type="file"]').first
        await zone.wait_for(state="attached", timeout=PATIENCE * 1000)
        data = numbered_image(self.base, self.number)
        start = time.monotonic()
        await zone.set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": data})
        try:
            await asyncio.wait_for(self.arrived.wait(), PATIENCE)
        except TimeoutError:
            self.record.wrong.append(f"image {self.number} got no result in {PATIENCE:.0f} s")
            return
        if count:
            self.record.seconds.append(time.monotonic() - start)
        for alert in await self.page.get_by_test_id("stAlertContentError").all_inner_texts():
            self.record.wrong.append(f"error on the page: {alert}")

    async def change_map(self) -> None:
        """Choose another map and wait until it is shown."""
        await asyncio.wait_for(self.mapped.wait(), PATIENCE)
        # A menu that is open while the page is drawn closes again.
        await self.page.locator("[data-test-script-state=notRunning]").wait_for()
        self.mapped.clear()
        chosen = self.page.locator(".st-key-map_method").get_by_role("combobox")
        await chosen.press("ArrowDown")
        await self.page.get_by_role("option", name="Grad-CAM++", exact=True).click()
        await asyncio.wait_for(self.mapped.wait(), PATIENCE)

    async def switch_pages(self) -> None:
        """Go to another page and return."""
        for name, mark in (("Dataset", "Dataset quality"), ("Prediction", "Chest X-ray")):
            link = self.page.get_by_test_id("stTopNavLink").get_by_text(name, exact=True)
            await link.dispatch_event("click")
            heading = self.page.get_by_role("heading", name=mark, exact=True)
            await heading.wait_for(timeout=PATIENCE * 1000)

    async def stay(self, address: str, until: float) -> None:
        """Drop images until the time is over, at least one."""
        await self.page.goto(address, timeout=PATIENCE * 1000)
        while True:
            await self.drop()
            if time.monotonic() >= until:
                return
            if self.number % 3 == 0:
                await self.change_map()
            await self.switch_pages()


async def visit(browser: Any, address: str, visitors: int, seconds: float, base: Any) -> Record:
    """Have visitors come within some seconds and stay; return what they met."""
    record, contexts, staying = Record(), [], []
    until = time.monotonic() + seconds
    for index in range(visitors):
        context = await browser.new_context()
        contexts.append(context)
        page = await context.new_page()
        visitor = Visitor(page, (index + 1) << 12, base, record)
        staying.append(asyncio.create_task(visitor.stay(address, until)))
        await asyncio.sleep(0.5)
    for result in await asyncio.gather(*staying, return_exceptions=True):
        if isinstance(result, BaseException):
            record.wrong.append(f"{type(result).__name__}: {str(result).splitlines()[0]}")
    for context in contexts:
        await context.close()
    return record


def memory(process: int) -> float:
    """Return the resident megabytes of a process and of its children."""
    pages, children = 0, [str(process)]
    while children:
        one = Path("/proc") / children.pop()
        try:
            pages += int((one / "statm").read_text().split()[1])
            for thread in (one / "task").iterdir():
                children += (thread / "children").read_text().split()
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def processor(process: int) -> float:
    """Return the seconds of processor time that a process has used."""
    values = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def start_server(log: Path, public: bool) -> tuple[subprocess.Popen, str]:
    """Start the app and return it with its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    many = {"XRAY_PUBLIC": "1", "XRAY_PUBLIC_IMAGES_PER_HOUR": "100000"} if public else {}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "xray_core", "app", "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, **many, "STREAMLIT_SERVER_HEADLESS": "true"},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    return process, f"http://localhost:{port}"


async def wait_for(address: str) -> float:
    """Wait until a server answers with success, and return the seconds that it took."""
    start = time.monotonic()
    while time.monotonic() - start < PATIENCE:
        try:
            with urllib.request.urlopen(address, timeout=10):
                return time.monotonic() - start
        except (urllib.error.URLError, OSError):
            await asyncio.sleep(0.05)
    raise SystemExit("The app did not start.")


async def first_results(options: argparse.Namespace, log: Path) -> bool:
    """Start servers one after the other, and print the times until ready and to a result."""
    from playwright.async_api import async_playwright

    base, record = Image.open(EXAMPLE), Record()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS
        )
        for number in range(options.cold):
            page = await (await browser.new_context()).new_page()
            visitor = Visitor(page, (number + 1) << 12, base, record)
            start = time.monotonic()
            process, address = start_server(log, options.public)
            try:
                ready = asyncio.create_task(wait_for(f"{address}/ready"))
                await wait_for(f"{address}/_stcore/health")
                await page.goto(address, timeout=PATIENCE * 1000)
                await visitor.drop()
                print(
                    f"from start to the first result: {time.monotonic() - start:.1f} s, "
                    f"to ready: {await ready:.1f} s"
                )
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()
            await page.close()
        await browser.close()
    return not record.wrong


async def run(options: argparse.Namespace, process: int, address: str) -> bool:
    """Run both parts and print what was measured; tell whether nothing was wrong."""
    from playwright.async_api import async_playwright

    print(f"from start to ready: {await wait_for(f'{address}/ready'):.1f} s")
    base = Image.open(EXAMPLE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS
        )
        state = {"started": processor(process)}
        alone = await visit(browser, address, 1, min(60.0, options.minutes * 60), base)
        state["alone"] = processor(process)

        async def look() -> None:
            await asyncio.sleep(min(60.0, options.minutes * 30))
            state["early"] = memory(process)

        watching = asyncio.create_task(look())
        together = await visit(browser, address, options.visitors, options.minutes * 60, base)
        await watching
        state["end"], state["together"] = memory(process), processor(process)
        await browser.close()
    await asyncio.sleep(SESSION_ENDS)
    state["left"] = memory(process)
    for name, record, used in (
        ("alone", alone, state["alone"] - state["started"]),
        (f"{options.visitors} visitors", together, state["together"] - state["alone"]),
    ):
        if record.seconds:
            p50, p95 = np.percentile(record.seconds, [50, 95])
            print(
                f"{name}: {len(record.seconds)} results, p50 {p50:.2f} s, p95 {p95:.2f} s, "
                f"processor time of the server {used / len(record.seconds):.2f} s a result"
            )
    if alone.seconds and together.seconds:
        p95 = np.percentile(together.seconds, 95)
        for share in (50, 95):
            ratio = p95 / np.percentile(alone.seconds, share)
            print(f"p95 together / p{share} alone: {ratio:.1f}")
    print(
        f"memory: {state['early']:.0f} MB early, {state['end']:.0f} MB at the end "
        f"(x {state['end'] / state['early']:.2f}), {state['left']:.0f} MB after all have left"
    )
    wrong = alone.wrong + together.wrong
    print(f"wrong: {len(wrong)}", *wrong[:20], sep="\n  ")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--public", action="store_true", help="with the queue of a public host")
    parser.add_argument("--cold", type=int, default=0, help="only first results, of so many starts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        if options.cold:
            fine = asyncio.run(first_results(options, log))
        else:
            process, address = start_server(log, options.public)
            try:
                fine = asyncio.run(run(options, process.pid, address))
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()
        for line in log.read_text().splitlines():
            if line.strip() and not any(text in line for text in BANNER):
                print(f"log: {line}")
                fine = False
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
