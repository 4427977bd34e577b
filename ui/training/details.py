"""The details of a model: card, recipe, network and provenance."""

import streamlit as st

from ui.common.text import as_markdown
from ui.common.widgets import csv_button
from ui.training.card import card_body
from ui.training.tables import layer_table, provenance_table, recipe_table, stage_table
from xray_core.model.bundle import Bundle


def show_details(bundle: Bundle) -> None:
    """Draw one tab for each."""
    card, recipe, network, provenance = st.tabs(["Model card", "Recipe", "Network", "Provenance"])
    with card:
        st.markdown(as_markdown(card_body(bundle.card())))
    with recipe:
        st.markdown(as_markdown(bundle.recipe.summary))
        table = recipe_table(bundle.config["recipe"])
        st.dataframe(table, hide_index=True)
        csv_button(table, f"{bundle.name}-recipe", "Recipe (CSV)")
    with network:
        layers = bundle.config.get("layers") or []
        if layers:
            st.dataframe(stage_table(layers), hide_index=True)
            with st.expander(f"All {len(layers)} layers"):
                st.dataframe(layer_table(layers), hide_index=True)
            csv_button(layer_table(layers), f"{bundle.name}-layers", "All layers (CSV)")
        else:
            st.info("The layers of this model were not recorded.")
    with provenance:
        table = provenance_table(bundle.config)
        st.dataframe(table, hide_index=True)
        csv_button(table, f"{bundle.name}-provenance", "Provenance (CSV)")
