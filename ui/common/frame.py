"""The surroundings of every page: navigation, model picker, disclaimer, and errors as sentences.

A page calls `frame` first. It must not rely on `app.py` having run: with a folder named `pages/`,
Streamlit answers the first request of a fresh process for `/dataset` by running that page alone.
Calling `st.navigation` from the page turns that mechanism off and draws the right menu.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page

from ui.common.server import place_of
from ui.common.streamlit_internals import end_session_when_tab_closes, keep_uploads_in_memory
from ui.common.text import as_markdown
from xray_core.errors import XrayError
from xray_core.model.bundle import list_bundles
from xray_core.prediction.wording import DISCLAIMER

ROOT = Path(__file__).resolve().parents[2]
APP_NAME = "Chest X-ray pneumonia demo"
DEFAULT_MODEL = "resnet50"
_PICKER = "model_picker"

logger = logging.getLogger(__name__)


def pages() -> dict[str, Page]:
    """Return the pages by name, in the order of the menu; the first is the start page."""
    folder = ROOT / "pages"
    return {
        "prediction": st.Page(
            folder / "prediction.py",
            title="Prediction",
            icon=":material/radiology:",
            url_path="prediction",
            default=True,
        ),
        "dataset": st.Page(
            folder / "dataset.py",
            title="Dataset",
            icon=":material/photo_library:",
            url_path="dataset",
        ),
        "evaluation": st.Page(
            folder / "evaluation.py",
            title="Evaluation",
            icon=":material/query_stats:",
            url_path="evaluation",
        ),
        "training": st.Page(
            folder / "training.py",
            title="Training",
            icon=":material/model_training:",
            url_path="training",
        ),
    }


def navigation() -> Page:
    """Draw the menu and return the page that was asked for."""
    # Before the menu, whose icons Streamlit would else fetch as favicon from fonts.gstatic.com.
    st.set_page_config(page_icon=_FAVICON)
    return st.navigation(list(pages().values()))


def run_page(page: Page) -> None:
    """Run a page; whatever it raises reaches the person as a sentence."""
    with sentences():
        page.run()


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what is raised inside into a sentence on the page, and into a place in the log.

    Also a decorator, `@sentences()`: fragments and callbacks need their own, since they run
    without the page around them.
    """
    try:
        yield
    except Exception as error:
        tell(error)


def tell(error: Exception) -> None:
    """Show an error as a sentence: its own, if it has one for the person who meets it."""
    if isinstance(error, XrayError):
        st.error(as_markdown(str(error)), icon=":material/error:")
        return
    log_failure(error)
    st.error(
        "Something went wrong here. Nothing was saved. Reload the page to start again; if it "
        "happens again, the log of the app says where.",
        icon=":material/error:",
    )


def log_failure(error: BaseException) -> None:
    """Log the type and place of an error, without its message, which may name a visitor's file."""
    logger.error("%s", place_of(error))


def frame(title: str) -> str | None:
    """Draw what surrounds a page, as the page's first call.

    Returns the name of the chosen bundle, or None where there is none that can be opened (the
    page has then been told so, and how to train one).
    """
    st.set_page_config(
        page_title=f"{title} · {APP_NAME}",
        layout="wide",
    )
    keep_uploads_in_memory()
    end_session_when_tab_closes()
    navigation()
    st.html(_STYLE + _STACKING)
    with st.container(key="disclaimer"):
        first, rest = DISCLAIMER.split(". ", 1)
        st.caption(f"**{first}.** {rest}")
    return _model_picker()


def open_in_prediction(path: Path) -> None:
    """Go to the Prediction page with the image at an absolute path."""
    st.session_state["open_path"] = str(path)
    st.switch_page(pages()["prediction"])


def models_folder() -> Path:
    """Return the folder of the trained bundles: XRAY_MODELS, or `models/` beside the app."""
    return Path(os.environ.get("XRAY_MODELS") or ROOT / "models")


def _model_picker() -> str | None:
    bundles = dict(list_models())
    if not bundles:
        st.sidebar.selectbox("Model", [], placeholder="None trained yet", disabled=True)
        st.info(
            "There is no trained model yet. Train one with `python train.py` (it says where it "
            "looks for the images, and how to download them); it then appears here.",
            icon=":material/model_training:",
        )
        return None
    names = list(bundles)
    healthy = [name for name, problem in bundles.items() if problem is None]
    if st.session_state.get(_PICKER) not in names:
        last = st.session_state.get("model_name")
        default = DEFAULT_MODEL if DEFAULT_MODEL in healthy else (healthy or names)[0]
        st.session_state[_PICKER] = last if last in names else default
    name = st.sidebar.selectbox(
        "Model",
        names,
        key=_PICKER,
        format_func=lambda name: name if bundles[name] is None else f"{name} (cannot be opened)",
        help="Trained models in the folder `models`.",
    )
    # Widgets belong to one page; this entry carries the choice to the others.
    st.session_state["model_name"] = name
    if bundles[name] is not None:
        st.warning(as_markdown(bundles[name]), icon=":material/warning:")
        return None
    return name


def list_models() -> list[tuple[str, str | None]]:
    """Return (name, problem or None) of every bundle in the models folder.

    Checking one means hashing all its files, so it is done again only after a file has changed.
    """
    folder = models_folder()
    if not folder.is_dir():
        return []
    bundles = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    state = "|".join(bundle_state(path) for path in sorted(bundles))
    return _checked_bundles(str(folder), state)


@st.cache_data(max_entries=4, show_spinner="Checking the models …")
def _checked_bundles(folder: str, state: str) -> list[tuple[str, str | None]]:
    return list_bundles(folder)


def bundle_state(folder: Path) -> str:
    """Return a text that changes when a file of the bundle does: names, sizes and times."""
    files = sorted(path for path in folder.glob("**/*") if path.is_file())
    stats = [(path.name, path.stat()) for path in files]
    return f"{folder.name}:" + ",".join(
        f"{name}/{stat.st_size}/{stat.st_mtime_ns}" for name, stat in stats
    )


_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="6" fill="#101820"/>'
    '<g fill="none" stroke="#cfe3f5" stroke-width="2" stroke-linecap="round">'
    '<path d="M16 5v22M13 10q-6 0-7 5M13 15q-6 0-7 5M13 20q-5 0-6 5'
    'M19 10q6 0 7 5M19 15q6 0 7 5M19 20q5 0 6 5"/></g></svg>'
)

_STYLE = """
<style>
.stApp {
  --panel: light-dark(#f1f4f8, #1b2229);
  --ink: light-dark(#1b2430, #e8edf2);
  --soft-ink: light-dark(#4a5766, #b4c0cc);
  --line: light-dark(#c5ced8, #3a4652);
}
[data-testid="stHeader"] { height: 2.6rem; min-height: 2.6rem; }
[data-testid="stMainBlockContainer"] { padding: 2rem 2rem 4.5rem; }
.st-key-disclaimer {
  position: fixed; left: 0; right: 0; bottom: 0; z-index: 1000000;
  width: 100% !important; padding: .35rem 1rem; align-items: center;
  background: var(--panel); border-top: 1px solid var(--line);
}
.st-key-disclaimer p {
  margin: 0; text-align: center; color: var(--ink); font-size: .85rem; line-height: 1.3;
}
.st-key-disclaimer [data-testid="stCaptionContainer"] { opacity: 1; margin: 0; }

/* Streamlit's own: 4.2 to 1 for captions, 2.4 to 1 for the labels of disabled widgets, and for
   primary buttons in the dark theme 2.2. Dialogs and popovers stand outside .stApp and have no
   colour scheme, but inherit the theme's ink: a button's text is its opposite, white or black. */
.stApp [data-testid="stCaptionContainer"] { color: light-dark(#4a5766, #b4c0cc); opacity: 1; }
.stApp [data-testid="stWidgetLabel"] p { color: light-dark(#1b2430, #e8edf2); }
.stApp [data-testid^="stBaseButton-primary"] { color: light-dark(#ffffff, #0f1317); }
:is([data-testid="stDialog"], [data-testid="stPopoverBody"]) [data-testid="stCaptionContainer"] {
  color: inherit;
}
[data-testid="stDialog"] [data-testid^="stBaseButton-primary"] {
  color: oklch(from currentColor calc((0.6 - l) * 999) 0 0);
}
.stApp :is([data-testid="stPopoverButton"], [data-testid="stBaseButton-tertiary"]):hover {
  color: light-dark(#0b5cad, #8cc8ff);
}

/* One ring for the keyboard's place: at least 3 to 1 against both themes' grounds. */
:is(a, button, summary, canvas, [tabindex]):focus-visible,
[role="group"]:has(> input:focus-visible),
label:has(input:focus-visible),
div:has(> div > input[type="range"]:focus-visible),
:is([data-testid="stTextInputRootElement"], [data-testid="stNumberInputContainer"]):has(
  input:focus-visible
) {
  outline: 3px solid #2f86d1 !important; outline-offset: 2px;
}
:is(main, canvas, summary, [data-testid="stSidebarNavLink"]):focus-visible {
  outline-offset: -3px;
}

/* For screen readers only. */
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
[data-testid="stElementContainer"]:has(.unseen) { position: absolute; width: 1px !important; }
@media (max-width: 640px) {
  [data-testid="stMainBlockContainer"] { padding: 3rem 1rem 6rem; }
  .st-key-disclaimer p { font-size: .75rem; }
}
</style>
"""

# Streamlit's columns become rows; those within a column, such as a row of controls, wrap. A table
# wider than the page scrolls in its own place.
_STACKED = """
[data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"]) {
  flex-wrap: wrap; row-gap: 1rem;
}
[data-testid="stColumn"] { flex: 1 1 100%; width: 100%; min-width: 100%; }
[data-testid="stColumn"] [data-testid="stColumn"] {
  flex: 1 1 10rem; width: auto; min-width: min(10rem, 100%);
}
[data-testid="stMarkdownContainer"] table { display: block; overflow-x: auto; }
"""

# Where the page has at most 1024 pixels; the open sidebar takes 300 more.
_STACKING = f"""
<style>
@media (max-width: 1024px) {{ body {{ {_STACKED} }} }}
@media (max-width: 1324px) {{
  body:has([data-testid="stSidebar"][data-collapsed="false"]) {{ {_STACKED} }}
}}
</style>
"""
