"""An error that no page catches is a sentence for the visitor, and has no message in the log."""

from collections.abc import Callable
from pathlib import Path

import pytest
from browser_tools import ROOT, Server
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SCRIPT = """
import streamlit as st

from app import on_script_error

app = st.App(__file__, on_script_error=on_script_error)


def fail():
    raise ValueError("Doe_Jane.csv")


@st.fragment
def part():
    if st.button("Fail in a fragment"):
        fail()


if __name__ == "__main__":
    st.button("Fail in a callback", on_click=fail)
    part()
    if st.button("Fail in the page"):
        fail()
    st.download_button("Fail in a download", data=fail, file_name="t.csv", on_click="ignore")
"""


@pytest.mark.parametrize("place", ["a callback", "a fragment", "the page", "a download"])
def test_an_error_is_a_sentence_and_its_message_stays_out_of_the_log(
    place: str, server: Server, page: object
) -> None:
    before = server.log.read_text().count("ValueError at probe.py:")
    page.goto(server.url)
    page.get_by_role("button", name=f"Fail in {place}").click()
    words = "Failed to generate file" if place == "a download" else "Something went wrong."
    expect(page.get_by_text(words)).to_be_visible()
    expect(page.get_by_text("Traceback")).to_have_count(0)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    log = server.log.read_text()
    assert log.count("ValueError at probe.py:") > before
    assert "Doe_Jane" not in log
    assert "Traceback" not in log


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder: Path = tmp_path_factory.mktemp("probe")
    (folder / "probe.py").write_text(SCRIPT)
    return start_server(folder, script=folder / "probe.py", PYTHONPATH=str(ROOT))
