"""Errors on a page: a sentence for the visitor, and a location in the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from ui.common.server import error_location
from ui.common.text import as_markdown
from xray_core.errors import XrayError

logger = logging.getLogger(__name__)


@contextmanager
def show_errors() -> Iterator[None]:
    """Show what is raised inside as a sentence on the page.

    Also a decorator, `@show_errors()`. Fragments and callbacks need their own, since they run
    without the page around them.
    """
    try:
        yield
    except Exception as error:
        show_error(error)


def show_error(error: Exception) -> None:
    """Show an error: its own message if it is an XrayError, else a general sentence."""
    if isinstance(error, XrayError):
        st.error(as_markdown(str(error)), icon=":material/error:")
        return
    log_error(error)
    st.error(
        "Something went wrong. Nothing was saved. Reload the page to start again. If the error "
        "occurs again, see the log of the app.",
        icon=":material/error:",
    )


def log_error(error: BaseException) -> None:
    """Log the type and location of an error; its message may contain a visitor's file name."""
    logger.error("%s", error_location(error))
