"""All visitors share one model in memory."""

import gc
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import streamlit as st
from page_tools import ROOT
from streamlit.testing.v1 import AppTest

from ui.common import models
from xray_core.prediction.predictor import Predictor


@pytest.fixture
def loads(micro_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The folders that models are loaded from during the test; every load takes a moment."""
    st.cache_resource.clear()
    folders: list[str] = []
    load = Predictor.load

    def slowly(path: str | Path, engine: str = "auto") -> Predictor:
        folders.append(str(path))
        time.sleep(0.2)
        return load(path, engine)

    monkeypatch.setattr(Predictor, "load", slowly)
    monkeypatch.setenv("XRAY_MODELS", str(micro_models))
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path / "no-dataset-here"))
    return folders


def models_in_memory() -> list[Predictor]:
    gc.collect()
    return [one for one in gc.get_objects() if type(one) is Predictor]


def test_visitors_who_come_at_once_get_the_same_model(loads: list[str]) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(models.find_predictor, ["micro"] * 8))
    assert len({id(one) for one in found}) == 1
    assert len(loads) == 1


def test_one_model_is_in_memory_however_many_visitors_come(
    loads: list[str], image_png: Callable[..., bytes]
) -> None:
    before = models_in_memory()
    visits = []
    for number in range(5):
        at = AppTest.from_file(str(ROOT / "pages" / "prediction.py"), default_timeout=120).run()
        at.file_uploader[0].upload("a.png", image_png(number, number % 2 == 0), "image/png")
        visits.append(at.run())
    cases = [at.session_state["prediction_visit"].cases[0] for at in visits]
    assert len({case.result.logit for case in cases}) == 5
    assert len(loads) == 1
    (added,) = (one for one in models_in_memory() if not any(one is old for old in before))
    assert added is models.find_predictor("micro")
