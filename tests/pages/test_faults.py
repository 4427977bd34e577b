"""Faults of the computer leave the app answering: each visitor gets a result or a sentence."""

import errno
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_maker import as_bytes, dicom_image
from drawn_images import KAGGLE_LIKE, write_dataset
from page_tools import page_text
from streamlit.testing.v1 import AppTest

from ui.prediction import cases
from xray_core.imaging.dicom import gdcm_worker

pytestmark = pytest.mark.usefixtures("with_model")


def drop(at: AppTest, data: bytes) -> str:
    """Drop a file alone; return the verdict of the last image."""
    at.file_uploader[0].upload("file", data, "application/octet-stream")
    at.run()
    assert not at.exception
    return at.session_state["prediction_visit"].cases[-1].result.verdict


def packed_dicom(folder: Path) -> bytes:
    """Return a DICOM file that only the separate process can decode."""
    gdcm = pytest.importorskip("gdcm")
    values = np.add.outer(np.arange(64) * 40, np.arange(64) * 20).astype("u2")
    plain, packed = folder / "plain.dcm", folder / "packed.dcm"
    plain.write_bytes(as_bytes(dicom_image(values, 12, WindowCenter=2048, WindowWidth=4096)))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(packed))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return packed.read_bytes()


def test_a_decoder_that_is_killed_ends_as_a_sentence(
    open_page: Callable[..., AppTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = packed_dicom(tmp_path)
    at = open_page("prediction")
    with monkeypatch.context() as planted:
        killed = tmp_path / "killed.py"
        killed.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
        planted.setattr(gdcm_worker, "__file__", str(killed))
        assert drop(at, data) == "UNREADABLE"
    assert drop(at, data) != "UNREADABLE"


def test_memory_that_runs_out_in_a_decode_ends_as_a_sentence(
    open_page: Callable[..., AppTest],
    image_png: Callable[[int], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    at = open_page("prediction")
    with monkeypatch.context() as planted:
        planted.setattr(cases, "read_radiograph", fail)
        assert drop(at, image_png(1)) == "UNREADABLE"
    (reason,) = at.session_state["prediction_visit"].cases[-1].result.reasons
    assert reason == "The image is too large for this computer's memory."
    assert drop(at, image_png(2)) != "UNREADABLE"


def test_a_full_disk_does_not_matter_to_an_analysis(
    open_page: Callable[..., AppTest],
    image_png: Callable[[int], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    at = open_page("prediction")
    expected = drop(at, image_png(1))
    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, full)
    for name in ("write_bytes", "write_text", "mkdir"):
        monkeypatch.setattr(Path, name, full)
    assert drop(at, image_png(1)) == expected != "UNREADABLE"


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_clock_that_jumps_changes_no_result(
    open_page: Callable[..., AppTest],
    image_png: Callable[[int], bytes],
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    at = open_page("prediction")
    expected = drop(at, image_png(1))
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600 * hours)
    assert drop(at, image_png(1)) == expected != "UNREADABLE"


def test_a_model_that_is_lost_is_a_sentence_and_comes_back(
    open_page: Callable[..., AppTest], with_model: Path, image_png: Callable[[int], bytes]
) -> None:
    at = open_page("prediction")
    (with_model / "micro").rename(with_model.parent / "away")
    at.run()
    assert not at.exception
    assert "no trained model" in page_text(at)
    (with_model.parent / "away").rename(with_model / "micro")
    at.run()
    assert drop(at, image_png(1)) != "UNREADABLE"


def test_a_model_that_cannot_be_read_is_a_sentence(
    open_page: Callable[..., AppTest], with_model: Path
) -> None:
    (with_model / "micro" / "config.json").unlink()
    (with_model / "micro" / "config.json").mkdir()
    at = open_page("prediction")
    assert not at.exception
    assert "micro" in page_text(at)
    assert at.warning


def test_a_dataset_that_is_lost_leaves_the_table_of_the_model(
    open_page: Callable[..., AppTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_dataset(tmp_path / "images", KAGGLE_LIKE)
    at = open_page("training")
    monkeypatch.setenv("CHEST_XRAY_DIR", str(folder))
    at = AppTest.from_file(str(Path(__file__).parents[2] / "pages" / "dataset.py"))
    at.run(timeout=120)
    assert "There are no images" not in page_text(at)
    shutil.rmtree(folder)
    at.run(timeout=120)
    assert not at.exception
    assert "There are no images" in page_text(at)
