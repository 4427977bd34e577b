"""Uploads on the Prediction page: their limits, and what a browser may send."""

from page_tools import listed
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec


def test_uploads_beyond_the_limits_are_discarded_as_they_arrive(monkeypatch):
    import ui.prediction.uploads as uploads
    from ui.common.streamlit_internals import DISCARDED, add_within_bounds

    monkeypatch.setattr(uploads, "MAX_IMAGES", 3)
    monkeypatch.setattr(uploads, "DROP_BYTES", 100)
    store = MemoryUploadedFileManager("/upload")
    for number, size in enumerate((60, 60, 30, 5)):
        record = UploadedFileRec(str(number), "a.png", "image/png", b"x" * size)
        add_within_bounds(store, uploads.fits, "visitor", record)
    add_within_bounds(store, uploads.fits, "another", UploadedFileRec("9", "b", "", b"x" * 60))

    kept = store.get_files("visitor", ["0", "1", "2", "3"])
    assert [len(file.data) for file in kept] == [60, 0, 30, 0]
    assert [file.type == DISCARDED for file in kept] == [False, True, False, True]
    assert len(store.get_files("another", ["9"])[0].data) == 60


def test_discarded_files_are_reported_and_not_analysed(open_page, with_model, image_png):
    from ui.common.streamlit_internals import DISCARDED

    at = open_page("prediction")
    for number in range(2):
        at.file_uploader[0].upload(f"{number}.png", image_png(number), "image/png")
    at.file_uploader[0].upload("large.png", b"", DISCARDED)
    at = at.run()

    assert len(listed(at)) == 2
    assert "Only 2 of 3 files were read" in at.warning[0].value


def test_files_beyond_the_limit_are_reported(open_page, with_model, image_png, monkeypatch):
    import ui.prediction.cases as store

    monkeypatch.setattr(store, "MAX_IMAGES", 2)

    at = open_page("prediction")
    for number in range(3):
        at.file_uploader[0].upload(f"{number}.png", image_png(number), "image/png")
    at = at.run()

    assert len(listed(at)) == 2
    assert (
        "Only 2 of 3 files were read: one drop may hold up to 500 files or 512 MB"
        in at.warning[0].value
    )
