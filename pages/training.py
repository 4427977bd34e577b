"""The Training page: how the chosen model was made, and what it does not know."""

import streamlit as st

from ui.common.errors import show_errors
from ui.common.frame import frame
from ui.common.models import load_bundle
from ui.common.text import as_markdown, as_text
from ui.common.widgets import csv_button
from ui.evaluation.numbers import figure_buttons
from ui.training.tables import (
    card_body,
    curve,
    layer_table,
    limits,
    provenance_table,
    recipe_table,
    stage_table,
)
from xray_core.model.bundle import Bundle


def facts(bundle: Bundle) -> None:
    """The training in one row."""
    config = bundle.config
    training = config.get("training") or {}
    layers = layer_table(config.get("layers") or [])
    parameters = int(layers["Parameters"].sum()) if len(layers) else 0
    trained = (
        int(layers.loc[layers["Trained"] == "trained", "Parameters"].sum()) if parameters else 0
    )
    data = config.get("dataset") or {}
    with st.container(horizontal=True, key="training-facts"):
        created = str(config.get("created") or "unknown")[:10]
        st.metric("Trained on", as_text(created), width=170)
        st.metric("Images in the data set", f"{int(data.get('images', 0)):,}", width=170)
        st.metric("Patients", f"{int(data.get('patients', 0)):,}", width=130)
        best, epochs = training.get("best_epoch"), training.get("epochs")
        st.metric("Best epoch", as_text(f"{best} of {epochs}"), width=130)
        st.metric(
            "Parameters",
            f"{parameters / 1e6:.1f} M",
            delta=f"{trained / 1e6:.1f} M trained",
            delta_color="off",
            delta_arrow="off",
            width=150,
        )
        st.metric("Training time", f"{float(training.get('seconds') or 0) / 60:.0f} min", width=130)


def curves(bundle: Bundle) -> None:
    """Accuracy and loss by epoch, with the best epoch marked."""
    history = bundle.history()
    best = (bundle.config.get("training") or {}).get("best_epoch")
    for column, name in zip(st.columns(2, gap="large"), ("accuracy", "loss"), strict=True):
        with column:
            st.altair_chart(
                curve(history, name, best),
                alt=f"{name.capitalize()} by epoch, training and validation; best epoch {best}",
            )
    st.caption(
        f"The vertical line is the best epoch, {as_text(best)}, whose weights were kept. Training "
        "images are varied at random and drawn evenly from both classes, validation images are not, "
        "so the two lines need not meet."
    )

    def draw(kind: str) -> bytes:
        from xray_core.evaluation.figures import as_bytes, draw_training

        return as_bytes(draw_training(history, best), kind)

    figure_buttons("training", "Training curves", bundle.name, draw)
    csv_button(history, f"{bundle.name}-history", "History (CSV)")


def tables(bundle: Bundle) -> None:
    """Model card, recipe, network and provenance."""
    config = bundle.config
    card, recipe, network, origin = st.tabs(
        ["Model card", "Recipe", "Network", "Where it comes from"]
    )
    with card:
        st.markdown(as_markdown(card_body(bundle.card())))
    with recipe:
        st.markdown(as_markdown(bundle.recipe.summary))
        table = recipe_table(config["recipe"])
        st.dataframe(table, hide_index=True)
        csv_button(table, f"{bundle.name}-recipe", "Recipe (CSV)")
    with network:
        layers = config.get("layers") or []
        if layers:
            st.dataframe(stage_table(layers), hide_index=True)
            with st.expander(f"All {len(layers)} layers"):
                st.dataframe(layer_table(layers), hide_index=True)
            csv_button(layer_table(layers), f"{bundle.name}-layers", "All layers (CSV)")
        else:
            st.info("This model's file lists no layers.")
    with origin:
        table = provenance_table(config)
        st.dataframe(table, hide_index=True)
        csv_button(table, f"{bundle.name}-provenance", "Provenance (CSV)")


def page(name: str) -> None:
    """Everything beneath the frame."""
    bundle = load_bundle(name)
    st.title("Training")
    st.markdown(f"How **{as_text(bundle.name)}** (version {as_text(bundle.version)}) was made.")
    facts(bundle)
    curves(bundle)
    heading, known_limits = limits(bundle.card())
    if known_limits:
        st.header(as_text(heading))
        st.markdown(as_markdown(known_limits))
    st.header("Details")
    tables(bundle)


chosen = frame("Training")
if chosen is not None:
    with show_errors():
        page(chosen)
