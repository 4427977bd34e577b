"""The Training page: how the chosen model was trained, and its limits."""

import streamlit as st

from ui.common.errors import show_errors
from ui.common.frame import frame
from ui.common.models import load_bundle
from ui.common.text import as_markdown, as_text
from ui.training.card import limits
from ui.training.curves import show_curves
from ui.training.details import show_details
from ui.training.summary import show_summary


def show_page(model: str) -> None:
    """Draw everything below the frame."""
    bundle = load_bundle(model)
    st.title("Training")
    st.markdown(f"Model **{as_text(bundle.name)}**, version {as_text(bundle.version)}.")
    show_summary(bundle)
    show_curves(bundle)
    heading, text = limits(bundle.card())
    if text:
        st.header(as_text(heading))
        st.markdown(as_markdown(text))
    st.header("Details")
    show_details(bundle)


chosen_model = frame("Training")
if chosen_model is not None:
    with show_errors():
        show_page(chosen_model)
