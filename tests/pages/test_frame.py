"""The frame looks the same on every page, however the page was reached."""

import pytest
from starlette.formparsers import MultiPartParser

PAGES = ("app", "prediction", "dataset", "evaluation", "training")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_an_empty_models_folder_and_says_how_to_train(open_page, page):
    at = open_page(page)

    assert not at.exception
    assert "not a medical device" in at.caption[0].value
    assert any("python train.py" in info.value for info in at.info)
    assert at.sidebar.selectbox[0].label == "Model"


def test_uploads_are_not_spooled_to_a_file(open_page):
    open_page("prediction")

    assert MultiPartParser.spool_max_size == 0  # 0 is "never" for tempfile.SpooledTemporaryFile
