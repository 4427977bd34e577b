"""The image viewer as a Streamlit component: what an image becomes for the browser.

The pixels are served once by the server's store in memory, and the component receives their
address. Everything else that it receives is small, so a rerun of the page sends no pixels. Zoom,
window, layers and their settings are handled by `viewer.js` without a rerun.
"""

import base64
import secrets
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import streamlit as st
from numpy.typing import NDArray

from ui.common.streamlit_internals import serve_bytes
from xray_core.imaging.adjustment import WHOLE, Box
from xray_core.imaging.full_depth import FullDepth

DISPLAY_SIDE = 2048
"""Pixels of the longer side above which an image is reduced for display."""

MAP_SIDE = 512
"""Pixels of the longer side of a map or mask, which the browser enlarges smoothly."""

_HERE = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "xray_viewer",
    html=(_HERE / "viewer.html").read_text(encoding="utf-8"),
    css=(_HERE / "viewer.css").read_text(encoding="utf-8"),
    js=(_HERE / "viewer.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


@dataclass(frozen=True)
class Plane:
    """One channel of an image, packed for the browser: `bits` (8 or 16) per value."""

    width: int
    height: int
    bits: int
    data: bytes


@dataclass(frozen=True)
class Spacing:
    """Distance between the rows and between the columns of the shown pixels, in mm.

    `at_detector` tells that the magnification of the chest is not corrected.
    """

    rows: float
    columns: float
    at_detector: bool


@dataclass(frozen=True)
class Shown:
    """An image for the viewer.

    `image` holds grey levels, or the values of `depth`, whose own values are left empty, with
    `levels` their grey levels as analysed.
    """

    image: Plane
    depth: FullDepth | None = None
    levels: Plane | None = None
    spacing: Spacing | None = None


@dataclass(frozen=True)
class BoxTool:
    """A tool of the viewer that marks a rectangle of the image.

    `label` is its button, `help` says what a drag does, `action` is the button that confirms the
    rectangle. `on_box` is then called with it, before the next run of the page.
    """

    label: str
    help: str
    action: str
    on_box: Callable[[Box], None]


def pack(values: NDArray[np.uint8] | NDArray[np.uint16]) -> Plane:
    """Pack values (H, W) without loss.

    Each row holds the differences of neighbours, which compress better than the values. The random
    bytes at the start make the address of the result, a hash of it, one that nobody can guess.
    """
    height, width = values.shape
    differences = values.copy()
    differences[:, 1:] -= values[:, :-1]  # modulo 2 ** bits
    content = differences.tobytes()
    if values.dtype == np.uint16:  # all low bytes, then all high bytes
        content = differences.astype("<u2").view(np.uint8).reshape(-1, 2).T.tobytes()
    data = zlib.compress(secrets.token_bytes(16) + content, level=1)
    return Plane(width, height, 8 * values.dtype.itemsize, data)


def pack_map(heatmap: NDArray[np.float32]) -> Plane:
    """Pack a map (H, W) in [0, 1], at most MAP_SIDE wide and high."""
    levels = np.rint(np.clip(heatmap, 0, 1) * 255).astype(np.uint8)
    return pack(reduce_to(levels, MAP_SIDE))


def reduce_to(pixels: NDArray[Any], side: int = DISPLAY_SIDE) -> NDArray[Any]:
    """Return an image with no side above `side`, averaged over the area; the aspect ratio stays."""
    height, width = pixels.shape
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def show_viewer(
    shown: Shown,
    *,
    key: str,
    description: str,
    colours: Mapping[str, NDArray[np.uint8]],
    heatmap: Plane | None = None,
    heatmap_name: str = "",
    lungs: Plane | None = None,
    previous: bool | None = None,
    following: bool | None = None,
    on_step: Callable[[int], None] = lambda change: None,
    box_tool: BoxTool | None = None,
) -> None:
    """Draw the viewer.

    Parameters
    ----------
    shown
        The image.
    key
        Identifies the viewer on the page. With the same key it stays, whatever image it shows.
    description
        The text alternative: what is shown, and its result. Also shown on a full screen.
    colours
        Colour maps for `heatmap` by name, uint8 (256, 3), the default first.
    heatmap
        The map, with `heatmap_name`.
    lungs
        The mask of the lungs, 255 inside and 0 outside.
    previous, following
        Whether there is an image before and after this one; None where the image is the only one.
    on_step
        Called with 1 or -1, before the next run of the page, when the visitor asks for the next or
        the previous image.
    box_tool
        Lets the visitor mark a rectangle; None for a viewer without this tool.
    """

    def stepped() -> None:
        change = st.session_state[key].get("step")
        if change in (-1, 1):
            on_step(change)

    def boxed() -> None:
        box = _as_box(st.session_state[key].get("box"))
        if box_tool is not None and box is not None and box != WHOLE:
            box_tool.on_box(box)

    def served(plane: Plane | None, role: str) -> dict[str, Any] | None:
        if plane is None:
            return None
        url = serve_bytes(plane.data, f"viewer-{key}-{role}")
        return {"url": url, "width": plane.width, "height": plane.height, "bits": plane.bits}

    depth, spacing = shown.depth, shown.spacing
    map_data = served(heatmap, "map")
    data = {
        "description": description,
        "image": served(shown.image, "image"),
        "map": None if map_data is None else {**map_data, "name": heatmap_name},
        "lungs": served(lungs, "lungs"),
        "colours": {
            name: base64.b64encode(np.ascontiguousarray(table).tobytes()).decode()
            for name, table in colours.items()
        },
        "spacing": None
        if spacing is None
        else {
            "rows": spacing.rows,
            "columns": spacing.columns,
            "atDetector": spacing.at_detector,
        },
        "tone": None if depth is None else _tone(depth, served(shown.levels, "levels")),
        "several": previous is not None,
        "previous": bool(previous),
        "next": bool(following),
        "box": None
        if box_tool is None
        else {"label": box_tool.label, "help": box_tool.help, "action": box_tool.action},
    }
    _COMPONENT(key=key, data=data, on_step_change=stepped, on_box_change=boxed)


def _as_box(sent: object) -> Box | None:
    """Return what a browser sent as a box, None if it is none."""
    if not isinstance(sent, list | tuple) or len(sent) != 4:
        return None
    if not all(isinstance(edge, int | float) for edge in sent):
        return None
    box = Box(*map(float, sent))
    return box if box.is_valid else None


def _tone(depth: FullDepth, levels: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "levels": levels,
        "slope": depth.slope,
        "intercept": depth.intercept,
        "center": depth.window.center,
        "width": depth.window.width,
        "inverted": depth.inverted,
        "presets": [
            {"name": window.name, "center": window.center, "width": window.width}
            for window in depth.windows
        ],
    }
