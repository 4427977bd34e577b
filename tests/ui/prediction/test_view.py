"""What the page keeps of a decoded image, and what of it goes to the viewer."""

import numpy as np
from dicom_maker import image_bytes

from ui.prediction.cases import Case
from ui.prediction.view import View, make_view
from ui.viewer.viewer import Spacing


def view_of(data: bytes) -> View:
    case = Case(1, data=data)
    return make_view(case.read(), case.settings)


def test_a_picture_is_shown_with_its_grey_levels(image, image_png) -> None:
    view = view_of(image_png(3, True, 700, 600))
    np.testing.assert_array_equal(view.pixels, image(3, True, 700, 600))
    assert view.depth is view.spacing is None
    assert (view.shown.image.bits, view.shown.levels) == (8, None)


def test_a_dicom_image_is_shown_with_all_its_values(image) -> None:
    values = 10 + 12 * image(3, True, 700, 600).astype("u2")
    view = view_of(image_bytes(values, 12, WindowCenter=500, WindowWidth=100))
    assert view.depth is not None
    units = view.pixels * view.depth.slope + view.depth.intercept
    np.testing.assert_array_equal(units, values)
    assert view.depth.values.size == 0
    assert view.shown.image.bits == 16
    assert view.shown.levels is not None
    # The report shows the image as analysed.
    np.testing.assert_array_equal(view.depth.levels[view.pixels], view.small)


def test_the_model_input_does_not_depend_on_the_values_for_display(image) -> None:
    values = 12 * image(3, True, 700, 600).astype("u2")
    data = image_bytes(values, 12, WindowCenter=1000, WindowWidth=800)
    from xray_core.imaging.pixels import to_model_input
    from xray_core.imaging.radiograph import read_radiograph

    view = view_of(data)
    np.testing.assert_array_equal(view.prepared.image, to_model_input(read_radiograph(data)))
    assert view.prepared.radiograph.full_depth is None


def test_the_spacing_is_that_of_the_shown_pixels() -> None:
    values = np.zeros((1000, 4096), "u2")
    values[::2] = 9
    view = view_of(image_bytes(values, 12, ImagerPixelSpacing=[0.2, 0.1]))
    assert view.pixels.shape == (500, 2048)
    assert view.spacing == Spacing(0.4, 0.2, True)


def test_no_array_of_a_view_keeps_the_full_size_pixels(image) -> None:
    values = np.tile(12 * image(3, True, 1500, 1500).astype("u2"), (2, 2))
    view = view_of(image_bytes(values, 12))
    for array in (view.pixels, view.small, view.depth.values, view.prepared.image):
        base = array if array.base is None else array.base
        assert getattr(base, "nbytes", len(base) if isinstance(base, bytes) else 0) < values.nbytes
