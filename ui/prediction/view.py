"""An image as the page shows it: decoded once, with the maps that were computed so far."""

import io
import secrets
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ui.prediction.cases import Settings
from ui.viewer.viewer import Plane, Shown, Spacing, pack, pack_map, reduce_to
from xray_core.imaging.full_depth import FullDepth
from xray_core.imaging.radiograph import Radiograph
from xray_core.prediction.inputs import PreparedInput, prepare_input
from xray_core.prediction.result import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

OVERLAY_SIDE = 1000
THUMBNAIL_SIDE = 64
DEFAULT_METHOD = "gradcam"


@dataclass
class View:
    """What is kept of a decoded image: small, whatever the size of its file.

    `settings` are those that it was decoded with. `pixels` go to the viewer: grey levels, uint8
    (h, w), or the values of `depth`, uint16 (h, w), which itself holds none. `small` are the grey
    levels of the image in the report, uint8 (h, w) with no side above OVERLAY_SIDE, and `thumbnail`
    is a JPEG. `prepared` goes to the network; its maps have the size of `small`. `predictions` are
    those with a map, by model and method, and `maps` their maps for the viewer.
    """

    settings: Settings
    prepared: PreparedInput
    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    small: NDArray[np.uint8]
    thumbnail: bytes
    depth: FullDepth | None = None
    spacing: Spacing | None = None
    predictions: dict[tuple[str, str], Prediction] = field(default_factory=dict)
    maps: dict[tuple[str, str], Plane] = field(default_factory=dict)

    @cached_property
    def shown(self) -> Shown:
        """The image for the viewer."""
        levels = None if self.depth is None else pack(self.depth.levels[np.newaxis])
        return Shown(pack(self.pixels), self.depth, levels, self.spacing)

    @property
    def size(self) -> int:
        """Bytes of memory, once the image was opened."""
        inputs = [self.prepared.image, self.prepared.inner]
        results = self.predictions.values()
        maps = [array for result in results for array in (result.heatmap, result.lung_mask)]
        arrays = [array for array in (*inputs, *maps) if array is not None]
        # Twice the pixels: they are also held packed for the browser.
        return 2 * self.pixels.nbytes + self.small.nbytes + sum(array.nbytes for array in arrays)

    def prediction(self, predictor: "Predictor", method: str) -> Prediction:
        """Return the prediction with the map of a method, computed on the first call."""
        key = predictor.model, method
        if key not in self.predictions:
            prediction = predictor.predict(self.prepared, explain=method)
            if prediction.heatmap is not None:
                self.maps[key] = pack_map(prediction.heatmap)
            self.predictions[key] = prediction
        return self.predictions[key]


def make_view(radiograph: Radiograph, settings: Settings) -> View:
    """Return the view of an image that was decoded with these settings."""
    grey, depth = np.rint(radiograph.pixels).astype(np.uint8), radiograph.full_depth
    pixels = reduce_to(grey if depth is None else depth.values)
    if depth is not None:
        depth = replace(depth, values=np.empty((0, 0), np.uint16))
    small = _reduce(grey, OVERLAY_SIDE)
    spacing = None
    if radiograph.pixel_spacing is not None:
        rows, columns = radiograph.pixel_spacing
        spacing = Spacing(
            rows * grey.shape[0] / pixels.shape[0],
            columns * grey.shape[1] / pixels.shape[1],
            radiograph.spacing_at_detector,
        )
    prepared, thumbnail = prepare_input(radiograph)._replace(shape=small.shape), _thumbnail(small)
    return View(settings, prepared, pixels, small, thumbnail, depth, spacing)


def _thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """Return a small square preview of the image, on black, as a JPEG.

    Its random comment makes the address of what holds it, a hash, one that nobody can guess.
    """
    side = THUMBNAIL_SIDE
    step = max(1, min(pixels.shape) // (2 * side))
    small = Image.fromarray(_reduce(pixels[::step, ::step], side))
    square = Image.new("L", (side, side))
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=80, comment=secrets.token_hex(16))
    return buffer.getvalue()


def _reduce(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return the image with no side above `side` and its aspect ratio kept."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image)
