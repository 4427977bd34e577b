"""The Prediction page in Streamlit's test runner, with a tiny model and hand-made images."""

import csv
import io
import json
import re
import shutil
import zipfile
from dataclasses import replace
from html import unescape

import numpy as np
import pandas as pd
import pypdf
from page_tools import listed, listed_files, listed_numbers, of_this_drop, select_image, viewer
from PIL import Image
from streamlit.testing.v1 import AppTest

from xray_core.prediction.wording import percent


def drop(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    for name, data in files:
        at.file_uploader[0].upload(name, data, "application/octet-stream")
    return at.run()


def words(at: AppTest) -> str:
    """All texts of the page as one."""
    texts = [element.proto.body for element in at.get("html")]
    for kind in ("markdown", "caption", "error", "info", "warning"):
        texts += [element.value for element in getattr(at, kind)]
    return "\n".join(texts)


def everything(at: AppTest) -> str:
    """All that is sent to the browser except images: every element as its message."""
    return "".join(str(element.proto) for block in (at.main, at.sidebar) for element in block)


def test_an_example_is_analysed_in_one_click(open_page, with_model):
    at = open_page("prediction")

    button = next(b for b in at.button if b.label == "Example: pneumonia")
    at = button.click().run()

    assert not at.exception
    assert not at.error
    assert "</span> Pneumonia suspected</h2>" in words(at)
    assert "of five similar training images" in words(at)
    assert "| With pneumonia (8) |" in words(at)
    assert "95% intervals by patient" in words(at)


def test_an_uploaded_image_gets_a_result_and_its_name_appears_nowhere(
    open_page, with_model, image_png
):
    at = drop(open_page("prediction"), ("Doe_Jane_1980.png", image_png(1000, True)))

    assert not at.error
    assert "</span> Pneumonia suspected</h2>" in words(at)
    assert "Image 1" in words(at)
    assert "Doe" not in everything(at)
    assert re.fullmatch(
        r"Image as analysed: Image 1. Result: Pneumonia suspected. Probability of pneumonia "
        r"(above )?\d+%.",
        viewer(at)["description"],
    )


def test_only_another_method_runs_the_network_again(open_page, with_model, image_png, monkeypatch):
    at = drop(open_page("prediction"), ("a.png", image_png(1000, True)))
    from xray_core.prediction.predictor import Predictor

    calls = []
    original = Predictor.predict

    def counted(self, *args, **kwargs):
        calls.append(kwargs)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Predictor, "predict", counted)
    at.number_input(key="prediction_pre_test_input").set_value(20).run()
    assert calls == []
    before = viewer(at)

    at = at.selectbox(key="map_method").set_value("layercam").run()

    assert [call["explain"] for call in calls] == ["layercam"]
    assert not at.error
    after = viewer(at)
    assert after["image"] == before["image"]
    assert (before["map"]["name"], after["map"]["name"]) == ("Grad-CAM", "Layer-CAM")
    assert before["map"]["url"] != after["map"]["url"]


def test_a_refused_image_has_a_reason_and_no_probability(open_page, with_model, downloaded):
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)

    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")

    at = drop(open_page("prediction"), ("holiday.png", buffer.getvalue()))

    assert "</span> Not analysed</h2>" in words(at)
    assert "Colour image" in words(at)
    assert 'class="scale"' not in words(at)
    assert viewer(at)["description"] == "Image as analysed: Image 1. Result: Not analysed."
    assert viewer(at)["map"] is None

    (row,) = csv.DictReader(io.StringIO(downloaded["Result (CSV)"].decode("utf-8-sig")))
    assert (row["shown_as"], row["verdict"], row["probability"]) == ("Not analysed", "REFUSED", "")
    assert "Colour image" in row["reasons"]
    (report,) = pypdf.PdfReader(io.BytesIO(downloaded["Report (PDF)"])).pages
    text = " ".join(report.extract_text().split())
    assert "Not analysed" in text
    assert row["reasons"] in text
    assert "this image:" not in text  # the mark on the scale of probability
    assert len([one for one in report.images if one.image.height > 1]) == 1  # no map


def test_an_unreadable_file_is_a_sentence(open_page, with_model):
    at = drop(open_page("prediction"), ("report.png", b"%PDF-1.7 no image at all"))

    assert not at.exception
    assert "</span> Unreadable</h2>" in words(at)


def test_several_images_become_a_table_and_one_bad_file_does_not_end_the_run(
    open_page, with_model, image_png
):
    at = drop(
        open_page("prediction"),
        ("a.png", image_png(1, False)),
        ("bad.png", b"nothing"),
        ("b.png", image_png(2, True)),
    )

    assert listed_numbers(at) == [1, 2, 3]
    assert [row["result"] for row in listed(at)] == [
        "○ No pneumonia detected",
        "✕ Unreadable",
        "▲ Pneumonia suspected",
    ]
    assert [re.match(r"(below |above )?\d+%", row["note"]) is None for row in listed(at)] == [
        False,
        True,
        False,
    ]
    assert "a.png" not in everything(at)

    at = select_image(at, 3)
    assert "Image 3" in words(at)
    at.checkbox(key=of_this_drop(at, "prediction_names")).check().run()
    assert listed_files(at) == ["a.png", "bad.png", "b.png"]


def test_each_row_of_the_list_names_the_place_of_its_thumbnail(open_page, with_model, image_png):
    files = [("a.png", image_png(1, False)), ("bad.png", b"nothing"), ("b.png", image_png(2, True))]
    at = drop(open_page("prediction"), *files)
    cases = at.session_state["prediction_visit"].cases
    whole = b"".join(case.thumbnail for case in cases)

    at = at.selectbox(key=of_this_drop(at, "prediction_order")).set_value("By result").run()

    places = {row["number"]: slice(*row["thumbnail"]) for row in listed(at)}
    assert [whole[places[case.number]] for case in cases] == [case.thumbnail for case in cases]
    assert cases[1].thumbnail == b""
    assert Image.open(io.BytesIO(cases[2].thumbnail)).size == (64, 64)


def test_the_image_after_the_shown_one_is_prepared(open_page, with_model, image_png):
    at = drop(open_page("prediction"), *((f"{n}.png", image_png(n, True)) for n in range(4)))
    visit = at.session_state["prediction_visit"]
    prepared = [len(visit.views[case].predictions) for case in visit.cases]
    assert prepared == [1, 1, 0, 0]

    at = select_image(at, 3)
    prepared = [len(visit.views[case].predictions) for case in visit.cases]
    assert prepared == [1, 1, 1, 1]


def test_a_zip_is_several_images(open_page, with_model, image_png):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("one.png", image_png(1, False))
        archive.writestr("../two.png", image_png(2, True))

    at = drop(open_page("prediction"), ("images.zip", buffer.getvalue()))

    assert len(listed(at)) == 2
    assert "points outside" in listed(at)[1]["note"]


def test_the_filter_keeps_only_the_chosen_results(open_page, with_model, image_png):
    at = drop(open_page("prediction"), ("a.png", image_png(1, False)), ("bad.png", b"nothing"))

    at = at.selectbox(key=of_this_drop(at, "prediction_filter")).set_value("UNREADABLE").run()

    assert listed_numbers(at) == [2]


def test_the_list_is_ordered_and_the_arrow_keys_follow_its_order(open_page, with_model, image_png):
    files = [("a.png", image_png(1, False)), ("bad.png", b"nothing"), ("b.png", image_png(2, True))]
    at = drop(open_page("prediction"), *files)
    assert (viewer(at)["previous"], viewer(at)["next"]) == (False, True)

    order = at.selectbox(key=of_this_drop(at, "prediction_order"))
    at = order.set_value("Highest probability first").run()
    assert listed_numbers(at) == [3, 1, 2]
    assert (viewer(at)["previous"], viewer(at)["next"]) == (True, True)

    at = order.set_value("Lowest probability first").run()
    assert listed_numbers(at) == [1, 3, 2]


def test_a_filter_that_shows_nothing_any_more_shows_all(open_page, with_model, image_png):
    at = drop(
        open_page("prediction"), ("a.png", image_png(1, False)), ("b.png", image_png(2, True))
    )
    at = at.selectbox(key=of_this_drop(at, "prediction_filter")).set_value("PNEUMONIA").run()
    assert listed_numbers(at) == [2]

    from xray_core.imaging.adjustment import Adjustment

    at.session_state["prediction_visit"].cases[1].adjust(Adjustment(quarter_turns=1))
    at = at.run()

    assert not at.exception
    assert listed_numbers(at) == [1, 2]


def test_clear_removes_the_images(open_page, with_model, image_png):
    at = drop(open_page("prediction"), ("a.png", image_png(1, False)))

    at = next(b for b in at.button if b.label == "Clear").click().run()

    assert "Image 1" not in words(at)
    assert at.session_state["prediction_visit"].cases == []


def test_an_image_requested_by_another_page_opens(open_page, with_model, image_png, tmp_path):
    path = tmp_path / "elsewhere.png"
    path.write_bytes(image_png(1000, True))

    at = open_page("prediction", open_path=str(path))

    assert "</span> Pneumonia suspected</h2>" in words(at)
    assert "elsewhere" not in words(at)


def test_a_missing_image_is_reported_in_a_brief_message(open_page, with_model, tmp_path):
    at = open_page("prediction", open_path=str(tmp_path / "gone.png"))

    assert not at.exception
    assert "no longer where it was" in at.toast[0].value


def test_a_damaged_bundle_is_reported_and_the_others_stay(open_page, with_model, image_png):
    shutil.copytree(with_model / "micro", with_model / "damaged")
    (with_model / "damaged" / "gate.npz").write_bytes(b"changed")

    at = open_page("prediction")
    assert at.sidebar.selectbox[0].value == "micro"

    at = at.sidebar.selectbox[0].set_value("damaged").run()
    assert "gate.npz was changed" in at.warning[0].value
    assert not at.exception

    at = at.sidebar.selectbox[0].set_value("micro").run()
    assert len(at.file_uploader) == 1


def test_an_unexpected_error_is_a_sentence_without_a_file_name(
    open_page, with_model, image_png, monkeypatch, caplog
):
    from xray_core.prediction.predictor import Predictor

    def failing(self, *args, **kwargs):
        raise RuntimeError("secret-file-name.png")

    monkeypatch.setattr(Predictor, "predict", failing)

    at = drop(open_page("prediction"), ("secret-file-name.png", image_png(1)))

    assert not at.exception
    assert "software error" in words(at)
    assert "secret" not in words(at) + caplog.text
    assert "RuntimeError at test_prediction_page.py" in caplog.text


def test_images_beyond_the_memory_limit_keep_only_their_result(
    open_page, with_model, image_png, monkeypatch
):
    import ui.prediction.cases as store

    first, second = image_png(1, False), image_png(2, True)
    monkeypatch.setattr(store, "KEPT_BYTES", len(first) + 1)

    at = drop(open_page("prediction"), ("a.png", first), ("b.png", second))
    assert all("%" in row["note"] for row in listed(at))

    at = select_image(at, 2)
    assert "only the results are kept" in words(at)
    assert not at.exception


def test_a_rotated_image_is_corrected_in_one_click(open_page, with_model, image):
    rotated = np.rot90(image(3, True)).copy()
    buffer = io.BytesIO()
    Image.fromarray(rotated).save(buffer, "PNG")
    at = drop(open_page("prediction"), ("a.png", buffer.getvalue()))
    assert "</span> Not analysed</h2>" in words(at)
    assert "appears to be rotated" in words(at)

    at = next(b for b in at.button if b.label == "Rotate and analyse").click().run()
    assert 'class="scale"' in words(at)
    assert "<li>The image was rotated by 90 degrees clockwise before the analysis.</li>" in words(
        at
    )

    at = next(b for b in at.button if b.label == "Undo the changes").click().run()
    assert "</span> Not analysed</h2>" in words(at)


def test_a_border_is_cropped_in_one_click(open_page, with_model, image):
    buffer = io.BytesIO()
    Image.fromarray(np.pad(image(3, True), 40, constant_values=255)).save(buffer, "PNG")
    at = drop(open_page("prediction"), ("a.png", buffer.getvalue()))
    assert "have a border" in words(at)

    labels = ("Crop and analyse", "Border detected. Crop and re-analyse")
    at = next(b for b in at.button if b.label in labels).click().run()
    assert 'class="scale"' in words(at)
    assert "<li>The image was cropped (" in words(at)

    at = next(b for b in at.button if b.label == "Undo the changes").click().run()
    assert any(b.label in labels for b in at.button)


def with_config(models, **entries):
    """Give the model `micro` other entries of its config."""
    path = models / "micro" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_similar_images_that_contradict_the_result_are_a_caution_right_below_it(
    open_page, with_model, image_png, monkeypatch
):
    from xray_core.model.neighbours import Neighbours

    report = {"images": 16, "contradicted": 2, "network_right": 1, "agreed_right": 14}
    with_config(with_model, neighbours_report=report)
    original = Neighbours.nearest
    counts = {"normal": 14, "bacterial": 6, "viral": 0, "pneumonia": 0}
    monkeypatch.setattr(
        Neighbours,
        "nearest",
        lambda self, features, k=20: [replace(n, **counts) for n in original(self, features, k)],
    )

    at = drop(open_page("prediction"), ("a.png", image_png(1000, True)))

    bodies = [element.proto.body for element in at.get("html")]
    result = next(n for n, body in enumerate(bodies) if 'class="result pneumonia"' in body)
    cautions = next(n for n, body in enumerate(bodies) if 'class="cautions"' in body)
    assert cautions == result + 1
    assert (
        "<li>Most of the similar training images (14 of 20) are normal. When they contradicted "
        "the model in validation (2 of 16 images), the model was right in 1.</li>"
    ) in bodies[cautions]


def test_the_post_test_probability_follows_the_pre_test_probability(
    open_page, with_model, image_png
):
    at = drop(open_page("prediction"), ("a.png", image_png(1, True)))
    probability = at.session_state["prediction_visit"].cases[0].prediction.probability
    control = at.number_input(key="prediction_pre_test_input")
    assert control.value == 50
    assert f"Post-test probability <b>{percent(probability)}</b>" in words(at)

    at = control.set_value(3).run()
    odds = probability / (1 - probability) * 0.03 / 0.97
    assert f"Post-test probability <b>{percent(odds / (1 + odds))}</b>" in words(at)
    assert percent(odds / (1 + odds)) != percent(probability)

    at = drop(at, ("b.png", image_png(2, False)))
    assert at.number_input(key="prediction_pre_test_input").value == 3


def test_an_image_unlike_the_training_images_has_no_accuracy(
    open_page, with_model, image_png, monkeypatch
):
    from xray_core.model.gate import Gate

    monkeypatch.setattr(Gate, "outcome", lambda self, distance: "caution")
    at = drop(open_page("prediction"), ("a.png", image_png(1000, True)))

    assert "unlike the training images" in words(at)
    assert "does not apply to this image" in words(at)
    assert "95% intervals" not in words(at)


def test_page_report_tables_and_command_line_have_the_same_sentences(
    open_page, with_model, image_png, tmp_path, downloaded
):
    from xray_core import Predictor
    from xray_core.prediction.screen import screen

    report = {"images": 16, "contradicted": 2, "network_right": 1, "agreed_right": 14}
    cautions = {"map_in_lungs": 1.1, "too_sure": 0.5}  # every caution that can be
    with_config(with_model, neighbours_report=report, cautions=cautions)
    files = {f"{n}.png": image_png(n, n % 2 == 1) for n in range(4)} | {"bad.png": b"nothing"}

    at = drop(open_page("prediction"), *files.items())
    assert not at.error
    text = downloaded["All results (CSV)"].decode("utf-8-sig")
    table = {row["image"]: row for row in csv.DictReader(io.StringIO(text))}
    shown = {row["number"]: row for row in listed(at)}
    folder = tmp_path / "images"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    screen(folder, tmp_path / "out.csv", Predictor.load(with_model / "micro"), progress=False)
    screened = {
        row["file"]: row for row in csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    }

    for number, name in enumerate(files, start=1):
        row = table[str(number)]
        same = {key: row[key] for key in ("shown_as", "verdict", "sentence", "gate", "reasons")}
        assert same == {key: screened[name][key] for key in same}
        first = shown[number]["note"].rpartition(" · ")[2]
        assert first
        assert row["reasons"].startswith(first)
        assert shown[number]["result"].endswith(row["shown_as"])
        at = select_image(at, number)
        page = unescape(words(at))
        assert f"</span> {row['shown_as']}</h2>" in page
        if name == "bad.png":
            assert row["reasons"] in page
            continue
        assert f'<p class="meaning">{row["sentence"]}</p>' in page
        section = page[page.index('<section class="cautions">') :]
        items = re.findall("<li>(.*?)</li>", section[: section.index("</section>")])
        assert " ".join(items) == row["reasons"] != ""
        one = downloaded["Result (CSV)"].decode("utf-8-sig")
        (alone,) = csv.DictReader(io.StringIO(one))
        assert alone == row
        (report_page,) = pypdf.PdfReader(io.BytesIO(downloaded["Report (PDF)"])).pages
        report_text = " ".join(report_page.extract_text().split())
        for part in (row["shown_as"], row["sentence"], *items, f"Image {number}"):
            assert part in report_text


def test_a_similar_training_image_opens_beside_the_image(
    open_page, with_model, image_png, tmp_path, monkeypatch
):
    at = drop(open_page("prediction"), ("a.png", image_png(1000, True)))
    assert [s.label for s in at.button_group] == []
    index = pd.read_csv(with_model / "micro" / "dataset.csv")
    for number, row in enumerate(index[index["fold"] == "train"].itertuples()):
        path = tmp_path / "data" / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_png(number, row.label == "PNEUMONIA", 40, 50))
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path / "data"))

    at = at.run()
    assert len(at.get("bidi_component")) == 1
    at = at.button_group(key=of_this_drop(at, "similar")).set_value(3).run()

    assert not at.error
    own, similar = (json.loads(element.proto.json) for element in at.get("bidi_component"))
    assert own["description"].startswith("Image as analysed: Image 1")
    assert re.fullmatch(
        r"Similar training image 3 of 8: (normal|bacterial|viral)\.", similar["description"]
    )
    assert (similar["image"]["width"], similar["image"]["height"]) == (50, 40)
    assert own["colours"] == similar["colours"]

    at = next(b for b in at.button if b.label == "Close the similar image").click().run()
    assert len(at.get("bidi_component")) == 1


def test_a_random_image_of_the_test_split_is_offered_where_the_dataset_is(
    open_page, with_model, image_png, tmp_path, monkeypatch
):
    at = open_page("prediction")
    assert not any(b.label == "Random test image" for b in at.button)

    predictions = pd.read_csv(with_model / "micro" / "predictions.csv")
    tested = predictions[(predictions["fold"] == "test") & (predictions["label"] == "PNEUMONIA")]
    path = tmp_path / "data" / tested["file"].iloc[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(image_png(1000, True))
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path / "data"))

    at = next(b for b in at.run().button if b.label == "Random test image").click().run()

    assert "Test image, label: pneumonia" in words(at)
    assert "</span> Pneumonia suspected</h2>" in words(at)
