"""Changing an image before its analysis: DICOM window, suggested correction, manual adjustment."""

import streamlit as st

from ui.prediction.cases import Case, widget_key
from ui.prediction.view import View
from ui.viewer.viewer import BoxTool
from xray_core.imaging.adjustment import UNADJUSTED, Adjustment, Box

MANUAL = {
    "Rotate left": (":material/rotate_left:", Adjustment(quarter_turns=3)),
    "Rotate right": (":material/rotate_right:", Adjustment(quarter_turns=1)),
    "Mirror": (":material/flip:", Adjustment(mirrored=True)),
    "Invert": (":material/invert_colors:", Adjustment(inverted=True)),
}
ABOUT_CHANGES = (
    "The changed image is analysed again, and every download records the change. To crop, choose "
    "Crop in the viewer."
)


def choose_window(case: Case, view: View) -> None:
    """Offer the windows of a DICOM file, where it has more than one."""
    windows = view.prepared.radiograph.windows
    if len(windows) < 2:
        return
    with st.container(key="window"):
        window = st.selectbox(
            "Window for the analysis",
            range(len(windows)),
            index=min(case.window, len(windows) - 1),
            format_func=lambda index: windows[index],
            key=widget_key(f"window-{case.number}"),
            help="The result is computed with this window of the file. The presets of the viewer "
            "change the display only.",
        )
    if window != case.window:
        case.window = window
        st.rerun()


def change_buttons(case: Case) -> None:
    """Draw the suggested correction, the manual changes, and their end."""
    correction = case.prediction.correction
    if correction is not None:
        _suggestion(case, correction)
    with st.popover("Change the image", icon=":material/tune:"):
        st.markdown(ABOUT_CHANGES)
        for label, (icon, adjustment) in MANUAL.items():
            st.button(label, icon=icon, on_click=case.adjust, args=(adjustment,), width="stretch")
    if case.adjustment != UNADJUSTED:
        st.button("Undo the changes", icon=":material/undo:", on_click=case.undo_adjustments)


def crop_tool(case: Case) -> BoxTool:
    """Return the viewer's tool that crops an image, which is then analysed again."""

    def crop(box: Box) -> None:
        case.adjust(Adjustment(crop=box))

    return BoxTool(
        "Crop", "Drag a rectangle around the part to keep", "Crop and analyse again", crop
    )


def _suggestion(case: Case, correction: Adjustment) -> None:
    refused = case.prediction.verdict == "REFUSED"
    st.button(
        f"{_steps(correction)} and analyse" if refused else "Border detected. Crop and re-analyse",
        type="primary" if refused else "secondary",
        icon=":material/rotate_right:" if correction.is_turned else ":material/crop:",
        on_click=case.adjust,
        args=(correction,),
    )


def _steps(correction: Adjustment) -> str:
    steps = {"Crop": correction.is_cropped, "rotate": correction.quarter_turns}
    steps["invert"] = correction.inverted
    return ", ".join(step for step, needed in steps.items() if needed).capitalize()
