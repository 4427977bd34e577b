"""The Training page."""

import streamlit as st

from ui.frame import frame

frame("Training")
st.write("This page is being built.")
