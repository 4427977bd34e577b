"""From an image to a result: a `Predictor` holds a trained model and returns a `Prediction`.

The lung network finds the lungs, and the image is cropped to them where the recipe asks for it. One
forward pass then gives the features for the input check, the logit for the probability, and the
activations for a map. The Grad-CAM map is computed for every image, as one of the cautions needs
it: an image has the same reasons with and without a requested map.
"""

import math
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import BundleError
from xray_core.imaging.pixels import to_model_input
from xray_core.imaging.radiograph import Radiograph, read_radiograph
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.engine import Engine, choose_engine, compile_graph, trace
from xray_core.model.gate import Gate
from xray_core.model.lung_crop import (
    UNCROPPED,
    LungCrop,
    classifier_crop,
    classifier_input,
    resize_map,
)
from xray_core.model.lungs import LungSegmenter, Mask
from xray_core.model.neighbours import NearestImages, Neighbours
from xray_core.model.openvino_network import Graph
from xray_core.model.upright import UprightCheck
from xray_core.prediction import wording
from xray_core.prediction.explain import (
    Explainer,
    GradCam,
    LinearGradCam,
    check_method,
    share_inside,
)
from xray_core.prediction.inputs import (
    PreparedInput,
    Source,
    prepare_input,
    prepare_input_or_reason,
)
from xray_core.prediction.orientation import describe_fault, suggest_correction
from xray_core.prediction.result import FloatArray, Prediction

if TYPE_CHECKING:
    import keras

NOT_FINITE = (
    "The model gave no valid number for this image, so it was not analysed. Another model may be "
    "able to analyse it."
)


class _Pass(NamedTuple):
    """The outputs of the networks for N images."""

    masks: list[Mask] | list[None]  # the lungs, (224, 224) each; None without a lung network
    inputs: FloatArray  # (N, 224, 224, 1), cropped where the recipe asks for it
    features: FloatArray  # (N, D)
    logit: FloatArray  # (N,)
    activations: FloatArray  # (N, h, w, C)


class Predictor:
    """A trained model, ready to predict; safe to use from several threads at once.

    `load` creates one from a bundle. `model` is its name and version, `engine` what runs it.

    Parameters
    ----------
    bundle, gate, neighbours, lungs
        The parts of the model.
    network
        The Keras model; None if OpenVINO runs the graph.
    graph
        The OpenVINO model; None if TensorFlow runs the network.
    """

    def __init__(
        self,
        bundle: Bundle,
        network: "keras.Model | None",
        gate: Gate,
        neighbours: Neighbours,
        lungs: LungSegmenter | None = None,
        upright: UprightCheck | None = None,
        *,
        graph: Graph | None = None,
    ) -> None:
        if lungs is None and bundle.recipe.lung_margin > 0:
            raise BundleError(
                f"The model {bundle.name} crops images to the lungs and has no lung network: "
                "download it again or train it again."
            )
        self.bundle = bundle
        self.gate = gate
        self.neighbours = neighbours
        self.lungs = lungs
        self.upright = upright
        self.calibration = bundle.calibration
        self.model = f"{bundle.name} {bundle.version}"
        self._explainer: Explainer | None = None
        self._network = network
        self._network_lock = threading.Lock()
        self._explainer_lock = threading.Lock()
        self.engine: Engine = "tensorflow" if graph is None else "openvino"
        self._forward = _compiled(self.network) if graph is None else compile_graph(graph.model)
        # Other heads need the gradient, which OpenVINO does not compute.
        self._gradcam: GradCam | LinearGradCam = (
            GradCam(self.network)
            if graph is None or graph.linear_head is None
            else LinearGradCam(graph.linear_head)
        )

    @classmethod
    def load(cls, path: str | Path = "models/resnet50", engine: str = "auto") -> "Predictor":
        """Load a trained model.

        This takes about a second with OpenVINO. With TensorFlow, and for models whose logit is not
        linear in the last feature maps, it takes several, as Keras is imported.

        Parameters
        ----------
        path
            The folder of the bundle.
        engine
            What runs the networks: "openvino", "tensorflow", or "auto", which is OpenVINO where it
            is installed. The results are the same.

        Raises
        ------
        MissingPackage
            The engine "openvino" is requested and not installed.
        ValueError
            There is no such engine.
        BundleError
            The bundle is missing, incomplete or changed, or has no lung network though its recipe
            crops images to the lungs.
        """
        chosen = choose_engine(engine)
        bundle = open_bundle(path)
        network = graph = None
        if chosen == "openvino":
            graph = bundle.load_graph()
            width = graph.feature_count
        else:
            network = bundle.load_network()
            width = network.get_layer("features").output.shape[-1]
        gate, neighbours = Gate.load(bundle.gate_file), Neighbours.load(bundle.neighbours_file)
        file = bundle.upright_file
        upright = None if file is None else UprightCheck.load(file)
        sizes = {gate.mean.size, neighbours.mean.size, width}
        if len(sizes | ({upright.weight.size} if upright else set())) > 1:
            raise BundleError(
                f"The parts of the model {bundle.name} do not fit one another: train it again."
            )
        lungs = bundle.load_lungs(chosen)
        return cls(bundle, network, gate, neighbours, lungs, upright, graph=graph)

    @property
    def network(self) -> "keras.Model":
        """The Keras model; with OpenVINO it is loaded on first use, which takes seconds.

        Raises
        ------
        BundleError
            As `Bundle.load_network` does.
        """
        with self._network_lock:
            if self._network is None:
                self._network = self.bundle.load_network()
            return self._network

    def model_input(self, source: Source) -> FloatArray:
        """Return the model input of the whole image, float32 (224, 224, 1) in [0, 255]."""
        radiograph = source if isinstance(source, Radiograph) else read_radiograph(source)
        return to_model_input(radiograph)

    def classifier_inputs(self, images: FloatArray) -> FloatArray:
        """Return what the classifier gets of whole model inputs, both (N, 224, 224, 1).

        The images are cropped to the lungs where the recipe asks for it.
        """
        return self._run(images).inputs

    def logits(self, inputs: FloatArray) -> FloatArray:
        """Return the logits (N,) of classifier inputs (N, 224, 224, 1)."""
        return self._classify(inputs)[1]

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
        if explain is not None:
            check_method(explain)
        prepared = prepare_input(source)
        if prepared.is_ruled_out:
            return self._refused(prepared.refusals, prepared)
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
            else self._refused(item.refusals, item)
            if item.is_ruled_out
            else next(predictions)
            for item in batch
        ]

    def _run(self, images: FloatArray) -> _Pass:
        """Find the lungs in whole images (N, 224, 224, 1), crop them, and run the classifier."""
        if self.lungs is None:
            return _Pass([None] * len(images), images, *self._classify(images))
        masks = self.lungs.masks(images)
        recipe = self.bundle.recipe
        inputs = np.stack(
            [
                classifier_input(image, mask, recipe)
                for image, mask in zip(images, masks, strict=True)
            ]
        )
        return _Pass(masks, inputs, *self._classify(inputs))

    def _classify(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(N, 224, 224, 1) -> features (N, D), logit (N,), activations (N, h, w, C)."""
        features, logit, activations = self._forward(inputs)
        return features, logit[:, 0], activations

    def _assess_batch(self, inputs: list[PreparedInput], outputs: _Pass) -> list[Prediction]:
        distances = self.gate.squared_distance(outputs.features)
        upside_down = self._upside_down(outputs.features)
        nearest = self.neighbours.nearest(outputs.features)
        maps = self._gradcam.coarse_maps(outputs.activations)
        return [
            self._assess(prepared, mask, float(logit), float(distance), *others)
            for prepared, mask, logit, distance, *others in zip(
                inputs,
                outputs.masks,
                outputs.logit,
                distances,
                map(bool, upside_down),
                nearest,
                maps,
                strict=True,
            )
        ]

    def _assess(
        self,
        prepared: PreparedInput,
        mask: Mask | None,
        logit: float,
        distance: float,
        upside_down: bool,
        neighbours: NearestImages,
        coarse: FloatArray,
    ) -> Prediction:
        if not (math.isfinite(logit) and math.isfinite(distance)):
            return self._refused(prepared.refusals or (NOT_FINITE,), prepared)
        refusals = prepared.refusals or self._refusals(mask, distance)
        outcome = "refused" if refusals else self.gate.outcome(distance)
        relative = None if prepared.refusals else distance / self.gate.caution
        config, rule = self.bundle.config, self.bundle.unlike_rule
        correction = suggest_correction(
            prepared.image,
            prepared.inner,
            prepared.content,
            distance,
            outcome,
            self.gate,
            self._distances,
            upside_down=upside_down,
        )
        if outcome == "refused" or (correction is not None and correction.is_turned):
            reasons = refusals if correction is None else (describe_fault(correction),)
            return replace(
                self._refused(reasons, prepared),
                gate_distance=relative,
                correction=correction,
                logit=logit,
            )
        probability = float(self.calibration.probability(logit))
        verdict = at_home = self.calibration.verdict(probability)
        if rule is not None:
            verdict = rule.verdict(probability, distance / self.gate.caution, self.calibration)
        unlike = (
            rule is not None
            and verdict == "UNCERTAIN"
            and (outcome == "caution" or at_home != "UNCERTAIN")
        )
        image_cautions = wording.image_cautions(
            prepared.radiograph, outcome, has_border=correction is not None
        )
        map_in_lungs = self._share_in_lungs(coarse, mask)
        result_cautions = wording.result_cautions(
            verdict, probability, neighbours, map_in_lungs, config
        )
        return Prediction(
            probability=probability,
            verdict=verdict,
            reasons=(*image_cautions, *result_cautions),
            sentence=wording.explain_result(
                verdict,
                probability,
                self.calibration,
                wording.count_below_exclusion(config),
                unlike=unlike,
            ),
            accuracy_applies=not image_cautions and not unlike,
            lung_mask=mask,
            map_in_lungs=map_in_lungs,
            image_shape=prepared.shape,
            prior=self.calibration.prior,
            model=self.model,
            logit=logit,
            gate=outcome,
            gate_distance=relative,
            correction=correction,
            neighbours=neighbours,
            unlike=unlike,
            adjustment=prepared.radiograph.adjustment.sentence,
        )

    def _refused(self, reasons: tuple[str, ...], prepared: PreparedInput) -> Prediction:
        return Prediction(
            None,
            "REFUSED",
            reasons,
            model=self.model,
            gate="refused",
            adjustment=prepared.radiograph.adjustment.sentence,
        )

    def _refusals(self, mask: Mask | None, distance: float) -> tuple[str, ...]:
        """Return why the networks refuse an image whose pixels were accepted, () if they do not."""
        if self.gate.outcome(distance) == "refused":
            return (wording.NOT_A_CHEST_IMAGE,)
        return () if self._are_plausible(mask) else (wording.NO_LUNGS,)

    def _are_plausible(self, mask: Mask | None) -> bool:
        """Tell whether two plausible lung fields were found; True without a lung network."""
        return self.lungs is None or mask is None or self.lungs.has_plausible_lungs(mask)

    def _share_in_lungs(self, coarse: FloatArray, mask: Mask | None) -> float | None:
        """Return the share of a map (h, w) inside the lungs, at the size of the model input."""
        if mask is None:
            return None
        return share_inside(resize_map(coarse, mask.shape, self._crop(mask)), mask)

    def _crop(self, mask: Mask | None) -> LungCrop:
        """Return the part of the image that the classifier gets."""
        return UNCROPPED if mask is None else classifier_crop(mask, self.bundle.recipe)

    def _upside_down(self, features: FloatArray) -> NDArray[np.bool_]:
        """Tell which images (N,) look upside down; none for a model without the check."""
        if self.upright is None:
            return np.zeros(len(features), bool)
        return self.upright.is_upside_down(features)

    def _distances(self, images: FloatArray) -> NDArray[np.float64]:
        """Return the squared distances (N,) of whole images (N, 224, 224, 1) to training images.

        They are infinite for images without two plausible lung fields, or upside down.
        """
        outputs = self._run(images)
        plausible = [self._are_plausible(mask) for mask in outputs.masks]
        accepted = np.asarray(plausible, bool) & ~self._upside_down(outputs.features)
        return np.where(accepted, self.gate.squared_distance(outputs.features), np.inf)

    def _map(self, method: str, prepared: PreparedInput, outputs: _Pass) -> FloatArray:
        check_method(method)
        if method == "gradcam":
            coarse = self._gradcam.coarse_maps(outputs.activations)[0]
        else:
            with self._explainer_lock:
                if self._explainer is None:
                    self._explainer = Explainer(self.network)
            coarse = self._explainer.coarse_map(method, outputs.inputs, outputs.activations)
        return resize_map(coarse, prepared.shape, self._crop(outputs.masks[0]))


def _compiled(network: "keras.Model") -> Any:
    """Return the network as a function: (N, H, W, 1) -> features, logit, last activations."""
    import keras

    from xray_core.model.architectures import last_spatial_layer

    names = ("features", "logit", last_spatial_layer(network))
    return trace(keras.Model(network.inputs, [network.get_layer(name).output for name in names]))
