"""Class-activation maps: which areas of a film raised the network's score for pneumonia.

Every map is of the logit, the log-odds of pneumonia, whatever the verdict: on a film called normal
it shows what spoke for pneumonia most, not what spoke for normal. It is no outline of disease.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import keras

METHODS = ("gradcam", "gradcam++", "scorecam", "layercam")
METHOD_NAMES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "scorecam": "Score-CAM",
    "layercam": "Layer-CAM",
}
SCORECAM_CHANNELS = 32
"""Channels that Score-CAM tries, those that vary most over the film: one forward pass each."""

BORDER_BAND = 0.1
"""Width of the border, as a share of the film's height and width."""


class Explainer:
    """Draws maps of one network with tf-keras-vis, whose objects are built once and kept.

    Those objects hold state, so one lock lets one map be drawn at a time. Grad-CAM, Grad-CAM++
    and Layer-CAM need the network only from its last spatial layer on and take that layer's
    activations from the forward pass that predicted; Score-CAM runs the network again.
    """

    def __init__(self, network: "keras.Model") -> None:
        import keras

        from xray_core.model.architectures import last_spatial_layer

        self.layer = last_spatial_layer(network)
        activations = network.get_layer(self.layer).output  # (B, h, w, C)
        logit = network.get_layer("logit").output
        self._head = keras.Model(activations, logit)
        # tf-keras-vis takes a softmax over the outputs for Score-CAM, which is 1 for a single
        # unit: two units, 0 and the logit, make it the probability.
        pair = keras.layers.ZeroPadding1D((1, 0))(keras.layers.Reshape((1, 1))(logit))
        self._whole = keras.Model(network.inputs, keras.layers.Flatten()(pair))
        # It would draw a progress bar for the run over the channels.
        self._whole.predict = partial(self._whole.predict, verbose=0)
        self._channels = min(SCORECAM_CHANNELS, int(activations.shape[-1]))
        self._lock = threading.Lock()
        self._kept: dict[str, Callable[..., Any]] = {}

    def coarse_map(
        self, method: str, film: NDArray[np.float32], activations: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the map (h, w) on the network's own grid, in [0, 1] with its maximum at 1.

        `film` is the model input (1, H, W, 1), `activations` (1, h, w, C) what the last spatial
        layer made of it. Where nothing spoke for pneumonia the map is all zero. Raises ValueError
        for an unknown method.
        """
        if method not in METHODS:
            raise ValueError(f"The methods are {', '.join(METHODS)}. Received: {method!r}")
        with self._lock:
            if method not in self._kept:
                self._kept[method] = self._visualiser(method)
            seed = film if method == "scorecam" else activations
            raw = np.asarray(self._kept[method](seed_input=seed), dtype=np.float32)[0]
        positive = np.maximum(np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
        top = float(positive.max())
        return positive / top if top > 0 else np.zeros_like(positive)

    def _visualiser(self, method: str) -> Callable[..., Any]:
        from tf_keras_vis.gradcam import Gradcam
        from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
        from tf_keras_vis.layercam import Layercam
        from tf_keras_vis.scorecam import Scorecam

        plain = {"expand_cam": False, "normalize_cam": False}
        if method == "scorecam":
            return partial(
                Scorecam(self._whole),
                _pneumonia_of_two,
                penultimate_layer=self.layer,
                seek_penultimate_conv_layer=False,
                max_N=self._channels,
                **plain,
            )
        kinds = {"gradcam": Gradcam, "gradcam++": GradcamPlusPlus, "layercam": Layercam}
        return partial(
            kinds[method](self._head),
            _logit,
            penultimate_layer=self._head.layers[0],
            seek_penultimate_conv_layer=False,
            **plain,
        )


def _logit(output: Any) -> Any:
    return output[:, 0]


def _pneumonia_of_two(output: Any) -> Any:
    return output[:, 1]


def on_film(coarse: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map (h, w) as smooth float32 (H, W) in [0, 1] on the film's own pixels.

    The network sees the film squashed to its input size, so each direction stretches on its own.
    """
    image = Image.fromarray(np.ascontiguousarray(coarse, dtype=np.float32))
    resized = image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(resized, dtype=np.float32), 0.0, 1.0)


def border_share(heatmap: NDArray[np.float32], band: float = BORDER_BAND) -> float:
    """Return the share in [0, 1] of a map's energy that lies in the outer `band` on each side.

    An even map has 1 - (1 - 2 band)^2 there, 36% for a band of 10%. An empty map has 0.
    """
    total = float(heatmap.sum(dtype=np.float64))
    if total <= 0:
        return 0.0
    height, width = heatmap.shape
    rows, columns = round(height * band), round(width * band)
    inner = heatmap[rows : height - rows, columns : width - columns]
    return 1.0 - float(inner.sum(dtype=np.float64)) / total
