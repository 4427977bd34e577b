"""From a file to the input of the network: decoding, input check of the pixels, resizing."""

from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import UnreadableImage
from xray_core.imaging.adjustment import WHOLE, Box
from xray_core.imaging.border import content_box
from xray_core.imaging.checks import check_pixels
from xray_core.imaging.pixels import crop, to_model_input
from xray_core.imaging.radiograph import Radiograph, open_radiograph

Source = str | Path | bytes | BinaryIO | Radiograph
"""An image: a path, its bytes, a file object, or already decoded."""
FloatArray = NDArray[np.float32]


class PreparedInput(NamedTuple):
    """A decoded image, ready for the network; its size does not depend on that of the image.

    `image` is the model input, and `inner` that of the image without its flat border; None without
    a border, or where the inner pixels cannot be a chest X-ray. `content` is the part of the image
    inside the border. `refusals` are the reasons why the pixels cannot be a chest X-ray, () if they
    can. `radiograph` is the image without its pixels, `shape` (H, W) its size.
    """

    image: FloatArray  # (224, 224, 1)
    inner: FloatArray | None  # (224, 224, 1)
    refusals: tuple[str, ...]
    radiograph: Radiograph
    shape: tuple[int, int]
    content: Box = WHOLE

    @property
    def is_ruled_out(self) -> bool:
        """Tell whether the pixels alone are refused, so that the network is not run."""
        return bool(self.refusals) and self.inner is None


def prepare_input(source: Source | PreparedInput) -> PreparedInput:
    """Decode an image, check its pixels and make its model input.

    Parameters
    ----------
    source
        A path, bytes, a file object or a `Radiograph`. A prepared input is returned as it is.

    Raises
    ------
    UnreadableImage
        The source cannot be read.
    """
    if isinstance(source, PreparedInput):
        return source
    if isinstance(source, Radiograph):
        return _prepare(source)
    with open_radiograph(source) as radiograph:
        return _prepare(radiograph)


def _prepare(radiograph: Radiograph) -> PreparedInput:
    image = to_model_input(radiograph)
    content = content_box(radiograph.pixels)
    inner = None if content == WHOLE else _inner_image(radiograph, content)
    return PreparedInput(
        image=image,
        inner=inner,
        refusals=tuple(check_pixels(radiograph, image)),
        radiograph=replace(radiograph, pixels=np.empty((0, 0), np.float32), full_depth=None),
        shape=radiograph.pixels.shape,
        content=content,
    )


def _inner_image(radiograph: Radiograph, content: Box) -> FloatArray | None:
    """Return the model input without the flat border, None where it cannot be a chest X-ray."""
    inner = crop(radiograph, content)
    image = to_model_input(inner)
    return None if check_pixels(inner, image) else image


def prepare_input_or_reason(source: Source) -> PreparedInput | str:
    """Return what `prepare_input` does, or the sentence why the image cannot be read."""
    try:
        return prepare_input(source)
    except UnreadableImage as error:
        return str(error)
    except MemoryError:
        return "The image is too large for this computer's memory."
