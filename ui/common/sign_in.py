"""Sign-in with OpenID Connect, through Streamlit's own `st.login`; off by default.

It is on where the secrets have a section [auth], or where XRAY_SIGN_IN=1. The latter keeps the
pages closed if the section is missing or cannot be read.
"""

import os
import time

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from ui.common.text import as_text
from xray_core.errors import XrayError


def must_sign_in() -> bool:
    """Tell whether the visitor has to sign in before anything is shown.

    A sign-in ends when the provider's token expires (its claim `exp`).
    """
    if not _is_required():
        return False
    expires = st.user.get("exp")
    return not st.user.get("is_logged_in") or (expires is not None and expires <= time.time())


def show_sign_in(name: str) -> None:
    """Draw the sign-in in place of a page, and end the run."""
    st.session_state.clear()  # after an expired sign-in: images and results
    st.title(name)
    if not _has_provider():
        raise XrayError(
            "Sign-in is required here and is not configured. The operator of this app configures "
            "it in the section [auth] of .streamlit/secrets.toml; see docs/deploy.md."
        )
    st.write("Please sign in to use this app.")
    st.button("Sign in", type="primary", icon=":material/login:", on_click=st.login)
    st.stop()


def show_sign_out() -> None:
    """Draw the name of the visitor and the button that signs out, in the sidebar."""
    if not _is_required():
        return
    who = st.user.get("name") or st.user.get("email") or st.user.get("sub") or "you"
    st.sidebar.caption(f"Signed in as {as_text(str(who))}")
    st.sidebar.button("Sign out", icon=":material/logout:", on_click=_sign_out)


def _sign_out() -> None:
    st.session_state.clear()  # images and results are released now, not with the closed connection
    st.logout()


def _is_required() -> bool:
    return os.environ.get("XRAY_SIGN_IN", "").strip() == "1" or _has_provider()


def _has_provider() -> bool:
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False
