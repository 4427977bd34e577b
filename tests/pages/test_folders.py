"""Access checks for folders and images on the server's disk."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from drawn_images import KAGGLE_LIKE, write_dataset
from page_tools import page_text
from streamlit import config
from streamlit.runtime.context import StreamlitHeaders
from streamlit.testing.v1 import AppTest

from ui.common import folders
from ui.common.folders import choose_folder, image_below, is_local, may_choose, may_show
from xray_core.errors import DatasetError


@pytest.fixture(autouse=True)
def no_dataset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path / "no-dataset-here"))


@pytest.fixture
def served_to_all() -> Iterator[None]:
    """The server listens on all addresses."""
    before = config.get_option("server.address")
    config.set_option("server.address", "0.0.0.0")
    yield
    config.set_option("server.address", before)


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the headers of the visit."""

    def come(**headers: str) -> None:
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        monkeypatch.setattr(type(st.context), "headers", StreamlitHeaders(pairs))

    return come


def refusal(text: str) -> str:
    with pytest.raises(DatasetError) as caught:
        choose_folder(text)
    return str(caught.value)


def test_on_the_servers_computer_any_folder_may_be_named(tmp_path: Path) -> None:
    assert may_choose()
    assert choose_folder(str(tmp_path)) == tmp_path.resolve()
    assert refusal(str(tmp_path / "nothing")) == "There is no such folder."


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "xray.example.org", None])
def test_a_public_server_opens_no_folder(tmp_path: Path, address: str | None) -> None:
    before = config.get_option("server.address")
    config.set_option("server.address", address)
    try:
        assert not may_choose()
        assert refusal(str(tmp_path)) == refusal(str(tmp_path / "nothing")) == folders.REFUSED
    finally:
        config.set_option("server.address", before)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "xray.example.org"},
        {"host": "localhost:8501", "origin": "https://xray.example.org"},
        {"host": "localhost:8501", "x_forwarded_for": "203.0.113.9"},
        {"host": "localhost:8501", "forwarded": "for=203.0.113.9"},
    ],
)
def test_a_visitor_through_a_proxy_is_not_local(
    visit: Callable[..., None], headers: dict[str, str], tmp_path: Path
) -> None:
    visit(**headers)
    assert not is_local()
    assert refusal(str(tmp_path)) == folders.REFUSED
    visit(host="127.0.0.1:8501", origin="http://127.0.0.1:8501")
    assert is_local()
    visit(host="[::1]:8501", origin="http://[::1]:8501")
    assert is_local()


def test_listed_folders_may_be_opened_and_nothing_else_tells_whether_it_exists(
    tmp_path: Path, served_to_all: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one/inside", "two", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "one" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "way-in").symlink_to(tmp_path / "two")
    roots = (tmp_path / "one", tmp_path / "two")
    monkeypatch.setenv(folders.VARIABLE, os.pathsep.join(map(str, roots)))

    assert may_choose()
    for allowed in ("one", "one/inside", "two", "way-in", "secret/../two"):
        assert choose_folder(str(tmp_path / allowed))
    assert refusal(str(tmp_path / "one" / "nothing")) == "There is no such folder."
    for outside in (
        str(tmp_path),
        str(tmp_path / "secret"),
        str(tmp_path / "not-there"),
        str(tmp_path / "one-more"),
        str(tmp_path / "one" / "link"),
        str(tmp_path / "one" / ".." / "secret"),
        "/",
        "~",
        "~nouser/x",
        "~root",
        "x" * 5000,
        "/" + "x/" * 3000,
        "nul\0byte",
        "",
    ):
        assert refusal(outside) == folders.REFUSED, outside[:40]


def test_listed_folders_limit_local_visitors_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    monkeypatch.setenv(folders.VARIABLE, str(tmp_path / "one"))
    assert refusal(str(tmp_path)) == folders.REFUSED


def test_a_table_names_images_below_its_folder_only(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "chest_xray", {"test/NORMAL": ["a.png", "b.png"]})
    secret = tmp_path / "secret.png"
    (root / "test/NORMAL/a.png").rename(secret)
    (root / "test/NORMAL/link.png").symlink_to(secret)
    (root / "test/NORMAL/inside.png").symlink_to(root / "test/NORMAL/b.png")
    (root / "loop").symlink_to(root / "loop")

    assert image_below(root, "test/NORMAL/b.png") == (root / "test/NORMAL/b.png").resolve()
    assert image_below(root, "test/NORMAL/inside.png") == (root / "test/NORMAL/b.png").resolve()
    for name in (
        str(secret),
        "../secret.png",
        "test/NORMAL/link.png",
        "test/NORMAL",
        "test/NORMAL/none.png",
        "loop/x",
        "~root/x",
        "~nouser/x",
        "x" * 5000,
        "x/" * 3000,
        "nul\0byte",
        "",
        "http://a.example/x.png",
    ):
        assert image_below(root, name) is None, name[:40]
    assert image_below(None, "a.png") is None


def test_an_image_is_opened_from_the_dataset_or_an_allowed_folder(
    tmp_path: Path, served_to_all: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_dataset(tmp_path / "chest_xray", {"test/NORMAL": ["a.png"]})
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"")
    monkeypatch.setenv("CHEST_XRAY_DIR", str(root))
    assert may_show(root / "test/NORMAL/a.png")
    assert not may_show(secret)
    assert not may_show(root / "test/../../secret.png")
    monkeypatch.setenv(folders.VARIABLE, str(tmp_path))
    assert may_show(secret)


def test_pages_of_a_public_server_have_no_field_for_folders(
    open_page: Callable[..., AppTest],
    with_model: Path,
    served_to_all: None,
    tmp_path: Path,
) -> None:
    dataset = write_dataset(tmp_path / "elsewhere", KAGGLE_LIKE)
    at = open_page("dataset")
    assert not at.exception
    assert [field.key for field in at.text_input if "folder" in (field.key or "")] == []
    assert folders.NO_CHOICE in page_text(at)
    assert not any(button.label == "Download the images" for button in at.button)
    assert str(tmp_path) not in page_text(at)

    at = open_page("dataset", dataset_folder=str(dataset))  # as an old session may have it
    assert [error.value for error in at.error] == [folders.REFUSED]
    assert not at.metric

    at = open_page("evaluation", evaluation_section="Your images")
    assert not at.text_input
    assert folders.NO_CHOICE in [info.value for info in at.info]


def test_a_public_server_shows_its_own_dataset_without_its_path(
    open_page: Callable[..., AppTest],
    served_to_all: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = write_dataset(tmp_path / "chest_xray", KAGGLE_LIKE)
    monkeypatch.setenv("XRAY_CACHE", str(tmp_path / "cache"))
    at = open_page("dataset")
    monkeypatch.setenv("CHEST_XRAY_DIR", str(dataset))
    at.run()
    assert not at.exception
    assert {m.label: m.value for m in at.metric}["Images"] == "92"
    assert str(tmp_path) not in page_text(at)


def test_prediction_opens_nothing_outside(
    open_page: Callable[..., AppTest], with_model: Path, served_to_all: None, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes((with_model / "micro/examples/normal.png").read_bytes())
    at = open_page("prediction", open_path=str(secret))
    assert not at.exception
    nothing_open = "estimates the probability of pneumonia from a frontal chest X-ray"
    assert nothing_open in page_text(at)
