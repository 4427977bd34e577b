"""Analysing the visitor's images one after the other, with a progress bar for several."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui.common.errors import log_error
from ui.common.public import turn
from ui.prediction.cases import Case, Visit
from ui.prediction.view import DEFAULT_METHOD, make_view
from xray_core.errors import UnreadableImage
from xray_core.prediction.result import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor


def request_analysis(visit: Visit, model: str) -> int:
    """Request a result of this model for every image; return how many images lack one."""
    for case in visit.cases:
        case.requested_model = model
    return sum(case.is_waiting for case in visit.cases)


def analyse_all(visit: Visit, predictor: "Predictor") -> None:
    """Analyse the images that lack a result.

    An image that cannot be analysed does not end the run. A run that Streamlit ends is resumed by
    the next one.
    """
    waiting = [case for case in visit.cases if case.is_waiting]
    if len(visit.cases) == 1:
        with st.spinner("Analysing the image …"):
            _analyse_in_turn(visit, waiting, predictor, None)
        return
    place = st.empty()
    bar = place.progress(0.0, f"0 of {len(waiting)} images")
    _analyse_in_turn(visit, waiting, predictor, bar)
    place.empty()


def _analyse_in_turn(
    visit: Visit, waiting: list[Case], predictor: "Predictor", bar: DeltaGenerator | None
) -> None:
    start, total, place = time.monotonic(), len(waiting), st.empty()
    for done, case in enumerate(waiting, 1):
        # Again where the visitor has changed its settings meanwhile.
        while case.is_waiting and case.requested_model == predictor.model:
            with turn(show_place(place)):
                place.empty()
                analyse(visit, case, predictor)
        if bar is not None:
            left = (time.monotonic() - start) / done * (total - done)
            bar.progress(done / total, f"{done} of {total} images, {_time_left(left)} left")


def analyse(visit: Visit, case: Case, predictor: "Predictor") -> None:
    """Decode an image and store its result, its view and its thumbnail.

    The map is computed here for the image that the page shows first, else when it is opened.
    Streamlit may end the run at any of its calls in here; the image then still lacks a result.
    """
    settings, view = case.settings, visit.view_of(case)
    try:
        if view is None:
            view = make_view(case.read(), settings)
        if case.number == 1:
            result = view.prediction(predictor, DEFAULT_METHOD)
        else:
            result = predictor.predict(view.prepared)
    except UnreadableImage as error:
        result = _unreadable(str(error), predictor)
    except MemoryError:
        result = _unreadable("The image is too large for this computer's memory.", predictor)
    except Exception as error:
        log_error(error)
        result = _unreadable("Analysis failed (software error; see the log).", predictor)
    visit.store_result(case, result, predictor.calibration, predictor.model, settings, view)


def show_place(place: DeltaGenerator) -> Callable[[int], None]:
    """Return a function that shows the visitor's place in the queue of a public host."""

    def show(number: int) -> None:
        place.info(
            "This server is analysing images of other visitors. Your image is number "
            f"{number} in the queue.",
            icon=":material/hourglass_empty:",
        )

    return show


def _unreadable(reason: str, predictor: "Predictor") -> Prediction:
    return Prediction(None, "UNREADABLE", (reason,), model=predictor.model)


def _time_left(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
