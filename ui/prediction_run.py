"""Judging the visitor's films, one after the other, with a progress bar for several."""

import time
from itertools import chain
from typing import TYPE_CHECKING

import streamlit as st

from ui.frame import log_failure
from ui.prediction_films import Film, arrived, films, incoming, keep, thumbnail
from ui.prediction_view import view_of
from xray_core.errors import UnreadableImage
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor


def work_to_do(judged_by: str) -> int:
    """Return how many films wait for an answer of this model."""
    coming = incoming()
    waiting = coming.total - coming.done if coming else 0
    return waiting + sum(film.judged_by != judged_by for film in films())


def judge_all(predictor: "Predictor", judged_by: str) -> None:
    """Judge what waits. One bad film never ends the run; a run cut short goes on later."""
    total = work_to_do(judged_by)
    if total == 1 and len(films()) <= 1:
        with st.spinner("Reading the film and asking the network …"):
            _judge_one_by_one(predictor, judged_by, 1, None)
        return
    place = st.empty()
    _judge_one_by_one(predictor, judged_by, total, place.progress(0.0, f"0 of {total} films"))
    place.empty()


def _judge_one_by_one(predictor: "Predictor", judged_by: str, total: int, bar) -> None:
    start = time.monotonic()
    stale = [film for film in films() if film.judged_by != judged_by]
    coming = incoming()
    for done, film in enumerate(chain(stale, coming or ()), 1):
        judge(film, predictor, judged_by, with_map=total == 1)
        if done > len(stale):
            keep(film)
        if bar is not None:
            left = (time.monotonic() - start) / done * (total - done)
            bar.progress(
                min(done / total, 1.0), f"{done} of {total} films, {_time_left(left)} left"
            )
    arrived()


def judge(film: Film, predictor: "Predictor", judged_by: str, *, with_map: bool) -> None:
    """Give a film its prediction and its thumbnail, whatever it holds."""
    try:
        if with_map:
            view = view_of(film, predictor, judged_by)
            film.prediction = next(iter(view.answers.values()))
        else:
            radiograph = film.read()
            film.thumbnail = thumbnail(radiograph)
            film.prediction = predictor.predict(radiograph)
    except UnreadableImage as error:
        film.prediction = _unreadable(str(error), predictor.model)
    except MemoryError:
        film.prediction = _unreadable(
            "The film is too large for this computer's memory.", predictor.model
        )
    except Exception as error:
        log_failure(error)
        film.prediction = _unreadable(
            "The film could not be judged, for a fault of this program; its log says where.",
            predictor.model,
        )
    film.judged_by = judged_by


def _unreadable(reason: str, model: str) -> Prediction:
    return Prediction(None, "UNREADABLE", (reason,), model=model)


def _time_left(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
