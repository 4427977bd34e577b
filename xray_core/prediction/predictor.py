"""From an image to a result: a `Predictor` holds a trained model and returns a `Prediction`.

One forward pass gives the features for the input check, the logit for the probability, and the
activations for a map. The Grad-CAM map is computed for every image, as one of the cautions needs
it: an image has the same reasons with and without a requested map.
"""

import math
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import BundleError
from xray_core.imaging.radiograph import Radiograph, read_radiograph, to_model_input
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.calibration import PRIOR, shift_prior
from xray_core.model.gate import Gate, Outcome
from xray_core.model.neighbours import NearestImages, Neighbours
from xray_core.prediction import wording
from xray_core.prediction.explain import METHODS, Explainer, GradCam, border_share, resize_map
from xray_core.prediction.inputs import (
    PreparedInput,
    Source,
    prepare_input,
    prepare_input_or_reason,
)
from xray_core.prediction.orientation import Correction, suggest_correction

if TYPE_CHECKING:
    import keras

Verdict = Literal["NORMAL", "PNEUMONIA", "UNCERTAIN", "REFUSED", "UNREADABLE"]
FloatArray = NDArray[np.float32]

NOT_FINITE = (
    "The model gave no valid number for this image, so it was not analysed. Another model may be "
    "able to analyse it."
)


@dataclass(frozen=True)
class Prediction:
    """The result of one image.

    Attributes
    ----------
    probability
        Calibrated probability of pneumonia in [0, 1]; None if refused or unreadable.
    verdict
        The result.
    reasons
        Sentences in the order in which they are shown: the reasons why the image was refused or is
        unreadable, or the cautions. They do not depend on `heatmap` or `method`.
    sentence
        The result explained, "" for a refused or unreadable image.
    accuracy_applies
        Whether the accuracy on the test set applies: the image passed the input check, and no
        caution concerns the image itself.
    heatmap
        The map, float32 (H, W) in [0, 1] at the size of the image; all zero where no area raised
        the score. None if it was not requested, or the image was refused.
    model
        Name and version of the model.
    logit
        Log-odds of pneumonia as the network gives them, not calibrated.
    gate
        Outcome of the input check; None only for an unreadable file.
    gate_distance
        Squared distance to the training images, 1 where cautions begin; None if the pixels alone
        were refused.
    correction
        The suggested correction of an image that appears rotated or inverted, or has a border. An
        image that only has a border may have a probability too.
    neighbours
        The most similar training images; None if refused or unreadable.
    method
        Method of the map, one of `xray_core.prediction.explain.METHODS`.
    map_note
        A sentence on what the map shows.
    prior
        The pre-test probability at which `probability` is stated.
    """

    probability: float | None
    verdict: Verdict
    reasons: tuple[str, ...]
    sentence: str = ""
    accuracy_applies: bool = False
    heatmap: FloatArray | None = field(default=None, compare=False, repr=False)
    model: str = ""
    logit: float | None = None
    gate: Outcome | None = None
    gate_distance: float | None = None
    correction: Correction | None = None
    neighbours: NearestImages | None = None
    method: str | None = None
    map_note: str | None = None
    prior: float = PRIOR

    @property
    def shown_as(self) -> str:
        """The result in words, as page, PDF and tables show it."""
        return wording.SHOWN_AS[self.verdict]

    def post_test(self, pre_test: float) -> float | None:
        """Return the post-test probability of pneumonia.

        Parameters
        ----------
        pre_test
            The pre-test probability in (0, 1).

        Returns
        -------
        float or None
            In [0, 1]; None if the prediction has no probability.
        """
        if self.probability is None:
            return None
        shifted = shift_prior(np.asarray(self.probability), source=self.prior, target=pre_test)
        return float(shifted)


class _Pass(NamedTuple):
    """The outputs of one forward pass over N images."""

    features: FloatArray  # (N, D)
    logit: FloatArray  # (N,)
    activations: FloatArray  # (N, h, w, C)


class Predictor:
    """A trained model, ready to predict; safe to use from several threads at once.

    `load` creates one from a bundle. `network` is the Keras model, `model` its name and version.
    """

    def __init__(
        self,
        bundle: Bundle,
        network: "keras.Model",
        gate: Gate,
        neighbours: Neighbours,
    ) -> None:
        self.bundle = bundle
        self.network = network
        self.gate = gate
        self.neighbours = neighbours
        self.calibration = bundle.calibration
        self.model = f"{bundle.name} {bundle.version}"
        self._explainer: Explainer | None = None
        self._explainer_lock = threading.Lock()
        self._forward = _compiled(network)
        self._gradcam = GradCam(network)

    @classmethod
    def load(cls, path: str | Path = "models/resnet50") -> "Predictor":
        """Load a trained model; takes seconds, as Keras is imported here.

        Parameters
        ----------
        path
            The folder of the bundle.

        Raises
        ------
        BundleError
            The bundle is missing, incomplete or changed.
        """
        bundle = open_bundle(path)
        network = bundle.load_network()
        gate, neighbours = Gate.load(bundle.gate_file), Neighbours.load(bundle.neighbours_file)
        width = network.get_layer("features").output.shape[-1]
        if not gate.mean.size == neighbours.mean.size == width:
            raise BundleError(
                f"The parts of the model {bundle.name} do not fit one another: train it again."
            )
        return cls(bundle, network, gate, neighbours)

    def model_input(self, source: Source) -> FloatArray:
        """Return the model input of an image, float32 (224, 224, 1) in [0, 255]."""
        radiograph = source if isinstance(source, Radiograph) else read_radiograph(source)
        return to_model_input(radiograph)

    def predict(self, source: Source | PreparedInput, *, explain: str | None = None) -> Prediction:
        """Predict one image.

        Parameters
        ----------
        source
            A path, bytes, a file object, a `Radiograph`, or its `PreparedInput`.
        explain
            Method of the map, one of `xray_core.prediction.explain.METHODS`; None for no map.

        Raises
        ------
        UnreadableImage
            The source cannot be read; the message is a sentence for the user.
        ValueError
            The method is unknown.
        """
        if explain is not None and explain not in METHODS:
            raise ValueError(f"The methods are {', '.join(METHODS)}. Received: {explain!r}")
        prepared = prepare_input(source)
        if prepared.is_ruled_out:
            return self._refused(prepared.refusals)
        outputs = self._run(prepared.image[np.newaxis])
        prediction = self._assess_batch([prepared], outputs)[0]
        if explain is None or prediction.verdict == "REFUSED":
            return prediction
        heatmap = self._map(explain, prepared, outputs)
        return replace(
            prediction,
            heatmap=heatmap,
            method=explain,
            map_note=wording.describe_map(prediction.verdict, heatmap),
        )

    def explain(self, source: Source, method: str) -> FloatArray:
        """Return the map of one image, whatever the outcome of the input check.

        Parameters
        ----------
        source
            As for `predict`.
        method
            One of `xray_core.prediction.explain.METHODS`.

        Returns
        -------
        numpy.ndarray
            float32 (H, W) in [0, 1] at the size of the image: the areas that raised the logit.

        Raises
        ------
        UnreadableImage, ValueError
            As `predict` does.
        """
        prepared = prepare_input(source)
        return self._map(method, prepared, self._run(prepared.image[np.newaxis]))

    def predict_many(self, sources: Iterable[Source], batch_size: int = 32) -> Iterator[Prediction]:
        """Predict many images in order, without maps.

        Memory holds two batches of model inputs, whatever the size of the images: the next batch is
        decoded while the network runs.

        Parameters
        ----------
        sources
            As for `predict`.
        batch_size
            Number of images in one forward pass.

        Yields
        ------
        Prediction
            One per source. A source that cannot be read has the verdict "UNREADABLE" and a reason.
        """
        with ThreadPoolExecutor(max_workers=2) as readers:
            waiting: list[Any] = []
            remaining = iter(sources)
            while chunk := list(islice(remaining, batch_size)):
                ahead = [readers.submit(prepare_input_or_reason, source) for source in chunk]
                yield from self._predict_batch([task.result() for task in waiting])
                waiting = ahead
            yield from self._predict_batch([task.result() for task in waiting])

    def _predict_batch(self, batch: list[PreparedInput | str]) -> list[Prediction]:
        inputs = [
            item for item in batch if isinstance(item, PreparedInput) and not item.is_ruled_out
        ]
        predictions: Iterator[Prediction] = iter(())
        if inputs:
            outputs = self._run(np.stack([prepared.image for prepared in inputs]))
            predictions = iter(self._assess_batch(inputs, outputs))
        return [
            Prediction(None, "UNREADABLE", (item,), model=self.model)
            if isinstance(item, str)
            else self._refused(item.refusals)
            if item.is_ruled_out
            else next(predictions)
            for item in batch
        ]

    def _run(self, images: FloatArray) -> _Pass:
        """(N, 224, 224, 1) -> features (N, D), logit (N,), activations (N, h, w, C)."""
        features, logit, activations = self._forward(images)
        return _Pass(features.numpy(), logit.numpy()[:, 0], activations.numpy())

    def _assess_batch(self, inputs: list[PreparedInput], outputs: _Pass) -> list[Prediction]:
        distances = self.gate.squared_distance(outputs.features)
        nearest = self.neighbours.nearest(outputs.features)
        maps = self._gradcam.coarse_maps(outputs.activations)
        return [
            self._assess(prepared, float(logit), float(distance), neighbours, coarse)
            for prepared, logit, distance, neighbours, coarse in zip(
                inputs, outputs.logit, distances, nearest, maps, strict=True
            )
        ]

    def _assess(
        self,
        prepared: PreparedInput,
        logit: float,
        distance: float,
        neighbours: NearestImages,
        coarse: FloatArray,
    ) -> Prediction:
        if not (math.isfinite(logit) and math.isfinite(distance)):
            return self._refused(prepared.refusals or (NOT_FINITE,))
        outcome = "refused" if prepared.refusals else self.gate.outcome(distance)
        relative = None if prepared.refusals else distance / self.gate.caution
        correction = suggest_correction(
            prepared.image, prepared.inner, distance, outcome, self.gate, self._distances
        )
        if outcome == "refused" or (correction is not None and correction.changes_orientation):
            reasons = prepared.refusals or (wording.NOT_A_CHEST_IMAGE,)
            if correction is not None:
                reasons = (correction.sentence,)
            return replace(
                self._refused(reasons), gate_distance=relative, correction=correction, logit=logit
            )
        probability = float(self.calibration.probability(logit))
        verdict: Verdict = self.calibration.verdict(probability)
        config = self.bundle.config
        image_cautions = wording.image_cautions(
            prepared.radiograph, outcome, has_border=correction is not None
        )
        # At the size of the model input, for which the limit was determined.
        at_border = border_share(resize_map(coarse, prepared.image.shape[:2]))
        result_cautions = wording.result_cautions(
            verdict, probability, neighbours, at_border, config
        )
        return Prediction(
            probability=probability,
            verdict=verdict,
            reasons=(*image_cautions, *result_cautions),
            sentence=wording.explain_result(
                verdict, probability, self.calibration, wording.count_below_exclusion(config)
            ),
            accuracy_applies=not image_cautions,
            prior=self.calibration.prior,
            model=self.model,
            logit=logit,
            gate=outcome,
            gate_distance=relative,
            correction=correction,
            neighbours=neighbours,
        )

    def _refused(self, reasons: tuple[str, ...]) -> Prediction:
        return Prediction(None, "REFUSED", reasons, model=self.model, gate="refused")

    def _distances(self, images: FloatArray) -> NDArray[np.float64]:
        """(N, 224, 224, 1) -> squared distances (N,) to the training images."""
        return self.gate.squared_distance(self._run(images).features)

    def _map(self, method: str, prepared: PreparedInput, outputs: _Pass) -> FloatArray:
        with self._explainer_lock:
            if self._explainer is None:
                self._explainer = Explainer(self.network)
        coarse = self._explainer.coarse_map(method, prepared.image[np.newaxis], outputs.activations)
        return resize_map(coarse, prepared.shape)


def _compiled(network: "keras.Model") -> Any:
    """Return the network as a function of (N, H, W, 1), traced once for all N.

    Calling the Keras model runs layer by layer, at a third of the speed, and `Model.predict` has a
    larger overhead than the network for a single image. Tracing here rather than on first use keeps
    threads from tracing at the same time.
    """
    import keras
    import tensorflow as tf

    from xray_core.model.architectures import last_spatial_layer

    names = ("features", "logit", last_spatial_layer(network))
    whole = keras.Model(network.inputs, [network.get_layer(name).output for name in names])
    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
    # Without autograph, which would write generated code to the temporary folder.
    forward = tf.function(lambda images: whole(images, training=False), autograph=False)
    traced = forward.get_concrete_function(signature)
    return lambda images: traced(tf.constant(images))
