"""Your own images and tables on the Evaluation page: folders as they come, files that attack."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from page_tools import page_text
from PIL import Image
from simulated_bundle import write_bundle
from streamlit.testing.v1 import AppTest

from ui.common import models

OWN = "Your images"
HEAD = "label,probability,file,subtype,patient\n"


@pytest.fixture(autouse=True)
def own_caches() -> Iterator[None]:
    st.cache_data.clear()
    yield
    st.cache_data.clear()


@pytest.fixture
def page(open_page: Callable[..., AppTest], models_folder: Path) -> AppTest:
    write_bundle(models_folder)
    return open_page("evaluation", evaluation_section=OWN)


def press(at: AppTest, label: str) -> AppTest:
    [button] = [b for b in at.button if b.label == label]
    return button.click().run(timeout=300)


def upload(at: AppTest, text: str | bytes) -> AppTest:
    data = text.encode() if isinstance(text, str) else text
    at.file_uploader[0].upload("Doe_Jane.csv", data, "text/csv").run()
    return press(at, "Evaluate this table")


def section(at: AppTest, name: str) -> AppTest:
    [control] = [w for w in at.get("button_group") if w.key == "evaluation_section"]
    return control.set_value(name).run()


@pytest.mark.parametrize("layout", ["parent", "only test", "classes"])
def test_a_folder_is_evaluated_however_it_is_laid_out(
    layout: str,
    open_page: Callable[..., AppTest],
    micro_models: Path,
    image_png: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XRAY_MODELS", str(micro_models))
    inside = {"parent": "chest_xray/test", "only test": "test", "classes": ""}[layout]
    for number in range(3):
        for label, name in (("NORMAL", "IM-{}-0001"), ("PNEUMONIA", "person{}_virus_1")):
            path = tmp_path / "mine" / inside / label / f"{name.format(number)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image_png(number, label == "PNEUMONIA"))
    shared = models.load_predictor("micro")
    calls = []
    predict_many = type(shared).predict_many

    def counted(self, sources, **options):
        calls.append(self)
        return predict_many(self, sources, **options)

    monkeypatch.setattr(type(shared), "predict_many", counted)
    at = open_page("evaluation", evaluation_section=OWN)
    at.text_input[0].set_value(str(tmp_path / "mine"))
    press(at, "Evaluate these images")

    assert not at.exception
    assert not at.error
    assert "your images: 6 images of 6 patients, 50.0% with pneumonia" in page_text(at)
    assert not any("could not be read" in info.value for info in at.info)
    assert len(calls) == 1
    assert calls[0] is shared  # no second network

    section(at, "Errors")
    at.slider(key="evaluation_threshold").set_value(100.0).run()  # all with pneumonia are missed
    opened = [b for b in at.button if b.label.startswith("Open in Prediction")]
    assert len(opened) == 3
    opened[0].click().run()
    path = Path(at.session_state["open_path"])
    assert path.is_file()
    assert path.is_relative_to(tmp_path / "mine" / inside / "PNEUMONIA")


def test_an_uploaded_table_shows_no_file_outside_the_dataset(
    page: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tmp_path / "chest_xray"
    (dataset / "test/NORMAL").mkdir(parents=True)
    Image.new("L", (16, 16), 90).save(dataset / "test/NORMAL/inside.png")
    Image.new("L", (16, 16), 90).save(tmp_path / "secret.png")
    (dataset / "test/NORMAL/link.png").symlink_to(tmp_path / "secret.png")
    monkeypatch.setenv("CHEST_XRAY_DIR", str(dataset))
    names = [
        "test/NORMAL/inside.png",
        str(tmp_path / "secret.png"),
        "../secret.png",
        "test/NORMAL/link.png",
    ]
    upload(page, HEAD + "".join(f"NORMAL,0.{9 - k},{name},,{k}\n" for k, name in enumerate(names)))
    section(page, "Errors")

    assert not page.exception
    assert not page.error
    [button] = [b for b in page.button if b.label.startswith("Open in Prediction")]
    assert sum("not on this disk" in caption.value for caption in page.caption) == 3
    button.click().run()
    assert page.session_state["open_path"] == str(dataset / "test/NORMAL/inside.png")


HOSTILE = {
    "the same file twice": HEAD + "NORMAL,0.9,test/a.png,,1\n" * 2,
    "no image": HEAD + "NORMAL,0.9,test/words.png,,1\nPNEUMONIA,0.9,,,\n",
    "a user's home": HEAD + "NORMAL,0.9,~nouser/x,,1\nNORMAL,0.8,~root/x,,1\n",
    "5,000 characters": HEAD + f"NORMAL,0.9,{'x' * 5000},{'y' * 5000},{'z' * 5000}\n",
    "long folders": HEAD + f"NORMAL,0.9,{'x/' * 2500},,1\n",
    "NUL": HEAD + "NORMAL,0.9,a\0b,c\0d,e\0f\n",
    "a column twice": "label,probability,label\nNORMAL,0.9,NORMAL\n",
    "a needless column twice": "label,probability,x,x\nNORMAL,0.9,1,2\n",
    "an extra cell": HEAD + "NORMAL,0.9,a,b,c,d\n",
    "one class": HEAD + "PNEUMONIA,0.1,a,virus,1\n",
    "only certain": HEAD + "PNEUMONIA,0,a,virus,1\nNORMAL,1,b,,2\n",
    "many subtypes": HEAD + "".join(f"PNEUMONIA,0.1,a,kind {n},{n}\n" for n in range(30)),
    "UTF-16 without a mark": (HEAD + "NORMAL,0.9,a,,1\n").encode("utf-16-le"),
    "Windows-1252": (HEAD + "NORMAL,0.9,é,ü,ñ\n").encode("cp1252"),
    "no text": bytes(range(256)) * 20,
    "nothing": "",
}


REFUSED = {"a column twice", "an extra cell", "UTF-16 without a mark", "no text", "nothing"}


def test_hostile_tables_end_in_numbers_or_a_sentence(
    page: AppTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dataset = tmp_path / "chest_xray"
    (dataset / "test").mkdir(parents=True)
    Image.new("L", (16, 16), 90).save(dataset / "test/a.png")
    (dataset / "test/words.png").write_text("no image")
    monkeypatch.setenv("CHEST_XRAY_DIR", str(dataset))
    refused = set()
    for kind, table in HOSTILE.items():
        section(page, OWN)
        upload(page, table)
        assert not page.exception, kind
        if page.error:
            refused.add(kind)
        else:
            for name in ("Groups", "Errors"):
                section(page, name)
                assert not page.exception, (kind, name)
                assert not page.error, (kind, name)
        assert not any("Something went wrong" in error.value for error in page.error), kind
    assert refused == REFUSED
    for secret in ("Doe_Jane", "nouser", "words.png", "x" * 100):
        assert secret not in caplog.text


def test_a_fault_in_a_section_is_a_sentence_and_its_place_in_the_log(
    page: AppTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("Doe_Jane.csv")

    monkeypatch.setattr("ui.evaluation.headline.natural_frequencies", broken)
    page.run()

    assert not page.exception
    assert any("Something went wrong" in error.value for error in page.error)
    assert "ValueError at test_evaluation_own.py:" in caplog.text
    assert "Doe_Jane" not in caplog.text


def test_a_text_that_names_no_folder_is_refused_in_a_sentence(page: AppTest) -> None:
    for text in ("~nouser/x", "x" * 5000, "x/" * 2500, "nul\0byte", "/nowhere"):
        page.text_input[0].set_value(text)
        press(page, "Evaluate these images")
        assert not page.exception, text[:40]
        [error] = page.error
        assert "folder" in error.value, text[:40]


def test_the_limit_of_rows_is_said_before_the_upload(page: AppTest) -> None:
    assert "up to 200,000 rows and 50 MB" in page.file_uploader[0].label


def test_markdown_of_a_table_is_shown_as_text(
    page: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = "![x](http://a.example/x.png)"
    upload(page, f"label,probability\n{image},0.9\n")
    [error] = page.error
    assert "&#91;x&#93;" in error.value
    assert "[" not in error.value
    upload(page, f"{image},probability\n1,0.9\n")
    assert "[" not in page.error[0].value
