"""The frame of every page: page configuration, navigation, model picker, disclaimer.

A page calls `frame` first. It must not rely on `app.py` having run: with a folder named `pages/`,
Streamlit answers the first request of a fresh process for `/dataset` by running that page alone.
Calling `st.navigation` from the page turns that mechanism off and draws the right menu.
"""

import sys
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page

from ui.common.errors import show_errors
from ui.common.memory import exempt_libraries
from ui.common.models import DEFAULT_MODEL, ROOT, list_models
from ui.common.sign_in import must_sign_in, show_sign_in, show_sign_out
from ui.common.streamlit_internals import end_session_when_tab_closes, keep_uploads_in_memory
from ui.common.style import STYLE
from ui.common.text import as_markdown
from xray_core.prediction.wording import DISCLAIMER

APP_NAME = "Chest X-ray pneumonia demo"
_PICKER = "model_picker"
_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="6" fill="#101820"/>'
    '<g fill="none" stroke="#cfe3f5" stroke-width="2" stroke-linecap="round">'
    '<path d="M16 5v22M13 10q-6 0-7 5M13 15q-6 0-7 5M13 20q-5 0-6 5'
    'M19 10q6 0 7 5M19 15q6 0 7 5M19 20q5 0 6 5"/></g></svg>'
)


def pages() -> dict[str, Page]:
    """Return the pages by name, in the order of the menu; the first is the start page."""
    icons = {
        "prediction": ":material/radiology:",
        "dataset": ":material/photo_library:",
        "evaluation": ":material/query_stats:",
        "training": ":material/model_training:",
    }
    return {
        name: st.Page(
            ROOT / "pages" / f"{name}.py",
            title=name.capitalize(),
            icon=icon,
            url_path="" if name == "prediction" else name,
            default=name == "prediction",
        )
        for name, icon in icons.items()
    }


def navigation() -> Page:
    """Draw the menu and return the requested page."""
    # Before the menu: Streamlit would otherwise fetch its icon as favicon from fonts.gstatic.com.
    st.set_page_config(page_icon=_FAVICON, initial_sidebar_state="collapsed")
    # Streamlit opens the start page at / alone, and says elsewhere that there is no such page.
    start = ROOT / "pages" / "prediction.py"
    alias = st.Page(start, title="Prediction", url_path="prediction", visibility="hidden")
    position = "hidden" if must_sign_in() else "top"
    return st.navigation([*pages().values(), alias], position=position)


def run_page(page: Page) -> None:
    """Run a page, and show whatever it raises as a sentence."""
    with show_errors():
        page.run()


def frame(title: str) -> str | None:
    """Draw the frame of a page; the first call of every page.

    Returns the name of the chosen bundle. Returns None where no bundle can be opened; the page then
    says so, and how to train one.
    """
    st.set_page_config(page_title=f"{title} · {APP_NAME}", layout="wide")
    keep_uploads_in_memory()
    end_session_when_tab_closes()
    exempt_libraries("tensorflow" in sys.modules)
    navigation()
    if must_sign_in():
        show_sign_in(APP_NAME)
    st.html(STYLE)
    with st.container(key="disclaimer"):
        first, rest = DISCLAIMER.split(". ", 1)
        st.caption(f"**{first}.** {rest}")
    model = _model_picker()
    show_sign_out()
    return model


def open_in_prediction(path: Path) -> None:
    """Go to the Prediction page with the image at an absolute path."""
    st.session_state["open_path"] = str(path)
    st.switch_page(pages()["prediction"])


def _model_picker() -> str | None:
    problems = dict(list_models())
    if not problems:
        st.sidebar.selectbox("Model", [], placeholder="None trained yet", disabled=True)
        st.info(
            "There is no trained model yet. Train one with `python train.py` (it states where it "
            "looks for the images, and how to download them); it then appears here.",
            icon=":material/model_training:",
        )
        return None
    names = list(problems)
    usable = [name for name in names if problems[name] is None]
    if st.session_state.get(_PICKER) not in names:
        last = st.session_state.get("model_name")
        default = DEFAULT_MODEL if DEFAULT_MODEL in usable else (usable or names)[0]
        st.session_state[_PICKER] = last if last in names else default
    name = st.sidebar.selectbox(
        "Model",
        names,
        key=_PICKER,
        format_func=lambda name: name if problems[name] is None else f"{name} (cannot be opened)",
        help="Trained models in the folder `models`.",
    )
    # A widget's state ends with its page; this entry carries the choice to the other pages.
    st.session_state["model_name"] = name
    if problems[name] is not None:
        st.warning(as_markdown(problems[name]), icon=":material/warning:")
        return None
    if problems.get(DEFAULT_MODEL) is not None:
        st.warning(
            f"The default model, {DEFAULT_MODEL}, cannot be opened, so {as_markdown(name)} is "
            f"used. {as_markdown(problems[DEFAULT_MODEL])}",
            icon=":material/warning:",
        )
    return name
