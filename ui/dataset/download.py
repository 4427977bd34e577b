"""The button that fetches the Kaggle set, with its progress."""

import streamlit as st

from ui.common.errors import show_errors
from ui.common.folders import is_local
from xray_core.dataset.download import ARCHIVE_BYTES, LICENCE, NEEDED_BYTES, WEB_PAGE, download


def offer_download() -> None:
    """Draw the button; a click fetches the set and shows the page with it.

    Only for whoever sits at this computer, whose disk it fills.
    """
    if not is_local():
        return
    st.write(
        f"The [Kaggle set]({WEB_PAGE}) ({LICENCE}) is a download of {ARCHIVE_BYTES / 1e9:.1f} GB "
        f"and needs {NEEDED_BYTES / 1e9:.0f} GB free disk. A stopped download resumes "
        "where it stopped; `python -m xray_core download` does the same."
    )
    if not st.button("Download the images", icon=":material/download:"):
        return
    place = st.empty()

    def show(done: int, total: int) -> None:
        place.progress(
            min(done / total, 1.0), f"{done / 1e9:.2f} of about {total / 1e9:.1f} GB have arrived"
        )

    fetched = None
    with show_errors():
        show(0, ARCHIVE_BYTES)
        fetched = download(progress=show)
    place.empty()
    if fetched:
        st.rerun()
