"""An image on its way to the network: read, looked at pixel by pixel, and made its input."""

from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import UnreadableImage
from xray_core.imaging.border import crop_border
from xray_core.imaging.checks import check_pixels
from xray_core.imaging.pixels import to_model_input
from xray_core.imaging.radiograph import Radiograph, open_radiograph, read_radiograph

Source = str | Path | bytes | BinaryIO | Radiograph
FloatArray = NDArray[np.float32]


class PreparedInput(NamedTuple):
    """What is kept of an image that was read: small, whatever the image's own size.

    `refusals` are the reasons why its pixels can be no image, () where they may be one. `inner` is
    the image without the flat frame around it, None where there is none or its pixels can be no
    image either.
    """

    image: FloatArray  # (224, 224, 1)
    inner: FloatArray | None  # (224, 224, 1)
    refusals: tuple[str, ...]
    radiograph: Radiograph  # without its pixels
    shape: tuple[int, int]

    @property
    def is_ruled_out(self) -> bool:
        """Tell whether the network need not be asked."""
        return bool(self.refusals) and self.inner is None


def as_radiograph(source: Source) -> Radiograph:
    """Return an image that may have been read already; raises UnreadableImage."""
    return source if isinstance(source, Radiograph) else read_radiograph(source)


def prepare_input(source: Source) -> PreparedInput:
    """Read an image, check its pixels and make its model input; raises UnreadableImage."""
    if isinstance(source, Radiograph):
        return _admitted(source)
    with open_radiograph(source) as radiograph:
        return _admitted(radiograph)


def _admitted(radiograph: Radiograph) -> PreparedInput:
    image = to_model_input(radiograph)
    inner = _inner_image(radiograph)
    return PreparedInput(
        image=image,
        inner=inner,
        refusals=tuple(check_pixels(radiograph, image)),
        radiograph=replace(radiograph, pixels=np.empty((0, 0), np.float32)),
        shape=radiograph.pixels.shape,
    )


def _inner_image(radiograph: Radiograph) -> FloatArray | None:
    """Return the model input of what a flat frame surrounds, None where that can be no image."""
    inner = crop_border(radiograph)
    if inner is radiograph:
        return None
    image = to_model_input(inner)
    return None if check_pixels(inner, image) else image


def prepare_input_or_reason(source: Source) -> PreparedInput | str:
    """Return what `admit` does, or the sentence why the image cannot be read."""
    try:
        return prepare_input(source)
    except UnreadableImage as error:
        return str(error)
    except MemoryError:
        return "The image is too large for this computer's memory."
