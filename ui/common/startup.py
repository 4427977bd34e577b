"""What the server does before its first visitor comes: it checks its settings and loads the model.

The default model is loaded beside the server, which answers at once. `/ready` tells a reverse proxy
or a container engine when an image can be analysed without waiting for the model.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pkgutil import iter_modules
from threading import Thread

import streamlit as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import ui.prediction
from ui.common.errors import log_error
from ui.common.memory import bound_allocator, exempt_libraries
from ui.common.public import limits
from xray_core.command_line import silence_tensorflow


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Check the settings, which may raise XrayError, and start to load the default model."""
    limits()
    bound_allocator()
    thread = Thread(target=_load, name="load the default model", daemon=True)
    thread.start()
    _loading.append(thread)
    yield


def _ready(_: Request) -> PlainTextResponse:
    if any(thread.is_alive() for thread in _loading):
        return PlainTextResponse("The model is being loaded.", 503)
    return PlainTextResponse("ready")


routes = [Route("/ready", _ready)]
_loading: list[Thread] = []


def _load() -> None:
    """Load the default model and what the Prediction page imports.

    A model that cannot be opened is reported on the pages, and so is every later error.
    """
    silence_tensorflow()
    _load_model()
    for module in iter_modules(ui.prediction.__path__):
        import_module(f"ui.prediction.{module.name}")
    exempt_libraries("tensorflow" in sys.modules)


def _load_model() -> None:
    """Load the default model and use it once: the first analysis is slower than all others."""
    # Here, since Streamlit warns of caches that are made before the server has started.
    from ui.common.models import DEFAULT_MODEL, find_predictor, load_bundle, models_folder

    if not (models_folder() / DEFAULT_MODEL).is_dir():
        return
    try:
        predictor = find_predictor(DEFAULT_MODEL)
        for example in list(load_bundle(DEFAULT_MODEL).examples().values())[:1]:
            predictor.predict(example, explain="gradcam")
    except Exception as error:
        log_error(error)
