"""The app: its server and its pages.

`streamlit run app.py` serves `app` and runs this script for every visitor. Every page draws its
own frame (title, model picker, disclaimer) by calling `ui.common.frame.frame`, as a page may run
without this script.
"""

import streamlit as st
from starlette.middleware import Middleware

from ui.common.server import RequestFilter, log_error_locations_only
from ui.common.startup import lifespan, routes


def on_script_error(error: Exception) -> bool:
    """Show an error that no page has caught; True: Streamlit shows nothing more."""
    from ui.common.errors import show_error

    show_error(error)
    return True


app = st.App(
    __file__,
    lifespan=lifespan,
    routes=routes,
    middleware=[Middleware(RequestFilter)],
    on_script_error=on_script_error,
)

if __name__ == "__main__":  # the script of a visit, not the module of the server
    from ui.common.frame import navigation, run_page

    run_page(navigation())
else:
    log_error_locations_only()
