"""What else is known about a result: similar training images, accuracy, the map's meaning."""

import streamlit as st

from ui.prediction.similar import choose_similar
from xray_core.evaluation.verdicts import VerdictRate, verdict_rates
from xray_core.labels import SHOWN_AS
from xray_core.model.bundle import PREDICTIONS, Bundle
from xray_core.prediction import wording
from xray_core.prediction.result import Prediction

ABOUT_THE_MAP = """
The map shows **roughly which areas raised the pneumonia score**, at the low resolution of the
network's last layer. It does **not** outline disease or measure its extent, and it is not
independent evidence: the map of a wrong result can look just as convincing.

Where no pneumonia is detected, the map still shows which areas contributed most to the pneumonia
score, even if little: each map is scaled to its own maximum.

The four methods weight the same layer differently. Where they disagree, rely on none of them.
"""
Rates = dict[str, dict[str, VerdictRate]]


def show_evidence(prediction: Prediction, bundle: Bundle) -> None:
    """Draw the similar training images and the accuracy on the test set."""
    st.html('<h2 class="small">Most similar training images</h2>')
    st.markdown(wording.nearest_images(prediction.neighbours))
    choose_similar(prediction.neighbours.paths)
    if not prediction.accuracy_applies:
        st.markdown(wording.ACCURACY_DOES_NOT_APPLY)
        return
    rates = accuracy_rates(bundle)
    if not rates:
        st.markdown("This model has no stored results on a test set.")
        return
    with st.expander("Accuracy on the test set"):
        st.markdown(_accuracy_table(rates))
        st.caption(
            wording.TEST_SET
            + " "
            + wording.describe_exclusion_threshold(bundle.calibration, bundle.config)
        )


def accuracy_rates(bundle: Bundle) -> Rates:
    """Return the rates of each result among the test images of each class, computed once."""
    return _rates(bundle.config["files"][PREDICTIONS], bundle)


@st.cache_data(max_entries=16, show_spinner=False)
def _rates(digest: str, _bundle: Bundle) -> Rates:
    return verdict_rates(_bundle.predictions())


def _accuracy_table(rates: Rates) -> str:
    """Return the rates as a Markdown table: one row per result, one column per class."""
    named = {"PNEUMONIA": "With pneumonia", "NORMAL": "Without"}
    classes = [label for label in named if label in rates]
    counts = {label: sum(rate.images for rate in rates[label].values()) for label in classes}
    heads = "".join(f" {named[label]} ({counts[label]}) |" for label in classes)
    lines = [f"| Result |{heads}", "|---|" + "---|" * len(classes)]
    for verdict in rates[classes[0]]:
        cells = "".join(f" {wording.format_rate(rates[label][verdict])} |" for label in classes)
        lines.append(f"| {SHOWN_AS[verdict]} |{cells}")
    return "\n".join(lines)
