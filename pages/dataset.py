"""The Dataset page."""

import streamlit as st

from ui.frame import frame

frame("Dataset")
st.write("This page is being built.")
