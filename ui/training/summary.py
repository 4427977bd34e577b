"""The first row of the Training page: the training in numbers."""

import streamlit as st

from ui.common.text import as_text
from ui.training.tables import layer_table
from xray_core.model.bundle import Bundle


def show_summary(bundle: Bundle) -> None:
    """Draw date, dataset size, best epoch, parameters and duration."""
    config = bundle.config
    training, data = config.get("training") or {}, config.get("dataset") or {}
    layers = layer_table(config.get("layers") or [])
    parameters = trained = 0
    if len(layers):
        parameters = int(layers["Parameters"].sum())
        trained = int(layers.loc[layers["Trained"] == "trained", "Parameters"].sum())
    with st.container(horizontal=True, key="training-facts"):
        date = str(config.get("created") or "unknown")[:10]
        st.metric("Training date", as_text(date), width=190)
        st.metric("Images in the dataset", f"{int(data.get('images', 0)):,}", width=170)
        st.metric("Patients", f"{int(data.get('patients', 0)):,}", width=130)
        epochs = f"{training.get('best_epoch')} of {training.get('epochs')}"
        st.metric("Best epoch", as_text(epochs), width=130)
        st.metric(
            "Parameters",
            f"{parameters / 1e6:.1f} M",
            delta=f"{trained / 1e6:.1f} M trained",
            delta_color="off",
            delta_arrow="off",
            width=150,
        )
        minutes = float(training.get("seconds") or 0) / 60
        st.metric("Training time", f"{minutes:.0f} min", width=130)
