"""Time from starting a process to the Dataset page's last element, and of `import streamlit`.

Run: python benchmarks/dataset_page.py [FOLDER] [--rounds 5] [--browser]

Each round starts one process that only imports Streamlit and one that runs the whole page in
Streamlit's test runner, from the start of the interpreter to the end of the script. The folder's
measurements are cached by a first round that is not counted. With `--browser`, a server is started,
and the time ends when headless Chromium, which is already running, shows the last element.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from xray_core.command_line import run_command
from xray_core.dataset.index import find_dataset

ROOT = Path(__file__).resolve().parent.parent
IMPORT = "import streamlit"
PAGE = f"""
from streamlit.testing.v1 import AppTest
at = AppTest.from_file({str(ROOT / "pages" / "dataset.py")!r}, default_timeout=900).run()
assert not at.exception and not at.error, (at.exception, at.error)
assert at.get("download_button"), "the last element is missing"
import sys
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]


def seconds_of(code: str, environment: dict[str, str]) -> tuple[float, float]:
    """Return wall and processor seconds of a fresh interpreter that runs `code`."""
    start, before = time.perf_counter(), os.times()
    command = [sys.executable, "-c", code]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    after = os.times()
    processor = after.children_user + after.children_system
    processor -= before.children_user + before.children_system
    return time.perf_counter() - start, processor


def seconds_in_browser(browser: object, environment: dict[str, str]) -> float:
    """Return the seconds from starting a server to its page's last element in the browser."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = browser.new_page()
    start = time.perf_counter()
    command = ["-m", "streamlit", "run", "app.py", "--server.headless", "true", "--server.port"]
    server = subprocess.Popen(
        [sys.executable, *command, str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.01)
        page.goto(f"http://localhost:{port}/dataset")
        page.get_by_text("Download the table").wait_for(timeout=120_000)
        page.get_by_text("Averages of this many images").wait_for(timeout=120_000)
        return time.perf_counter() - start
    finally:
        server.terminate()
        server.wait()
        page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--browser", action="store_true")
    options = parser.parse_args()
    folder = find_dataset(options.folder).resolve()
    environment = {**os.environ, "CHEST_XRAY_DIR": str(folder)}
    seconds_of(IMPORT, environment)
    seconds_of(PAGE, environment)  # fills the cache
    rounds = [
        (seconds_of(IMPORT, environment), seconds_of(PAGE, environment))
        for _ in range(options.rounds)
    ]
    print(f"{folder}, median of {options.rounds} rounds (wall, processor)")
    for name, place in (("import streamlit", 0), ("the whole page", 1)):
        wall, processor = (statistics.median(r[place][kind] for r in rounds) for kind in (0, 1))
        print(f"  {name:18} {wall:5.2f} s  {processor:5.2f} s")
    if options.browser:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            took = [seconds_in_browser(browser, environment) for _ in range(options.rounds)]
            browser.close()
        print(f"  {'in a browser':18} {statistics.median(took):5.2f} s")


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
