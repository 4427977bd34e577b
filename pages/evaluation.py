"""The Evaluation page: every metric of a model with its interval."""

import streamlit as st

from ui.common.errors import show_errors
from ui.common.frame import frame
from ui.common.text import as_markdown
from ui.evaluation.all_metrics import show_all_metrics
from ui.evaluation.calibration import show_calibration
from ui.evaluation.clinical_utility import show_clinical_utility
from ui.evaluation.comparison import show_comparison
from ui.evaluation.controls import show_controls
from ui.evaluation.data import OWN, Evaluation, load_evaluation
from ui.evaluation.errors import show_misclassified
from ui.evaluation.groups import show_groups
from ui.evaluation.headline import show_headline
from ui.evaluation.own_images import show_own_images
from ui.evaluation.progress import show_progress
from ui.evaluation.roc_and_pr import show_roc_and_pr
from ui.evaluation.score_distribution import show_score_distribution
from xray_core.evaluation.metrics import evaluate

ALL_METRICS, COMPARE, OWN_IMAGES = "All metrics", "Compare", "Your images"
SECTIONS = {
    ALL_METRICS: show_all_metrics,
    "ROC and PR": show_roc_and_pr,
    "Score distribution": show_score_distribution,
    "Calibration": show_calibration,
    "Clinical utility": show_clinical_utility,
    "Groups": show_groups,
    "Errors": show_misclassified,
}
SOURCES = {"test": "Test split", "validation": "Validation split", "own": "Your images"}


def show_page(model: str) -> None:
    """Draw everything below the frame."""
    st.title("Evaluation")
    left, right = st.columns([5, 2], vertical_alignment="center")
    with right:
        source = choose_source()
    evaluation = st.session_state[OWN] if source == "own" else load_evaluation(model, source)
    with left:
        show_summary(source, evaluation)
    show_notes(source, evaluation)
    show_sections(model, source, evaluation)


def choose_source() -> str:
    """Draw the choice of the images that are evaluated."""
    sources = [name for name in SOURCES if name != "own" or OWN in st.session_state]
    if st.session_state.pop("evaluation_show_own", False):
        st.session_state["evaluation_source"] = "own"
    elif st.session_state.get("evaluation_source") not in sources:
        st.session_state["evaluation_source"] = "test"
    return st.segmented_control(
        "Images",
        sources,
        format_func=SOURCES.get,
        required=True,
        key="evaluation_source",
        label_visibility="collapsed",
    )


def show_summary(source: str, evaluation: Evaluation) -> None:
    scores = evaluation.scores
    images = "your images" if source == "own" else f"the {evaluation.title}"
    st.markdown(
        f"**{evaluation.model}** on {images}: {len(scores.label)} images of "
        f"{scores.weights.patients} patients, {scores.prevalence:.1%} with pneumonia. "
        "95% confidence intervals: bootstrap over patients."
    )


def show_notes(source: str, evaluation: Evaluation) -> None:
    if source == "validation":
        st.warning(
            "Thresholds and calibration were fitted on these images, so the metrics are "
            "optimistic. Judge the model by the test split.",
            icon=":material/warning:",
        )
    for note in evaluation.notes:
        st.info(as_markdown(note))


@st.fragment
@show_errors()
def show_sections(model: str, source: str, evaluation: Evaluation) -> None:
    """Draw what depends on the sliders; a fragment, so that a slider runs only this."""
    top = st.container()
    threshold, prevalence = show_controls(evaluation)
    with show_progress():
        metrics = evaluate(evaluation.scores, threshold=threshold, prevalence=prevalence)
    with top:
        show_headline(metrics)
    section = st.segmented_control(
        "Section",
        [*SECTIONS, COMPARE, OWN_IMAGES],
        default=ALL_METRICS,
        required=True,
        key="evaluation_section",
        label_visibility="collapsed",
    )
    st.html(f'<h2 class="unseen">{section}</h2>')  # the level between title and subheadings
    if section == OWN_IMAGES:
        show_own_images(model)
    elif section == COMPARE and source == "own":
        st.info("Models are compared on their stored predictions. Choose a split above.")
    elif section == COMPARE:
        show_comparison(evaluation, source)
    else:
        with show_progress():
            SECTIONS[section or ALL_METRICS](evaluation, metrics)


chosen_model = frame("Evaluation")
if chosen_model is not None:
    with show_errors():
        show_page(chosen_model)
