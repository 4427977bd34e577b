"""The page before an image is opened: drop zone, examples, and what the model can do."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from ui.common.streamlit_internals import closed_tab_seconds
from ui.common.text import as_text
from ui.prediction.cases import DROP_LIMIT, Visit
from ui.prediction.examples import examples, open_example, preview_uri
from ui.prediction.open import open_random, test_images
from xray_core.evaluation.tables import estimate_from_json, format_metric
from xray_core.model.bundle import Bundle

PRIVACY = f"""
One drop may hold up to {DROP_LIMIT}. Images are held in the memory of the computer that runs this
app until you press Clear, or until {closed_tab_seconds()} seconds after you close the page. The app
writes no image to disk and sends none to other servers, and file names are shown only where you ask
for them.
"""


SOURCES = {"nih": "NIH ChestX-ray14, adults"}
"""Names of the sets of images of other hospitals."""


def example_cards(visit: Visit, bundle: Bundle) -> None:
    """Draw the examples as pictures that open with one click."""
    found = examples(bundle)
    rules = (
        f".st-key-example-{verdict.lower()} button "
        f"{{ background-image: url({preview_uri(example.preview)}); }}"
        for verdict, example in found.items()
    )
    st.html(f"<style>{''.join(rules)}</style>")
    st.caption(
        "Or open an example: averages of similar training images, which show no single patient, "
        "and images made from them."
    )
    with st.container(horizontal=True, key="examples"):
        example_buttons(visit, bundle)


def example_buttons(visit: Visit, bundle: Bundle) -> None:
    """Draw a button for each example, and one for a random test image where there are any."""
    for verdict, example in examples(bundle).items():
        st.button(
            example.name,
            key=f"example-{verdict.lower()}",
            on_click=open_example,
            args=(visit, bundle.folder.name, verdict),
        )
    images = test_images(bundle)
    if images:
        st.button(
            "Random test image", on_click=open_random, args=(visit, images), key="example-random"
        )


def describe_model(bundle: Bundle) -> str:
    """Return what the model is good at and for whom, with its numbers, as Markdown."""
    name = as_text(bundle.name)
    what = (
        f"**{name}** estimates the probability of pneumonia from a frontal chest X-ray of a child "
        "aged 1 to 5."
    )
    test: Mapping[str, Any] = bundle.config.get("metrics", {}).get("test", {})
    if not {"images", "patients", "metrics"} <= test.keys():
        return f"{what} It has no stored results on a test set."
    metrics = test["metrics"]

    def stated(metric: str) -> str:
        return format_metric(metric, estimate_from_json(metrics[metric]))

    parts = [
        what,
        f"On {test['images']} test images of {test['patients']} patients from the hospital of the "
        f"training images, at the threshold of {bundle.calibration.decision_threshold:.0%}: "
        f"sensitivity {stated('sensitivity')}, specificity {stated('specificity')}, "
        f"ROC AUC {stated('roc_auc')}.",
    ]
    for one in bundle.config.get("external") or []:
        if auc := one["roc_auc"]:
            interval = {key: auc[key] for key in ("value", "low", "high")}
            parts.append(
                f"On {auc['images']} labelled images of another source "
                f"({as_text(SOURCES.get(one['set'], one['set']))}) that passed the input check: "
                "ROC AUC "
                f"{format_metric('roc_auc', estimate_from_json(interval))}."
            )
    return " ".join([*parts, "95% intervals by patient."])
