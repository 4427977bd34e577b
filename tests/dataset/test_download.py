"""The download against a stand-in of kagglehub's interface: nothing here touches the network."""

import errno
import inspect
import os
import shutil
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from xray_core.dataset import download as module
from xray_core.dataset.download import HANDLE, check_download, download
from xray_core.dataset.index import build_index
from xray_core.errors import DatasetError

FEW = {
    ("train", "NORMAL"): 3,
    ("train", "PNEUMONIA"): 4,
    ("val", "NORMAL"): 1,
    ("val", "PNEUMONIA"): 1,
    ("test", "NORMAL"): 2,
    ("test", "PNEUMONIA"): 2,
}


class Usage(NamedTuple):
    free: int


class Hub:
    """Behaves as kagglehub does: keeps a partial archive in its cache and goes on from there."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.error: BaseException | None = None
        self.left_out: set[str] = set()
        self.content = b"\xff\xd8 an image"
        self.wait: threading.Event | None = None

    def dataset_download(self, handle: str) -> str:
        cache = Path(os.environ["KAGGLEHUB_CACHE"]) / "datasets" / handle
        cache.mkdir(parents=True, exist_ok=True)
        archive = cache / "2.archive"
        arrived = archive.stat().st_size if archive.exists() else 0
        self.calls.append((handle, arrived))
        if self.wait:
            self.wait.wait(10)
        if self.error:
            archive.write_bytes(bytes(1000))
            raise self.error
        archive.unlink(missing_ok=True)
        folder = cache / "versions" / "2"
        # Kaggle's archive holds the set, a second copy of it inside, and a Mac's leavings.
        for root in ("chest_xray", "chest_xray/chest_xray", "chest_xray/__MACOSX/chest_xray"):
            for (split, label), images in FEW.items():
                place = folder / root / split / label
                place.mkdir(parents=True, exist_ok=True)
                for number in range(images):
                    prefix = "IM-" if label == "NORMAL" else "person"
                    middle = "-" if label == "NORMAL" else "_virus_"
                    name = f"{prefix}{len(split)}{number}{middle}1.jpeg"
                    if f"{split}/{label}/{number}" not in self.left_out:
                        (place / name).write_bytes(self.content)
        return str(folder)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A stand-in for kagglehub that hands out a set of thirteen images."""
    monkeypatch.setattr(module, "IMAGES", FEW)
    return Hub()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chest_xray"


def test_set_arrives_in_its_place_without_its_second_copy(hub: Hub, target: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert download(target, lambda done, total: seen.append((done, total)), hub=hub) == target
    assert hub.calls == [(HANDLE, 0)]
    assert sorted(p.name for p in target.iterdir()) == ["test", "train", "val"]
    assert len(build_index(target)) == 13
    assert list(target.parent.iterdir()) == [target]  # nothing is left beside it
    assert seen
    assert all(0 <= done <= total for done, total in seen)
    assert "KAGGLEHUB_CACHE" not in os.environ


def test_set_that_is_there_is_checked_and_not_fetched_again(hub: Hub, target: Path) -> None:
    download(target, hub=hub)
    assert download(target, hub=hub) == target
    assert len(hub.calls) == 1
    next((target / "test/NORMAL").iterdir()).unlink()
    with pytest.raises(DatasetError, match="test/NORMAL contains 1 of 2 images"):
        download(target, hub=hub)


def test_stopped_download_goes_on_where_it_stopped(hub: Hub, target: Path) -> None:
    hub.error = ConnectionError("no route to host")
    with pytest.raises(DatasetError, match="to resume"):
        download(target, hub=hub)
    assert not target.exists()
    hub.error = None
    download(target, hub=hub)
    assert [arrived for _, arrived in hub.calls] == [0, 1000]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionError("name resolution"), "cannot be reached"),
        (TimeoutError(), "cannot be reached"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (PermissionError("denied"), "cannot be written"),
        (zipfile.BadZipFile("bad magic"), "damaged"),
        (type("DataCorruptionError", (Exception,), {})(), "damaged"),
        (type("KaggleApiHTTPError", (OSError,), {})("403"), "denied access"),
        (ModuleNotFoundError("kagglehub"), "pip install kagglehub"),
        (RuntimeError("whatever"), "failed"),
    ],
)
def test_every_failure_is_a_sentence(
    hub: Hub, target: Path, error: BaseException, words: str
) -> None:
    hub.error = error
    with pytest.raises(DatasetError, match=words) as caught:
        download(target, hub=hub)
    assert str(caught.value).endswith(".")
    assert not target.exists()


def test_full_disk_is_reported_before_the_download(
    hub: Hub, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=1_500_000_000))
    with pytest.raises(DatasetError, match=r"needs about 5 GB, and .* has 1.5 GB free"):
        download(target, hub=hub)
    assert hub.calls == []


def test_set_with_a_image_missing_is_not_put_in_place(hub: Hub, target: Path) -> None:
    hub.left_out = {"train/PNEUMONIA/2"}
    with pytest.raises(DatasetError, match="train/PNEUMONIA contains 3 of 4 images"):
        download(target, hub=hub)
    assert not target.exists()
    hub.left_out = set()
    assert download(target, hub=hub) == target  # the bad copy is not served again


def test_files_that_are_no_images_are_noticed(hub: Hub, target: Path) -> None:
    hub.content = b"<html>Please sign in</html>"
    with pytest.raises(DatasetError, match="13 files are damaged"):
        download(target, hub=hub)
    assert not target.exists()


def test_second_download_at_the_same_time_is_refused(hub: Hub, target: Path) -> None:
    hub.wait = threading.Event()
    first = threading.Thread(target=download, args=(target,), kwargs={"hub": hub})
    first.start()
    try:
        while not hub.calls:
            time.sleep(0.01)
        with pytest.raises(DatasetError, match="already running"):
            download(target, hub=hub)
    finally:
        hub.wait.set()
        first.join()
    assert len(build_index(target)) == 13


def test_kagglehub_has_the_interface_that_is_used() -> None:
    kagglehub = pytest.importorskip("kagglehub")
    parameters = inspect.signature(kagglehub.dataset_download).parameters
    assert next(iter(parameters)) == "handle"
    assert all(p.default is not p.empty for name, p in parameters.items() if name != "handle")


def test_kagglehub_uses_the_staging_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pytest.importorskip("kagglehub.config")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    assert config.get_cache_folder() == str(tmp_path)


@pytest.mark.data
def test_the_real_set_passes_the_check(real_dataset: Path) -> None:
    check_download(real_dataset)


def test_a_stand_in_module_serves_the_default(
    hub: Hub, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    monkeypatch.chdir(target.parents[1])
    assert download() == Path("data/chest_xray")
    assert len(build_index("data/chest_xray")) == 13
