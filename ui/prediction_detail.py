"""One film's page: the film and its map on the left, what to know about the answer on the right."""

from typing import TYPE_CHECKING

import streamlit as st

from ui.frame import sentences
from ui.prediction_answer import answer_html
from ui.prediction_downloads import downloads
from ui.prediction_films import Film
from ui.prediction_overlay import COLOUR_MAPS, legend_html, outlined, overlay
from ui.prediction_view import DEFAULT_METHOD, View, answer, encoded_overlay, view_of
from xray_core.dataset.index import find_dataset
from xray_core.errors import DatasetError
from xray_core.prediction import wording
from xray_core.prediction.explain import METHOD_NAMES, METHODS
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

ABOUT_THE_MAP = """
The map shows **where the network's score for pneumonia came from**, coarsely: the network sees
the film in a few hundred squares. It is **not** an outline of disease, not a measure of its
extent, and no second opinion: where the network errs, its map can look just as convincing.

On a film called normal the map still shows what spoke *for* pneumonia most, however weakly: each
map is stretched to its own maximum.

The four methods weigh the same layer differently. Where they disagree, trust none of them.
"""
NEAREST_SHOWN = 8


def show(film: Film, predictor: "Predictor", judged_by: str) -> None:
    """Draw the answer over the full width, then film, map, cautions, numbers and downloads."""
    prediction = film.prediction
    st.html(answer_html(prediction, predictor.calibration, film.title))
    if prediction.verdict == "UNREADABLE":
        return
    view = view_of(film, predictor, judged_by)
    _how_it_is_seen(film, view)
    if prediction.verdict == "REFUSED":
        _refused(film, view)
    else:
        _judged(film, view, predictor)


def _how_it_is_seen(film: Film, view: View) -> None:
    """Offer a DICOM file's windows, to trim a frame, and the way back from a film put right."""
    windows = view.radiograph.windows
    if len(windows) > 1:
        window = st.selectbox(
            "Window (the answer is computed for the film as shown)",
            range(len(windows)),
            index=min(film.window, len(windows) - 1),
            format_func=lambda index: windows[index],
            key=f"window-{film.number}",
        )
        if window != film.window:
            film.window, film.judged_by = window, ""
            st.rerun()
    suggestion = film.prediction.suggestion
    if suggestion is not None and film.prediction.verdict != "REFUSED":
        st.button(
            "This film has a flat frame. Trim it and judge again.",
            icon=":material/crop:",
            on_click=film.put_right,
            args=(suggestion,),
        )
    if film.is_changed:
        st.button(
            "Put right for this answer. Show it as it came.",
            icon=":material/undo:",
            on_click=film.as_it_came,
        )


def _refused(film: Film, view: View) -> None:
    left, right = st.columns([3, 2], gap="large")
    with left, st.container(key="film"):
        _film(film, view)
    with right:
        suggestion = film.prediction.suggestion
        if suggestion is not None:
            st.button(
                "Put it right and judge it",
                type="primary",
                icon=":material/rotate_right:" if suggestion.turns else ":material/crop:",
                on_click=film.put_right,
                args=(suggestion,),
            )
            return
        _heading("What to do")
        st.markdown(
            "- Is it a frontal view of a chest, upright, with nothing else in the picture?\n"
            "- Crop away borders, text and hands; do not photograph a screen.\n"
            "- Export the film from its own system as DICOM, PNG or JPEG where you can."
        )


def _film(film: Film, view: View) -> None:
    words = "The film, put right for this answer" if film.is_changed else "The film, unaltered"
    st.image(view.film, width="stretch", caption=words, alt=words)


@st.fragment
def _judged(film: Film, view: View, predictor: "Predictor") -> None:
    with sentences():
        left, right = st.columns([3, 2], gap="large")
        with left:
            pictures, controls = st.container(key="films"), st.container()
        with controls:
            method, name, opacity, outline = _controls()
        prediction = answer(view, film, predictor, method)
        draw = outlined if outline else overlay
        options = (opacity,) if outline else (name, opacity)
        picture = draw(view.small, prediction.heatmap, *options)
        with pictures:
            one, other = st.columns(2, gap="small")
            with one:
                _film(film, view)
            with other:
                st.image(
                    encoded_overlay(picture),
                    width="stretch",
                    caption=f"{METHOD_NAMES[method]} map",
                    alt=f"The film with its {METHOD_NAMES[method]} map",
                )
        with controls:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.html(legend_html(name, outline), width="stretch")
                with st.popover("About this map", type="tertiary", icon=":material/help:"):
                    st.markdown(ABOUT_THE_MAP)
            st.caption(prediction.map_note or "")
        with right:
            _what_to_know(film, prediction, predictor)
            _heading("Take it with you")
            downloads(film, view, prediction, predictor, picture)


def _controls() -> tuple[str, str, float, bool]:
    """Draw the map's controls in one row; return method, colour map, opacity, outline or not."""
    one, two, three, four = st.columns([6, 6, 6, 5], vertical_alignment="bottom")
    method = one.selectbox(
        "Method",
        METHODS,
        index=METHODS.index(DEFAULT_METHOD),
        format_func=METHOD_NAMES.get,
        key="map_method",
    )
    outline = four.toggle("Outline", key="map_outline")
    name = two.selectbox("Colours", COLOUR_MAPS, key="map_colours", disabled=outline)
    opacity = three.slider("Opacity", 0, 100, 60, step=5, format="%d%%", key="map_opacity")
    return method, name, opacity / 100, outline


def _what_to_know(film: Film, prediction: Prediction, predictor: "Predictor") -> None:
    # The verdict's own sentence says already what uncertain means.
    cautions = [reason for reason in prediction.reasons if reason != wording.UNCERTAIN]
    if cautions:
        _heading("Be careful")
        st.markdown("\n".join(f"- {reason}" for reason in cautions))
    _heading("What the verdict means")
    frequencies = wording.in_natural_frequencies(predictor.bundle.natural_frequencies)
    st.markdown(frequencies or "This model comes with no numbers from a test set.")
    if prediction.neighbours is not None:
        _heading("Films like this one")
        st.markdown(prediction.neighbours.sentence())
        if prediction.verdict in ("NORMAL", "PNEUMONIA") and (
            prediction.neighbours.vote != prediction.verdict
        ):
            st.markdown("**Most of them are not what the verdict says: a reason for doubt.**")
        report = predictor.bundle.config.get("neighbours_report")
        if report:
            st.markdown(wording.votes(report))
        _nearest(prediction.neighbours.paths)


def _nearest(paths: tuple[str, ...]) -> None:
    """Show the nearest training films where the dataset is on this computer's disk."""
    try:
        folder = find_dataset(None)
    except DatasetError:
        return
    there = [path for path in paths if (folder / path).is_file()][:NEAREST_SHOWN]
    if there:
        kinds = ["normal" if "NORMAL" in path else _kind(path) for path in there]
        with st.expander(f"See the {len(there)} nearest"):
            st.image(
                [str(folder / path) for path in there],
                caption=kinds,
                width=110,
                alt=[f"Similar training image {n}: {kind}" for n, kind in enumerate(kinds, 1)],
            )


def _kind(path: str) -> str:
    return "bacterial" if "bacteria" in path else "viral" if "virus" in path else "pneumonia"


def _heading(text: str) -> None:
    st.html(f'<h2 class="small">{text}</h2>')
