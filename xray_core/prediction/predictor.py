"""From an image to a result: `Predictor` holds a trained model and gives a `Prediction`.

One forward pass gives the features that the gate judges, the logit that becomes the probability,
and the activations that a map is drawn from. The Grad-CAM map is computed for every image, as a
caution rests on it, so that an image has the same reasons whether or not a map is asked for.
"""

import math
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import BundleError
from xray_core.imaging.pixels import to_model_input
from xray_core.labels import SHOWN_AS, Verdict
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.calibration import PRIOR, shift_prior
from xray_core.model.gate import Gate, Outcome
from xray_core.model.neighbours import NearestImages, Neighbours
from xray_core.prediction import wording
from xray_core.prediction.explain import METHODS, Explainer, GradCam, border_share, on_image
from xray_core.prediction.inputs import (
    PreparedInput,
    Source,
    as_radiograph,
    prepare_input,
    prepare_input_or_reason,
)
from xray_core.prediction.orientation import Correction, suggest

if TYPE_CHECKING:
    import keras

FloatArray = NDArray[np.float32]

NOT_FINITE = (
    "The model did not give a valid number for this image, so the image was not analysed. Another "
    "model may analyse it."
)


@dataclass(frozen=True)
class Prediction:
    """What the model says about one image.

    `probability` of pneumonia in [0, 1], calibrated; None if refused or unreadable.
    `reasons` are sentences: why the image was refused or unreadable, else what to be careful about,
    in the order in which they are shown. They do not depend on `heatmap` or `method`.
    `sentence` explains the result, "" where `reasons` do; `shown_as` is the result in words.
    `accuracy_applies` tells whether the accuracy on the test set says anything of this image: it
    passed the input check, and no caution concerns the image itself.
    `prior` is the share of pneumonia at which `probability` is stated.
    `heatmap` is float32 (H, W) in [0, 1] on the image's own pixels, None where none was asked for,
    and all zero where no area spoke for pneumonia; `map_note` says what it shows.
    `model` is the model's name and version. `logit` is the network's own log-odds.
    `gate` is None only for an unreadable file; `gate_distance` is the squared distance to the
    training images in units of the one where cautions begin (None where the pixels sufficed).
    `suggestion` says how to put right an image that seems to lie on its side, to be inverted or to
    have a frame around it. One that only has a frame may be answered all the same.
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
        return SHOWN_AS[self.verdict]

    def post_test(self, pre_test: float) -> float | None:
        """Return the probability of pneumonia where it was `pre_test`, in (0, 1), before the image.

        None where there is no probability.
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
    """A trained model, ready to answer; safe to be asked from several threads at once."""

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
        """Load the bundle in the folder `path`; takes seconds, as Keras is imported here.

        Raises BundleError for a bundle that is missing, incomplete or changed.
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
        """Return exactly what the network is given for an image: float32 (224, 224, 1)."""
        return to_model_input(as_radiograph(source))

    def predict(self, source: Source, *, explain: str | None = None) -> Prediction:
        """Predict one image: a path, bytes, a file object or a `Radiograph` already read.

        With `explain`, one of METHODS, the prediction has a map. Raises UnreadableImage for what
        cannot be read, and ValueError for an unknown method.
        """
        if explain is not None and explain not in METHODS:
            raise ValueError(f"The methods are {', '.join(METHODS)}. Received: {explain!r}")
        prepared = prepare_input(source)
        if prepared.is_ruled_out:
            return self._refused(prepared.refusals)
        outputs = self._run(prepared.image[np.newaxis])
        prediction = self._assess([prepared], outputs)[0]
        if explain is None or prediction.verdict == "REFUSED":
            return prediction
        heatmap = self._map(explain, prepared, outputs)
        return replace(
            prediction,
            heatmap=heatmap,
            method=explain,
            map_note=wording.what_the_map_shows(prediction.verdict, heatmap),
        )

    def explain(self, source: Source, method: str) -> FloatArray:
        """Return the map of one image, float32 (H, W) in [0, 1], whatever the gate says of it.

        The map is of the logit for every verdict: what raised the score for pneumonia. Raises as
        `predict` does.
        """
        prepared = prepare_input(source)
        return self._map(method, prepared, self._run(prepared.image[np.newaxis]))

    def predict_many(self, sources: Iterable[Source], batch_size: int = 32) -> Iterator[Prediction]:
        """Predict images one after the other, in order, without maps.

        What cannot be read is yielded with the verdict "UNREADABLE" and its reason. Memory holds
        two batches of model inputs, whatever the images' own sizes; the next batch is read while
        the network runs.
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
        images = [
            image for image in batch if isinstance(image, PreparedInput) and not image.is_ruled_out
        ]
        judged: Iterator[Prediction] = iter(())
        if images:
            outputs = self._run(np.stack([image.image for image in images]))
            judged = iter(self._assess(images, outputs))
        return [
            Prediction(None, "UNREADABLE", (image,), model=self.model)
            if isinstance(image, str)
            else self._refused(image.refusals)
            if image.is_ruled_out
            else next(judged)
            for image in batch
        ]

    def _run(self, images: FloatArray) -> _Pass:
        """(N, 224, 224, 1) -> features (N, D), logit (N,), activations (N, h, w, C)."""
        features, logit, activations = self._forward(images)
        return _Pass(features.numpy(), logit.numpy()[:, 0], activations.numpy())

    def _assess(self, images: list[PreparedInput], outputs: _Pass) -> list[Prediction]:
        distances = self.gate.squared_distance(outputs.features)
        nearest = self.neighbours.nearest(outputs.features)
        maps = self._gradcam.coarse_maps(outputs.activations)
        return [
            self._answer(image, float(logit), float(distance), neighbours, coarse)
            for image, logit, distance, neighbours, coarse in zip(
                images, outputs.logit, distances, nearest, maps, strict=True
            )
        ]

    def _answer(
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
        correction = suggest(
            prepared.image, prepared.inner, distance, outcome, self.gate, self._distances
        )
        if outcome == "refused" or (correction is not None and correction.turns):
            reasons = prepared.refusals or (wording.NOT_A_CHEST_IMAGE,)
            if correction is not None:
                reasons = (correction.sentence,)
            return replace(
                self._refused(reasons), gate_distance=relative, correction=correction, logit=logit
            )
        probability = float(self.calibration.probability(logit))
        verdict: Verdict = self.calibration.verdict(probability)
        config = self.bundle.config
        of_image = wording.image_cautions(
            prepared.radiograph, outcome, framed=correction is not None
        )
        # On the grid of the model input, on which the limit was measured.
        at_border = border_share(on_image(coarse, prepared.image.shape[:2]))
        of_result = wording.result_cautions(verdict, probability, neighbours, at_border, config)
        return Prediction(
            probability=probability,
            verdict=verdict,
            reasons=(*of_image, *of_result),
            sentence=wording.sentence(
                verdict, probability, self.calibration, wording.below_exclusion(config)
            ),
            accuracy_applies=not of_image,
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
        return on_image(coarse, prepared.shape)


def _compiled(network: "keras.Model") -> Any:
    """Return the network as a function of (N, H, W, 1), traced once for every N.

    A call of the Keras model itself runs layer by layer, at a third of the speed; `predict` costs
    more than the network for a single image; and tracing here rather than on first use keeps
    threads from tracing at once.
    """
    import keras
    import tensorflow as tf

    from xray_core.model.architectures import last_spatial_layer

    names = ("features", "logit", last_spatial_layer(network))
    whole = keras.Model(network.inputs, [network.get_layer(name).output for name in names])
    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
    # Without autograph, which would write its own code to the temporary folder.
    passes = tf.function(lambda images: whole(images, training=False), autograph=False)
    traced = passes.get_concrete_function(signature)
    return lambda images: traced(tf.constant(images))
