"""Comparison of the engines: what OpenVINO changes in the results of TensorFlow."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from xray_core.prediction.inputs import Source
from xray_core.prediction.predictor import Predictor


class EngineComparison(NamedTuple):
    """Results of OpenVINO against those of TensorFlow on the same images.

    Attributes
    ----------
    images : int
        Number of images.
    with_logit : int
        Images for which both engines gave a logit.
    logit_difference : float
        Largest absolute difference of the logits.
    verdicts_changed : int
        Images with another verdict.
    """

    images: int
    with_logit: int
    logit_difference: float
    verdicts_changed: int


def compare_engines(folder: str | Path, sources: Sequence[Source]) -> EngineComparison:
    """Predict images with both engines and compare the results.

    Parameters
    ----------
    folder : str or Path
        The bundle of the model.
    sources : sequence
        As for `Predictor.predict`; file objects cannot be read twice.

    Raises
    ------
    MissingPackage
        OpenVINO is not installed.
    BundleError
        As `Predictor.load` does.
    """
    fast, reference = (
        list(Predictor.load(folder, engine=engine).predict_many(sources))
        for engine in ("openvino", "tensorflow")
    )
    pairs = list(zip(fast, reference, strict=True))
    differences = [
        abs(one.logit - other.logit)
        for one, other in pairs
        if one.logit is not None and other.logit is not None
    ]
    return EngineComparison(
        images=len(pairs),
        with_logit=len(differences),
        logit_difference=max(differences, default=0.0),
        verdicts_changed=sum(one.verdict != other.verdict for one, other in pairs),
    )
