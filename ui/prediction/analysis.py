"""Judging the visitor's images, one after the other, with a progress bar for several."""

import time
from typing import TYPE_CHECKING

import streamlit as st

from ui.common.frame import log_failure
from ui.prediction.cases import Case, Visit, thumbnail
from ui.prediction.view import view_of
from xray_core.errors import UnreadableImage
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor


def work_to_do(visit: Visit, model: str) -> int:
    """Ask this model about every image, and return how many wait for its result."""
    for case in visit.cases:
        case.asked = model
    return sum(case.waits for case in visit.cases)


def analyse_all(visit: Visit, predictor: "Predictor", model: str) -> None:
    """Judge what waits. One bad image never ends the run; a run cut short goes on later."""
    waiting = [case for case in visit.cases if case.waits]
    if len(visit.cases) == 1:
        with st.spinner("Analysing the image …"):
            _analyse_in_turn(visit, waiting, predictor, model, None)
        return
    place = st.empty()
    bar = place.progress(0.0, f"0 of {len(waiting)} images")
    _analyse_in_turn(visit, waiting, predictor, model, bar)
    place.empty()


def _analyse_in_turn(
    visit: Visit, waiting: list[Case], predictor: "Predictor", model: str, bar
) -> None:
    start, total = time.monotonic(), len(waiting)
    for done, case in enumerate(waiting, 1):
        # Once more where it is to be looked at in another way by now.
        while case.waits and case.asked == model:
            analyse(visit, case, predictor, model, with_map=len(visit.cases) == 1)
        if bar is not None:
            left = (time.monotonic() - start) / done * (total - done)
            bar.progress(done / total, f"{done} of {total} images, {_time_left(left)} left")


def analyse(
    visit: Visit, case: Case, predictor: "Predictor", model: str, *, with_map: bool
) -> None:
    """Give an image its result and its thumbnail, whatever it holds.

    Streamlit may end the run in here at any of its calls; the image then still waits.
    """
    settings, picture = case.settings, ""
    try:
        if with_map:
            view = view_of(case, predictor, model)
            result, picture = next(iter(view.answers.values())), view.thumbnail
        else:
            radiograph = case.read()
            picture = thumbnail(radiograph)
            result = predictor.predict(radiograph)
    except UnreadableImage as error:
        result = _unreadable(str(error), predictor.model)
    except MemoryError:
        result = _unreadable("The image is too large for this computer's memory.", predictor.model)
    except Exception as error:
        log_failure(error)
        result = _unreadable("Analysis failed (software error; see the log).", predictor.model)
    visit.settle(case, result, predictor.calibration, model, settings, picture)


def _unreadable(reason: str, model: str) -> Prediction:
    return Prediction(None, "UNREADABLE", (reason,), model=model)


def _time_left(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
