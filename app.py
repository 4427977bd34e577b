"""The app: its server, and the page to show.

Started with `streamlit run app.py`, which serves `app` and runs this script for every visitor.
Every page draws its own surroundings (title, model picker, disclaimer) by calling
`ui.common.frame.frame`, so that it looks the same however it was reached.
"""

import streamlit as st
from starlette.middleware import Middleware

from ui.common.server import RequestFilter, log_places_only


def on_script_error(error: Exception) -> bool:
    """Tell a visitor what no page has caught, in a sentence; True: Streamlit adds nothing."""
    from ui.common.frame import tell

    tell(error)
    return True


app = st.App(__file__, middleware=[Middleware(RequestFilter)], on_script_error=on_script_error)

if __name__ == "__main__":  # as the script of a visit, and not as the server's module
    from ui.common.frame import navigation, run_page

    run_page(navigation())
else:
    log_places_only()
