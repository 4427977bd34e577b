"""The frame is the same on every page, with and without `app.py`."""

import shutil

import pytest
from page_tools import page_text
from starlette.formparsers import MultiPartParser

PAGES = ("app", "prediction", "dataset", "evaluation", "training")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_without_a_model_and_says_how_to_train(open_page, page):
    at = open_page(page)

    assert not at.exception
    assert "not a medical device" in at.caption[0].value
    assert any("python train.py" in info.value for info in at.info)
    assert at.sidebar.selectbox[0].label == "Model"


@pytest.mark.parametrize("page", PAGES)
def test_pages_offer_classifiers_only(open_page, with_model, micro_lungs, page):
    shutil.copytree(micro_lungs, with_model / "lungs")
    at = open_page(page)

    assert not at.exception
    assert at.sidebar.selectbox[0].options == ["micro"]


def test_uploads_are_not_spooled_to_a_file(open_page):
    open_page("prediction")

    assert MultiPartParser.spool_max_size == 0  # 0 is "never" for tempfile.SpooledTemporaryFile


def test_the_chosen_model_stays_chosen_through_several_runs(open_page, micro_bundle, models_folder):
    for name in ("one", "two"):
        shutil.copytree(micro_bundle, models_folder / name)
    at = open_page()
    assert at.sidebar.selectbox[0].value == "one"

    for name in ("two", "one", "two"):
        at = at.sidebar.selectbox[0].set_value(name).run()
        assert at.sidebar.selectbox[0].value == name
        assert at.run().sidebar.selectbox[0].value == name


def test_resnet50_is_the_model_that_the_app_opens_with(open_page, micro_bundle, models_folder):
    for name in ("another", "resnet50"):
        shutil.copytree(micro_bundle, models_folder / name)

    assert open_page("training").sidebar.selectbox[0].value == "resnet50"


def test_another_model_than_the_default_is_used_only_with_a_warning(
    open_page, micro_bundle, models_folder
):
    for name in ("another", "resnet50"):
        shutil.copytree(micro_bundle, models_folder / name)
    (models_folder / "resnet50" / "gate.npz").write_bytes(b"changed")
    at = open_page("prediction")

    assert at.sidebar.selectbox[0].value == "another"
    assert "resnet50, cannot be opened, so another is used" in at.warning[0].value
    assert "gate.npz was changed" in at.warning[0].value


@pytest.mark.parametrize("page", PAGES)
def test_no_page_calls_the_server_this_computer(open_page, with_model, page):
    at = open_page(page)
    text = " ".join(page_text(at).split()).lower()

    assert not at.exception
    assert "this computer" not in text
    if page == "prediction":
        assert "in the memory of the computer that runs this app" in text
