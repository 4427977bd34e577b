"""The section "Average images": mean of each class, difference and standard deviation."""

from collections.abc import Callable
from functools import partial

import numpy as np
import streamlit as st

from ui.common.shared_work import share
from ui.dataset.source import Source
from xray_core.dataset.averages import Averages, average_images


def show_averages(source: Source) -> None:
    """Draw the average images, computed from the folder or stored with the model."""
    averages = source.stored_averages
    if source.folder:
        averages = share(
            f"averages|{source.key}", partial(_average, source), "Averaging the images"
        )
    if averages is None:
        st.info("Average images can only be computed from the images.", icon=":material/info:")
        return
    _show_images(averages)


def _average(source: Source, progress: Callable[[int, int], None]) -> Averages | None:
    readable = source.table[source.table["problem"] == ""]
    return average_images(readable, source.folder, progress=progress)


def _show_images(averages: Averages) -> None:
    difference = averages.difference
    limit = max(float(abs(difference).max()), 1.0)
    white = max(float(spread.max()) for spread in averages.spread.values())
    normal, pneumonia = (averages.images[label] for label in ("NORMAL", "PNEUMONIA"))
    images = [
        (_grey(averages.mean["NORMAL"]), f"Average of {normal:,} normal images"),
        (_grey(averages.mean["PNEUMONIA"]), f"Average of {pneumonia:,} with pneumonia"),
        (
            _diverging(difference, limit),
            f"Pneumonia minus normal: orange up to {difference.max():.0f} grey levels brighter, "
            f"blue up to {-difference.min():.0f} darker in pneumonia",
        ),
        *(
            (
                _grey(averages.spread[label] * 255 / white),
                f"Standard deviation, {label.lower()}: white = SD {white:.0f} grey levels",
            )
            for label in ("NORMAL", "PNEUMONIA")
        ),
    ]
    with st.container(horizontal=True, key="dataset_averages"):
        for pixels, caption in images:
            with st.container(width=170):
                st.image(pixels, caption=caption, width="stretch", alt=caption)
    st.caption(
        "At the size of the model input. Differences in the lungs are partly disease; differences "
        "outside them come from acquisition and cropping. No individual can be recognised."
    )


def _grey(image: np.ndarray) -> np.ndarray:
    """Return grey levels as bytes."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _diverging(difference: np.ndarray, limit: float) -> np.ndarray:
    """Return differences as colours (H, W, 3): orange above zero, blue below, black at zero."""
    share = np.clip(difference / limit, -1, 1)[..., np.newaxis]  # (H, W, 1)
    orange, blue = np.array([255, 150, 40]), np.array([70, 150, 255])
    return np.where(share >= 0, share * orange, -share * blue).astype(np.uint8)
