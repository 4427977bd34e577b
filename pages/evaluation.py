"""The Evaluation page."""

import streamlit as st

from ui.frame import frame

frame("Evaluation")
st.write("This page is being built.")
