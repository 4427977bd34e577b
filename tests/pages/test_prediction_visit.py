"""What a visit keeps and what it does not: results of an earlier model, views, filters, origins."""

import shutil

import numpy as np
import pandas as pd
import pytest
from page_tools import of_this_drop, page_text
from streamlit.testing.v1 import AppTest


def drop(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    for name, data in files:
        at.file_uploader[0].upload(name, data, "application/octet-stream")
    return at.run()


@pytest.fixture
def two_models(with_model, micro_bundle):
    """The models `micro` and `other`, which differ only in their names."""
    shutil.copytree(micro_bundle, with_model / "other")
    return with_model


def test_results_of_discarded_images_stay_and_name_their_model(
    open_page, two_models, image_png, monkeypatch
):
    import ui.prediction.cases as store

    first, second = image_png(1, False), image_png(2, True)
    monkeypatch.setattr(store, "KEPT_BYTES", len(first) + 1)
    at = drop(open_page("prediction"), ("a.png", first), ("b.png", second))
    before = at.dataframe[0].value["Probability"].tolist()
    assert "This result is of the model" not in "".join(at.dataframe[0].value["Cautions"])

    at = at.sidebar.selectbox[0].set_value("other").run()

    table = at.dataframe[0].value
    assert list(table["Result"]) == ["○ No pneumonia detected", "▲ Pneumonia suspected"]
    assert table["Probability"].tolist() == before
    assert "This result is of the model" not in table["Cautions"][0]
    assert "This result is of the model micro 2026-01-02" in table["Cautions"][1]
    models = [image.result.model for image in at.session_state["prediction_visit"].cases]
    assert [model.split()[0] for model in models] == ["other", "micro"]

    at = at.selectbox(key=of_this_drop(at, "prediction_shown")).set_value(2).run()
    assert not at.exception
    assert not at.error
    assert "</span> Pneumonia suspected</h2>" in page_text(at)
    assert any("other 2026-01-02" in warning.value for warning in at.warning)

    at = at.sidebar.selectbox[0].set_value("micro").run()
    assert "This result is of the model" not in "".join(at.dataframe[0].value["Cautions"])


def test_a_kept_result_is_drawn_on_the_scale_of_its_own_model(
    open_page, two_models, image_png, monkeypatch
):
    import ui.prediction.cases as store
    from xray_core.model.bundle import open_bundle
    from xray_core.model.bundle_writing import seal

    other = two_models / "other"
    config = dict(open_bundle(two_models / "micro").config)
    config.pop("files")
    calibration = config["calibration"] | {
        "decision_threshold": 0.61,
        "exclusion_threshold": 0.02,
        "uncertain": [0.55, 0.7],
    }
    seal(other, config | {"name": "other", "calibration": calibration})
    monkeypatch.setattr(store, "KEPT_BYTES", 0)

    def scale(at: AppTest) -> str:
        return next(e.proto.body for e in at.get("html") if 'class="scale"' in e.proto.body)

    at = drop(open_page("prediction"), ("a.png", image_png(1000, True)))
    before = scale(at)

    at = at.sidebar.selectbox[0].set_value("other").run()

    assert scale(at) == before
    at = drop(at, ("a.png", image_png(1000, True)))
    assert scale(at) != before


def test_a_new_drop_resets_filter_selection_and_names(open_page, with_model, image_png):
    files = [("a.png", image_png(1, False)), ("bad.png", b"nothing"), ("c.png", image_png(3, True))]
    at = drop(open_page("prediction"), *files)
    at.button_group(key=of_this_drop(at, "prediction_verdicts")).set_value(["UNREADABLE"]).run()
    at.checkbox(key=of_this_drop(at, "prediction_names")).check().run()
    assert list(at.dataframe[0].value["Image"]) == [2]
    assert "File" in at.dataframe[0].value
    before = {element.proto.id for element in (*at.button_group, *at.checkbox, *at.dataframe)}

    at = drop(at, *files)

    assert list(at.dataframe[0].value["Image"]) == [1, 2, 3]
    assert "File" not in at.dataframe[0].value
    assert at.button_group(key=of_this_drop(at, "prediction_verdicts")).value == []
    assert at.checkbox(key=of_this_drop(at, "prediction_names")).value is False
    assert at.selectbox(key=of_this_drop(at, "prediction_shown")).value == 1
    # The browser keeps the state of a widget whose id stays: no id may.
    after = {element.proto.id for element in (*at.button_group, *at.checkbox, *at.dataframe)}
    assert not before & after


def test_a_new_drop_does_not_put_the_name_into_the_report(open_page, with_model, image_png):
    at = drop(open_page("prediction"), ("a.png", image_png(1000, True)))
    box = next(box for box in at.checkbox if box.label == "Include file name")
    at = box.check().run()

    at = drop(at, ("b.png", image_png(1001, True)))

    assert not next(box for box in at.checkbox if box.label == "Include file name").value


def test_a_new_drop_does_not_take_over_the_window_of_the_last(open_page, with_model, image):
    from dicom_maker import image_bytes

    windows = {"WindowCenter": [128, 150], "WindowWidth": [256, 180]}
    data = image_bytes(image(1000, True), WindowCenterWidthExplanation=["ALL", "LUNG"], **windows)
    at = drop(open_page("prediction"), ("a.dcm", data))

    def window(at: AppTest) -> object:
        return next(box for box in at.selectbox if box.label.startswith("Window"))

    at = window(at).set_value(1).run()
    assert window(at).value == 1

    at = drop(at, ("b.dcm", data))

    assert window(at).value == 0


@pytest.mark.parametrize(
    ("fold", "label", "origin"),
    [
        ("train", "PNEUMONIA", "Training image (the model was trained on it), label: pneumonia, "),
        ("train", "NORMAL", "Training image (the model was trained on it), label: normal"),
        (
            "validation",
            "NORMAL",
            "Validation image (the thresholds of the model were chosen on it), label: normal",
        ),
        ("test", "PNEUMONIA", "Test image, label: pneumonia, "),
    ],
)
def test_an_image_of_the_dataset_is_shown_with_its_fold_and_label(
    open_page, with_model, image_png, tmp_path, monkeypatch, fold, label, origin
):
    index = pd.read_csv(with_model / "micro" / "dataset.csv", keep_default_na=False)
    row = index[(index["fold"] == fold) & (index["label"] == label)].iloc[0]
    path = tmp_path / "data" / row["path"]
    path.parent.mkdir(parents=True)
    path.write_bytes(image_png(1000, True))
    at = open_page("prediction")
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path / "data"))

    at.session_state["open_path"] = str(path)
    at = at.run()

    assert origin in page_text(at)
    kind = {"bacteria": "bacterial", "virus": "viral", "none": ""}[row["subtype"]]
    assert f"label: {label.lower()}{', ' if kind else ''}{kind}<" in page_text(at)
    assert at.session_state["prediction_visit"].cases[0].title.startswith(origin)


def test_the_fold_of_an_image_is_that_of_the_chosen_model(
    open_page, two_models, image_png, tmp_path, monkeypatch
):
    """Another model may have been trained on other images."""
    from xray_core.model.bundle import open_bundle
    from xray_core.model.bundle_writing import seal

    index = pd.read_csv(two_models / "micro" / "dataset.csv", keep_default_na=False)
    row = index[index["fold"] == "train"].iloc[0]
    other = two_models / "other"
    index[index["path"] != row["path"]].to_csv(other / "dataset.csv", index=False)
    config = dict(open_bundle(two_models / "micro").config)
    config.pop("files")
    seal(other, config | {"name": "other"})
    path = tmp_path / "data" / row["path"]
    path.parent.mkdir(parents=True)
    path.write_bytes(image_png(1000, True))
    at = open_page("prediction")
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path / "data"))
    at.session_state["open_path"] = str(path)
    at = at.run()
    assert "Training image" in page_text(at)

    at = at.sidebar.selectbox[0].set_value("other").run()

    assert "Training image" not in page_text(at)
    origin = "Dataset image that the model was neither trained nor tested on, label: normal<"
    assert origin in page_text(at)


def test_an_image_from_outside_the_dataset_has_no_label(
    open_page, with_model, image_png, tmp_path, monkeypatch
):
    (tmp_path / "data" / "train").mkdir(parents=True)
    path = tmp_path / "elsewhere.png"
    path.write_bytes(image_png(1000, True))
    at = open_page("prediction")
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path / "data"))

    at.session_state["open_path"] = str(path)
    at = at.run()

    assert at.session_state["prediction_visit"].cases[0].title == "Opened image"
    assert "open_path" not in at.session_state


@pytest.fixture
def decodes(monkeypatch) -> list[int]:
    """The numbers of the images in the order in which they were decoded."""
    from ui.prediction.cases import Case

    original, numbers = Case.read, []

    def read(self):
        numbers.append(self.number)
        return original(self)

    monkeypatch.setattr(Case, "read", read)
    return numbers


def test_an_image_is_decoded_once_for_result_details_and_maps(
    open_page, with_model, image_png, decodes
):
    files = [(f"{number}.png", image_png(number, True)) for number in range(3)]
    at = drop(open_page("prediction"), *files)
    at = at.selectbox(key=of_this_drop(at, "prediction_shown")).set_value(2).run()
    at = at.selectbox(key="map_method").set_value("layercam").run()

    assert not at.error
    assert decodes == [1, 2, 3]


def test_an_image_whose_view_was_not_kept_is_decoded_again_when_it_is_opened(
    open_page, with_model, image_png, decodes, monkeypatch
):
    import ui.prediction.cases as store

    monkeypatch.setattr(store, "VIEW_BYTES", 1)
    files = [(f"{number}.png", image_png(number, True)) for number in range(3)]
    at = drop(open_page("prediction"), *files)
    at = at.selectbox(key=of_this_drop(at, "prediction_shown")).set_value(2).run()

    assert not at.error
    assert decodes == [1, 2, 3, 1, 2]
    visit = at.session_state["prediction_visit"]
    assert [case.number for case in visit.views] == [2]


def test_a_view_is_of_one_image_with_its_present_settings():
    from ui.prediction.cases import Case, Visit
    from ui.prediction.view import make_view
    from xray_core.imaging.adjustment import Adjustment
    from xray_core.imaging.radiograph import Radiograph

    case, another_first = Case(1), Case(1)
    visit = Visit([case])
    view = make_view(Radiograph(np.zeros((300, 300), np.float32), (300, 300)), case.settings)
    visit.keep_view(case, view)
    visit.keep_view(another_first, view)  # no longer one of the visit's images

    assert visit.view_of(case) is view
    assert visit.view_of(another_first) is None
    case.adjust(Adjustment(1, False))
    assert visit.view_of(case) is None
