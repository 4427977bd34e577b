"""What the viewer sends to the browser: pixels without loss, once, at an address nobody guesses."""

import json
import re
import zlib

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from ui.viewer.viewer import MAP_SIDE, Plane, as_box, pack, pack_map, reduce_to
from xray_core.imaging.adjustment import Box


def unpack(plane: Plane) -> np.ndarray:
    """Return the values of a plane, as the script of the viewer does."""
    content = np.frombuffer(zlib.decompress(plane.data)[16:], np.uint8)
    if plane.bits == 16:
        low, high = content.reshape(2, plane.height, plane.width).astype(np.uint16)
        differences = low | high << 8
    else:
        differences = content.reshape(plane.height, plane.width)
    return np.cumsum(differences, axis=1, dtype=differences.dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_are_packed_without_loss(dtype) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (37, 53), dtype, True)
    values[0, :2] = 0, np.iinfo(dtype).max  # a difference beyond the range of the type
    before = values.copy()
    plane = pack(values)
    assert (plane.width, plane.height, plane.bits) == (53, 37, 8 * values.dtype.itemsize)
    np.testing.assert_array_equal(unpack(plane), values)
    np.testing.assert_array_equal(values, before)


def test_a_smooth_image_is_packed_into_less_than_half_of_its_bytes() -> None:
    values = (np.add.outer(np.arange(500), np.arange(600)) // 3).astype(np.uint16)
    assert len(pack(values).data) < values.nbytes / 2


def test_equal_images_have_different_bytes() -> None:
    """The address is a hash of the first, middle and last bytes, which so cannot be guessed."""
    values = np.zeros((9, 9), np.uint8)
    assert pack(values).data[:40] != pack(values).data[:40]


def test_a_map_has_256_levels_and_a_limited_size() -> None:
    heatmap = np.linspace(0, 1, 900 * 1000, dtype=np.float32).reshape(900, 1000)
    plane = pack_map(heatmap)
    assert (plane.width, plane.height) == (MAP_SIDE, round(0.9 * MAP_SIDE))
    levels = unpack(plane)
    assert (levels.min(), levels.max()) == (0, 255)


def test_an_image_is_reduced_by_averaging_and_keeps_its_aspect_ratio() -> None:
    values = np.tile(np.uint16([[0, 4000], [4000, 0]]), (1024, 2048))
    reduced = reduce_to(values)
    assert reduced.shape == (1024, 2048)
    assert reduced.dtype == np.uint16
    assert (reduced == 2000).all()
    assert reduce_to(reduced) is reduced


def page() -> None:
    """A page with a viewer, which counts its runs."""
    import numpy as np
    import streamlit as st

    from ui.viewer.viewer import Shown, Spacing, pack, show_viewer

    shown = st.session_state.setdefault(
        "shown", Shown(pack(np.zeros((600, 700), np.uint8)), spacing=Spacing(0.2, 0.1, True))
    )
    st.button("again")
    show_viewer(
        shown,
        key="viewer",
        description="An image",
        colours={"Heat": np.zeros((256, 3), np.uint8)},
        previous=False,
        following=True,
    )


def test_a_rerun_sends_the_same_short_message() -> None:
    at = AppTest.from_function(page, default_timeout=60).run()
    assert not at.exception

    def data() -> dict:
        (element,) = at.get("bidi_component")
        return json.loads(element.proto.json)

    first = data()
    assert len(json.dumps(first)) < 5000
    assert (first["image"]["width"], first["image"]["height"], first["image"]["bits"]) == (
        700,
        600,
        8,
    )
    assert first["spacing"] == {"rows": 0.2, "columns": 0.1, "atDetector": True}
    assert (first["several"], first["previous"], first["next"]) == (True, False, True)
    assert first["map"] is first["lungs"] is first["tone"] is None
    at.button[0].click().run()
    assert data() == first


def test_addresses_contain_the_base_path_of_the_server() -> None:
    from streamlit import config

    before = config.get_option("server.baseUrlPath")
    config.set_option("server.baseUrlPath", "/chest/")
    try:
        at = AppTest.from_function(page, default_timeout=60).run()
    finally:
        config.set_option("server.baseUrlPath", before)
    (element,) = at.get("bidi_component")
    assert re.fullmatch(
        r"/chest/(mock/)?media/\w+\.bin", json.loads(element.proto.json)["image"]["url"]
    )


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "0,0,1,1",
        [0.0, 0.0, 1.0],
        [0.0, 0.0, 1.0, "1"],
        [0.0, 0.0, 1.0, 1.5],
        [-0.1, 0.0, 1.0, 1.0],
        [0.5, 0.0, 0.5, 1.0],
        [float("nan"), 0.0, 1.0, 1.0],
        [0.0, 0.0, 1.0, None],
    ],
)
def test_only_a_part_of_the_image_is_a_box(sent):
    assert as_box(sent) is None


def test_a_sent_box_is_top_left_bottom_right():
    assert as_box([0.1, 0, 0.9, 0.5]) == Box(top=0.1, left=0.0, bottom=0.9, right=0.5)
