"""Judging the visitor's films, one after the other, with a progress bar for several."""

import time
from typing import TYPE_CHECKING

import streamlit as st

from ui.common.frame import log_failure
from ui.prediction.cases import Film, Visit, thumbnail
from ui.prediction.view import view_of
from xray_core.errors import UnreadableImage
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor


def work_to_do(visit: Visit, model: str) -> int:
    """Ask this model about every film, and return how many wait for its result."""
    for film in visit.films:
        film.asked = model
    return sum(film.waits for film in visit.films)


def judge_all(visit: Visit, predictor: "Predictor", model: str) -> None:
    """Judge what waits. One bad film never ends the run; a run cut short goes on later."""
    waiting = [film for film in visit.films if film.waits]
    if len(visit.films) == 1:
        with st.spinner("Analysing the image …"):
            _judge_one_by_one(visit, waiting, predictor, model, None)
        return
    place = st.empty()
    bar = place.progress(0.0, f"0 of {len(waiting)} images")
    _judge_one_by_one(visit, waiting, predictor, model, bar)
    place.empty()


def _judge_one_by_one(
    visit: Visit, waiting: list[Film], predictor: "Predictor", model: str, bar
) -> None:
    start, total = time.monotonic(), len(waiting)
    for done, film in enumerate(waiting, 1):
        # Once more where it is to be looked at in another way by now.
        while film.waits and film.asked == model:
            judge(visit, film, predictor, model, with_map=len(visit.films) == 1)
        if bar is not None:
            left = (time.monotonic() - start) / done * (total - done)
            bar.progress(done / total, f"{done} of {total} images, {_time_left(left)} left")


def judge(visit: Visit, film: Film, predictor: "Predictor", model: str, *, with_map: bool) -> None:
    """Give a film its result and its thumbnail, whatever it holds.

    Streamlit may end the run in here at any of its calls; the film then still waits.
    """
    settings, picture = film.settings, ""
    try:
        if with_map:
            view = view_of(film, predictor, model)
            result, picture = next(iter(view.answers.values())), view.thumbnail
        else:
            radiograph = film.read()
            picture = thumbnail(radiograph)
            result = predictor.predict(radiograph)
    except UnreadableImage as error:
        result = _unreadable(str(error), predictor.model)
    except MemoryError:
        result = _unreadable("The image is too large for this computer's memory.", predictor.model)
    except Exception as error:
        log_failure(error)
        result = _unreadable("Analysis failed (software error; see the log).", predictor.model)
    visit.settle(film, result, predictor.calibration, model, settings, picture)


def _unreadable(reason: str, model: str) -> Prediction:
    return Prediction(None, "UNREADABLE", (reason,), model=model)


def _time_left(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
