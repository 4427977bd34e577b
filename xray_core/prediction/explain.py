"""Class-activation maps: which areas of an image raised the network's score for pneumonia.

Every map is of the logit, the log-odds of pneumonia, for every verdict: where no pneumonia is
detected it shows which areas contributed most to the pneumonia score. It does not outline disease.
Grad-CAM is implemented here and computed for every image, as one of the cautions needs it. The
other methods are those of tf-keras-vis.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xray_core.model.lungs import Mask

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
"""Channels used by Score-CAM, those that vary most over the image: one forward pass each."""


def check_method(method: str) -> None:
    """Raise ValueError unless `method` is one of METHODS."""
    if method not in METHODS:
        raise ValueError(f"The methods are {', '.join(METHODS)}. Received: {method!r}")


class GradCam:
    """Grad-CAM of the logit for whole batches, from the activations of the last spatial layer.

    The weight of a channel is the mean gradient of the logit over that channel's activations. Where
    the logit is a dense unit on globally averaged activations (with or without dropout), that
    gradient is the weight of the unit divided by h x w, the same for every image. For any other
    head the gradient is computed, through the head only.

    Parameters
    ----------
    network
        A network of `xray_core.model.architectures`.

    References
    ----------
    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization", ICCV 2017.
    """

    def __init__(self, network: "keras.Model") -> None:
        from xray_core.model.architectures import last_spatial_layer

        self.layer = last_spatial_layer(network)
        kernel = _linear_head(network, self.layer)
        # Activations -> weights (N, C), or (1, C) where they are the same for all images.
        self._weights: Callable[..., NDArray[np.float32]]
        if kernel is None:
            self._weights = _channel_gradient(network, self.layer)
        else:
            self._weights = lambda _: kernel[np.newaxis]

    def coarse_maps(self, activations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maps (N, h, w) of activations (N, h, w, C), each scaled to [0, 1]."""
        return _weighted_maps(activations, self._weights(activations))


class LinearGradCam:
    """Grad-CAM where the logit is a dense unit on averaged activations, without the network.

    Parameters
    ----------
    weights
        float32 (C,): the weights of the unit.
    """

    def __init__(self, weights: NDArray[np.float32]) -> None:
        self._weights = weights[np.newaxis]

    def coarse_maps(self, activations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the same maps as `GradCam.coarse_maps`."""
        return _weighted_maps(activations, self._weights)


def _weighted_maps(
    activations: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the maps (N, h, w) of activations (N, h, w, C) by weights (N or 1, C)."""
    with np.errstate(over="ignore", invalid="ignore"):
        # On one thread, for the reason given in `model.engine.product`.
        # (N, h, w, C), (N or 1, C) -> (N, h, w)
        raw = np.einsum("nhwc,nc->nhw", activations, weights)
    return np.stack([scale_to_maximum(one) for one in raw])


def _linear_head(network: "keras.Model", layer: str) -> NDArray[np.float32] | None:
    """Return the weights (C,) of a dense logit on averaged activations, None for other heads."""
    import keras

    logit = network.get_layer("logit")
    if not isinstance(logit, keras.layers.Dense) or logit.units != 1:
        return None
    if logit.activation is not keras.activations.linear:
        return None
    layer_before = _input_layer(logit)
    while isinstance(layer_before, keras.layers.Dropout):
        layer_before = _input_layer(layer_before)
    is_average = isinstance(layer_before, keras.layers.GlobalAveragePooling2D)
    if not is_average or _input_layer(layer_before) is not network.get_layer(layer):
        return None
    return np.asarray(logit.get_weights()[0][:, 0], dtype=np.float32)


def _input_layer(layer: Any) -> Any:
    """Return the layer that feeds a layer with a single input."""
    return layer.input._keras_history.operation


def _channel_gradient(network: "keras.Model", layer: str) -> Callable[..., NDArray[np.float32]]:
    """Return a function: activations (N, h, w, C) -> mean gradient of the logit (N, C).

    It is traced here for all N, so that threads do not trace at the same time.
    """
    import keras
    import tensorflow as tf

    head = keras.Model(network.get_layer(layer).output, network.get_layer("logit").output)

    def mean_gradient(activations: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(activations)
            logit = head(activations, training=False)  # (N, 1)
        return tf.reduce_mean(tape.gradient(logit, activations), axis=(1, 2))

    signature = tf.TensorSpec((None, *head.input_shape[1:]), tf.float32)
    traced = tf.function(mean_gradient, autograph=False).get_concrete_function(signature)
    return lambda activations: traced(tf.constant(activations)).numpy()


def scale_to_maximum(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the positive part of a map (h, w), divided by its maximum.

    A map without positive values becomes zero. Values that are not finite count as zero.
    """
    positive = np.maximum(np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
    top = float(positive.max())
    return (positive / (top if top > 0 else 1.0)).astype(np.float32)


class Explainer:
    """Class-activation maps of one network, by every method of METHODS; safe to use from threads.

    Grad-CAM++ and Layer-CAM use only the part of the network after its last spatial layer, with the
    activations of the forward pass that predicted. Score-CAM runs the whole network again. The
    objects of tf-keras-vis are created once and hold state, so one map is computed at a time.

    Parameters
    ----------
    network
        A network of `xray_core.model.architectures`.

    References
    ----------
    Chattopadhay et al., "Grad-CAM++", WACV 2018. Wang et al., "Score-CAM", CVPR Workshops 2020.
    Jiang et al., "LayerCAM", IEEE Transactions on Image Processing 30, 2021.
    """

    def __init__(self, network: "keras.Model") -> None:
        import keras

        self.gradcam = GradCam(network)
        self.layer = self.gradcam.layer
        activations = network.get_layer(self.layer).output  # (B, h, w, C)
        logit = network.get_layer("logit").output
        self._head = keras.Model(activations, logit)
        # For Score-CAM tf-keras-vis applies a softmax to the outputs, which is 1 for a single unit.
        # Of the two units 0 and the logit, it is the probability.
        pair = keras.layers.ZeroPadding1D((1, 0))(keras.layers.Reshape((1, 1))(logit))
        self._whole = keras.Model(network.inputs, keras.layers.Flatten()(pair))
        # Without a progress bar for the run over the channels.
        self._whole.predict = partial(self._whole.predict, verbose=0)
        self._channels = min(SCORECAM_CHANNELS, int(activations.shape[-1]))
        self._lock = threading.Lock()
        self._visualisers: dict[str, Callable[..., Any]] = {}

    def coarse_map(
        self, method: str, image: NDArray[np.float32], activations: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the map of one image on the grid of the network's last spatial layer.

        Parameters
        ----------
        method
            One of METHODS.
        image
            The classifier's input, float32 (1, H, W, 1).
        activations
            The output of the last spatial layer for it, float32 (1, h, w, C).

        Returns
        -------
        numpy.ndarray
            float32 (h, w) in [0, 1] with a maximum of 1; all zero where no area raised the score.

        Raises
        ------
        ValueError
            The method is unknown.
        """
        check_method(method)
        if method == "gradcam":
            return self.gradcam.coarse_maps(activations)[0]
        with self._lock:
            if method not in self._visualisers:
                self._visualisers[method] = self._visualiser(method)
            seed = image if method == "scorecam" else activations
            raw = np.asarray(self._visualisers[method](seed_input=seed), dtype=np.float32)[0]
        return scale_to_maximum(raw)

    def _visualiser(self, method: str) -> Callable[..., Any]:
        from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
        from tf_keras_vis.layercam import Layercam
        from tf_keras_vis.scorecam import Scorecam

        options = {"expand_cam": False, "normalize_cam": False}
        if method == "scorecam":
            return partial(
                Scorecam(self._whole),
                _second_output,
                penultimate_layer=self.layer,
                seek_penultimate_conv_layer=False,
                max_N=self._channels,
                **options,
            )
        classes = {"gradcam++": GradcamPlusPlus, "layercam": Layercam}
        return partial(
            classes[method](self._head),
            _first_output,
            penultimate_layer=self._head.layers[0],
            seek_penultimate_conv_layer=False,
            **options,
        )


def _first_output(output: Any) -> Any:
    return output[:, 0]


def _second_output(output: Any) -> Any:
    return output[:, 1]


def share_inside(heatmap: NDArray[np.float32], mask: Mask) -> float | None:
    """Return the share of a map's sum that lies inside a mask of the same size.

    Parameters
    ----------
    heatmap
        float32 (H, W), not negative.
    mask
        bool (H, W).

    Returns
    -------
    float or None
        In [0, 1]; None for an empty map.
    """
    total = float(heatmap.sum(dtype=np.float64))
    return float(heatmap[mask].sum(dtype=np.float64)) / total if total > 0 else None
