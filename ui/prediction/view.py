"""An image as the page shows it: decoded once, with the maps that were computed so far."""

import base64
import io
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ui.prediction.cases import Settings
from xray_core.imaging.radiograph import Radiograph
from xray_core.prediction.inputs import PreparedInput, prepare_input
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

DISPLAY_SIDE = 2048
OVERLAY_SIDE = 1000
THUMBNAIL_SIDE = 64
DEFAULT_METHOD = "gradcam"


@dataclass
class View:
    """What is kept of a decoded image: small, whatever the size of its file.

    `settings` are those that it was decoded with. `prepared` goes to the network; `pixels`, uint8
    (h, w) with no side above DISPLAY_SIDE, and `thumbnail`, a data URI, go to the page.
    `predictions` are those with a map, by model and method.
    """

    settings: Settings
    prepared: PreparedInput
    pixels: NDArray[np.uint8]
    thumbnail: str
    predictions: dict[tuple[str, str], Prediction] = field(default_factory=dict)

    @cached_property
    def png(self) -> bytes:
        """The image as the browser gets it."""
        return _encode(self.pixels, "PNG", compress_level=1)

    @cached_property
    def small(self) -> NDArray[np.uint8]:
        """The image under its map: uint8 (h, w), no side above OVERLAY_SIDE."""
        return _reduce(self.pixels, OVERLAY_SIDE)

    @property
    def size(self) -> int:
        """Bytes of memory, once the image was opened."""
        inputs = [self.prepared.image, self.prepared.inner]
        results = self.predictions.values()
        maps = [array for result in results for array in (result.heatmap, result.lung_mask)]
        arrays = [array for array in (*inputs, *maps) if array is not None]
        # Three times the pixels: they are also held as PNG and at the size of the overlay.
        return 3 * self.pixels.nbytes + sum(array.nbytes for array in arrays)

    def prediction(self, predictor: "Predictor", method: str) -> Prediction:
        """Return the prediction with the map of a method, computed on the first call."""
        key = predictor.model, method
        if key not in self.predictions:
            prediction = predictor.predict(self.prepared, explain=method)
            if prediction.heatmap is not None:
                shape = self.small.shape[::-1]
                heatmap = Image.fromarray(prediction.heatmap)
                heatmap = heatmap.resize(shape, Image.Resampling.BILINEAR)
                prediction = replace(prediction, heatmap=np.clip(np.asarray(heatmap), 0, 1))
            self.predictions[key] = prediction
        return self.predictions[key]


def make_view(radiograph: Radiograph, settings: Settings) -> View:
    """Return the view of an image that was decoded with these settings."""
    pixels = _reduce(np.rint(radiograph.pixels).astype(np.uint8), DISPLAY_SIDE)
    return View(settings, prepare_input(radiograph), pixels, _thumbnail(pixels))


def encode_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Return an overlay as a JPEG, which is encoded quickly at every change of a control."""
    return _encode(pixels, "JPEG", quality=92, subsampling=0)


def _thumbnail(pixels: NDArray[np.uint8]) -> str:
    """Return a small square preview of the image, on black, as a data URI."""
    side = THUMBNAIL_SIDE
    step = max(1, min(pixels.shape) // (2 * side))
    small = Image.fromarray(_reduce(pixels[::step, ::step], side))
    square = Image.new("L", (side, side))
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    data = _encode(np.asarray(square), "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _reduce(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return the image with no side above `side` and its aspect ratio kept."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _encode(pixels: NDArray[np.uint8], kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()
