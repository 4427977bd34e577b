"""The Dataset page: from images on disk, from a model's table alone, and from neither."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from drawn_images import KAGGLE_LIKE, write_dataset
from page_tools import ROOT, page_text
from simulated_bundle import write_bundle
from streamlit.testing.v1 import AppTest

from xray_core.dataset.measure import dataset_table
from xray_core.errors import DatasetError
from xray_core.model.bundle_writing import seal


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Caches of the test's own, on disk and in the process."""
    monkeypatch.setenv("XRAY_CACHE", str(tmp_path / "cache"))
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = write_dataset(tmp_path / "chest_xray", KAGGLE_LIKE)
    original = root / "train/PNEUMONIA/person3_virus_7.jpeg"
    (root / "test/PNEUMONIA/person777_virus_1.jpeg").write_bytes(original.read_bytes())
    return root


@pytest.fixture
def page(open_page: Callable[..., AppTest], dataset: Path) -> AppTest:
    return open_page("dataset", dataset_folder=str(dataset))


def labels(at: AppTest) -> list[str]:
    return [expander.label for expander in at.expander]


def test_numbers_findings_and_gallery_of_a_folder(page: AppTest, dataset: Path) -> None:
    assert not page.exception
    assert not page.error
    numbers = {m.label: m.value for m in page.metric}
    assert numbers["Images"] == "93"
    assert numbers["Normal"] == "46"
    assert numbers["Pneumonia"] == "47"
    # 20 + 2 + 4 normal patients, 20 + 2 + 4 with pneumonia, and the copy under another name
    assert numbers["Patients"] == "53"
    found = [label for label in labels(page) if "**" in label]
    assert "**Serious**" in found[0]
    assert any("both sides of the test split" in label for label in found)
    assert found.index(next(f for f in found if "Checked" in f)) > found.index(
        next(f for f in found if "Note" in f)
    )
    assert str(dataset) in page_text(page)


def test_a_finding_opens_its_rows(page: AppTest) -> None:
    before = len(page.dataframe)
    page.session_state["finding_exact-across"] = True
    page.run()
    assert not page.exception
    assert len(page.dataframe) == before + 1
    paths = [set(frame.value["path"]) for frame in page.dataframe if "path" in frame.value]
    assert {
        "train/PNEUMONIA/person3_virus_7.jpeg",
        "test/PNEUMONIA/person777_virus_1.jpeg",
    } in paths


def test_gallery_filters_and_pages(page: AppTest) -> None:
    def shown() -> list[str]:
        keys = [button.key or "" for button in page.button]
        return [key.removeprefix("open ") for key in keys if key.startswith("open ")]

    assert len(shown()) == 18
    assert "Images 1 to 18 of 93." in page_text(page)
    page.number_input(key="gallery_page").set_value(6).run()
    assert len(shown()) == 3
    page.selectbox(key="gallery_split").set_value("test").run()  # fewer pages than the sixth
    assert len(shown()) == 9
    assert all(path.startswith("test/") for path in shown())
    page.selectbox(key="gallery_label").set_value("NORMAL").run()
    assert len(shown()) == 4
    page.selectbox(key="gallery_split").set_value("any").run()
    page.text_input(key="gallery_patient").set_value("IM-0007").run()
    assert shown() == ["train/NORMAL/IM-0007-0001.jpeg", "train/NORMAL/IM-0007-0002.jpeg"]
    page.text_input(key="gallery_patient").set_value("").run()
    page.selectbox(key="gallery_label").set_value("any").run()
    page.selectbox(key="gallery_subtype").set_value("bacteria").run()
    assert "of 22." in page_text(page)
    page.selectbox(key="gallery_subtype").set_value("any").run()
    page.selectbox(key="gallery_finding").set_value("exact-across").run()
    assert len(shown()) == 2
    assert not page.exception


def test_an_image_opens_enlarged_with_its_facts(page: AppTest) -> None:
    # That it can be sent to prediction is tested in a browser: AppTest reruns no dialog.
    page.text_input(key="gallery_patient").set_value("IM-0007-0001").run()
    page.button(key="open train/NORMAL/IM-0007-0001.jpeg").click().run()
    assert not page.exception
    (viewer,) = page.get("bidi_component")
    shown = json.loads(viewer.proto.json)
    facts = page.table[0].value["Value"].to_dict()
    assert facts["patient"] == "IM-0007"
    assert facts["width"] == "24"
    assert any(button.label == "Open in Prediction" for button in page.button)
    assert (shown["image"]["width"], shown["several"], shown["map"]) == (24, False, None)
    assert shown["description"] == "Image train/NORMAL/IM-0007-0001.jpeg."


@pytest.mark.parametrize("name", ["width", "mean", "sharpness", "colour"])
def test_every_property_can_be_looked_at(page: AppTest, name: str) -> None:
    page.selectbox(key="dataset_property").set_value(name).run()
    assert not page.exception
    constant = name in ("width", "colour")
    assert ("in all images here" in page_text(page)) == constant


def test_unreadable_image_is_a_finding_and_no_crash(
    open_page: Callable[..., AppTest], dataset: Path
) -> None:
    (dataset / "train/NORMAL/IM-0003-0001.jpeg").write_bytes(b"no image")
    page = open_page("dataset", dataset_folder=str(dataset))
    assert not page.exception
    assert any("1 file cannot be read" in label for label in labels(page))
    page.text_input(key="gallery_patient").set_value("IM-0003-0001").run()
    assert not page.exception


def test_changed_folder_is_noticed_without_a_restart(page: AppTest, dataset: Path) -> None:
    (dataset / "test/PNEUMONIA/person777_virus_1.jpeg").unlink()
    page.run()
    assert {m.label: m.value for m in page.metric}["Images"] == "92"
    assert not any("both sides of the test split" in label for label in labels(page))


def test_wrong_folder_is_a_sentence_and_can_be_corrected(page: AppTest, dataset: Path) -> None:
    page.text_input(key="dataset_folder_field").set_value(str(dataset / "train")).run()
    assert "contains no chest X-ray dataset" in page.error[0].value
    assert not page.exception
    page.text_input(key="dataset_folder_field").set_value(str(dataset)).run()
    assert not page.error
    assert {m.label: m.value for m in page.metric}["Images"] == "93"


def test_without_images_the_models_table_serves(
    open_page: Callable[..., AppTest], models_folder: Path, dataset: Path
) -> None:
    write_bundle(models_folder)
    table = dataset_table(dataset)
    table.to_csv(models_folder / "resnet50" / "dataset.csv", index=False)
    config = json.loads((models_folder / "resnet50/config.json").read_text())
    seal(
        models_folder / "resnet50",
        {key: value for key, value in config.items() if key not in ("files", "format")},
    )
    shutil.rmtree(dataset)
    page = open_page("dataset")
    assert not page.exception
    assert not page.error
    text = page_text(page)
    assert "no images on the computer that runs this app" in text
    assert "The gallery needs the images" in text
    assert {m.label: m.value for m in page.metric}["Images"] == "93"
    assert any("both sides of the test split" in label for label in labels(page))
    assert any(button.label == "Download the images" for button in page.button)


def test_with_neither_images_nor_model_the_download_is_offered(
    open_page: Callable[..., AppTest],
) -> None:
    page = open_page("dataset")
    assert not page.exception
    assert "python -m xray_core download" in page_text(page)
    assert any(button.label == "Download the images" for button in page.button)


def test_download_shows_its_failure_as_a_sentence(
    open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(**_: object) -> Path:
        raise DatasetError("Kaggle cannot be reached; is there a way to the internet?")

    monkeypatch.setattr("ui.dataset.download.download", offline)
    page = open_page("dataset")
    next(b for b in page.button if b.label == "Download the images").click().run()
    assert not page.exception
    assert page.error[0].value.startswith("Kaggle cannot be reached")


def test_download_shows_the_set_that_arrived(
    open_page: Callable[..., AppTest],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = open_page("dataset")

    def arrives(progress: Callable[[int, int], None]) -> Path:
        progress(1_000_000_000, 2_463_000_000)
        dataset.rename(tmp_path / "no-dataset-here")
        return tmp_path / "no-dataset-here"

    monkeypatch.setattr("ui.dataset.download.download", arrives)
    next(b for b in page.button if b.label == "Download the images").click().run()
    assert not page.exception
    assert {m.label: m.value for m in page.metric}["Images"] == "93"


def test_page_imports_no_tensorflow_and_nothing_slow(dataset: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"at = AppTest.from_file({str(ROOT / 'pages' / 'dataset.py')!r}, default_timeout=120)\n"
        f"at.session_state['dataset_folder'] = {str(dataset)!r}\n"
        "at.run()\n"
        "assert not at.exception and not at.error\n"
        "slow = {'tensorflow', 'keras', 'sklearn', 'statsmodels', 'matplotlib', 'kagglehub'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "[]", done.stderr[-2000:]
