"""The download of the Kaggle dataset, with its progress."""

import streamlit as st

from ui.common.errors import show_errors
from ui.common.folders import is_local
from xray_core.dataset.download import ARCHIVE_BYTES, LICENCE, NEEDED_BYTES, WEB_PAGE, download


def offer_download() -> None:
    """Draw the button that downloads the dataset and then shows the page with it.

    Only for a visitor at this computer, whose disk it fills.
    """
    if not is_local():
        return
    st.write(
        f"The [Kaggle dataset]({WEB_PAGE}) ({LICENCE}) is a download of {ARCHIVE_BYTES / 1e9:.1f} "
        f"GB and needs {NEEDED_BYTES / 1e9:.0f} GB free disk. An interrupted download resumes. "
        "`python -m xray_core download` does the same."
    )
    if not st.button("Download the images", icon=":material/download:"):
        return
    place = st.empty()

    def show(done: int, total: int) -> None:
        place.progress(
            min(done / total, 1.0), f"{done / 1e9:.2f} of about {total / 1e9:.1f} GB downloaded"
        )

    folder = None
    with show_errors():
        show(0, ARCHIVE_BYTES)
        folder = download(progress=show)
    place.empty()
    if folder:
        st.rerun()
