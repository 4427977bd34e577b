"""The Evaluation page: every number of a model with its interval."""

import streamlit as st

from ui.common.errors import show_errors
from ui.common.frame import frame
from ui.common.text import as_markdown
from ui.evaluation.comparison import comparison
from ui.evaluation.data import OWN, Evaluated, stored
from ui.evaluation.errors import errors
from ui.evaluation.numbers import all_numbers, controls, headline, shown_progress
from ui.evaluation.own_images import own_images
from ui.evaluation.sections import calibration, groups, ranking, scores, usefulness
from xray_core.evaluation.metrics import evaluate

SECTIONS = {
    "Numbers": all_numbers,
    "Ranking": ranking,
    "Scores": scores,
    "Calibration": calibration,
    "Usefulness": usefulness,
    "Groups": groups,
    "Errors": errors,
}
COMPARE, OWN_IMAGES = "Compare", "Your images"
SOURCES = {"test": "Test split", "validation": "Validation split", "own": "Your images"}


def choose(model: str) -> tuple[str, Evaluated]:
    """Which images are evaluated; on the right, since the default is what most want."""
    sources = [name for name in SOURCES if name != "own" or OWN in st.session_state]
    st.title("Evaluation")
    words, control = st.columns([5, 2], vertical_alignment="center")
    with control:
        if st.session_state.pop("evaluation_show_own", False):
            st.session_state["evaluation_source"] = "own"
        elif st.session_state.get("evaluation_source") not in sources:
            st.session_state["evaluation_source"] = "test"
        source = st.segmented_control(
            "Images",
            sources,
            format_func=SOURCES.get,
            required=True,
            key="evaluation_source",
            label_visibility="collapsed",
        )
    chosen = st.session_state[OWN] if source == "own" else stored(model, source)
    with words:
        introduce(source, chosen)
    return source, chosen


def introduce(source: str, chosen: Evaluated) -> None:
    """One line on the images."""
    scores = chosen.scores
    which = "your images" if source == "own" else f"the {chosen.title}"
    st.markdown(
        f"**{chosen.model}** on {which}: {len(scores.label)} images of {scores.weights.patients} "
        f"patients, {scores.prevalence:.1%} with pneumonia. Intervals: 95%."
    )


def remarks(source: str, chosen: Evaluated) -> None:
    """What to mind about these images, where there is something."""
    if source == "validation":
        st.warning(
            "The operating points and the calibration were chosen on these images, so the numbers "
            "flatter the model. The test split decides.",
            icon=":material/warning:",
        )
    for note in chosen.notes:
        st.info(as_markdown(note))


@st.fragment
@show_errors()
def numbers(model: str, source: str, chosen: Evaluated) -> None:
    """All that the sliders move. A fragment: a move does not run the rest of the page."""
    top = st.container()
    threshold, prevalence = controls(chosen)
    with shown_progress():
        found = evaluate(chosen.scores, threshold=threshold, prevalence=prevalence)
    with top:
        headline(found)
    section = st.segmented_control(
        "Section",
        [*SECTIONS, COMPARE, OWN_IMAGES],
        default="Numbers",
        required=True,
        key="evaluation_section",
        label_visibility="collapsed",
    )
    st.html(f'<h2 class="unseen">{section}</h2>')  # the level between page and subheadings
    if section == OWN_IMAGES:
        own_images(model)
    elif section == COMPARE and source == "own":
        st.info("Two models are compared on the stored predictions: choose a split above.")
    elif section == COMPARE:
        comparison(chosen, source)
    else:
        with shown_progress():
            SECTIONS[section or "Numbers"](chosen, found)


def page(model: str) -> None:
    """Everything beneath the frame."""
    source, chosen = choose(model)
    remarks(source, chosen)
    numbers(model, source, chosen)


name = frame("Evaluation")
if name is not None:
    with show_errors():
        page(name)
