"""The frame of the app: which pages there are, and the one to show.

Started with `streamlit run app.py`. Every page draws its own surroundings (title, model picker,
disclaimer) by calling `ui.frame.frame`, so that it looks the same however it was reached.
"""

from ui.frame import navigation, run_page

run_page(navigation())
