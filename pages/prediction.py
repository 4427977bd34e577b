"""The Prediction page."""

import streamlit as st

from ui.frame import frame

frame("Prediction")
st.write("This page is being built.")
