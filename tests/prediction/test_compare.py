"""One image analysed by several models."""

import copy
import io

import numpy as np
import pytest

from xray_core.errors import UnreadableImage, XrayError
from xray_core.imaging.adjustment import Adjustment
from xray_core.imaging.pixels import adjust
from xray_core.imaging.radiograph import Radiograph
from xray_core.model.calibration import Calibration
from xray_core.prediction.compare import (
    NOT_INDEPENDENT,
    ModelRow,
    compare_models,
    describe_comparison,
)
from xray_core.prediction.result import Prediction


@pytest.fixture
def renamed(predictor):
    """`renamed(name)`: the same model under another name, with the fields of `known`."""

    def rename(name, **known):
        other = copy.copy(predictor)
        bundle = predictor.bundle
        other.bundle = type(bundle)(bundle.folder.with_name(name), bundle.config)
        other.model = f"{name} {other.bundle.version}"
        for field, value in known.items():
            setattr(other, field, value)
        return other

    return rename


class FileReadOnce(io.BytesIO):
    """A file that fails when it is read a second time."""

    reads = 0

    def read(self, *size):
        self.reads += 1
        assert self.reads == 1
        return super().read(*size)


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def test_each_model_has_a_row_with_its_own_prediction(predictor, renamed, image_png):
    never = Calibration(1.0, -20.0, 0.5, 0.5, 0.13, (0.34, 0.66))  # all probabilities near 0
    models = [predictor, renamed("other", calibration=never)]
    data = image_png(2001, True)
    first, second = compare_models(FileReadOnce(data), models)
    assert first.prediction == predictor.predict(data)
    assert second.prediction == models[1].predict(data)
    assert (first.name, first.version) == ("micro", predictor.bundle.version)
    assert (first.shown_as, second.shown_as) == ("Pneumonia suspected", "No pneumonia detected")
    assert first.probability == predictor.predict(data).probability
    assert second.probability < 0.01
    assert (first.gate, first.cautions) == (first.prediction.gate, first.prediction.reasons)
    assert second.prediction.model == f"other {predictor.bundle.version}"


def test_a_decoded_and_adjusted_image_can_be_compared(predictor, image):
    pixels = image(2001, True).astype(np.float32)
    mirrored = adjust(Radiograph(pixels, pixels.shape), Adjustment(mirrored=True))
    rows = compare_models(mirrored, [predictor, predictor], explain="layercam")
    for row in rows:
        assert row.prediction.adjustment == mirrored.adjustment.sentence
        assert row.prediction.heatmap.shape == (224, 224)
        assert row.prediction.method == "layercam"


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (XrayError("The weights are missing."), "The weights are missing."),
        (MemoryError(), "There is not enough memory for this model."),
        (RuntimeError("/secret"), "The model failed with an internal error (RuntimeError)."),
    ],
)
def test_a_model_that_fails_has_a_row_with_the_reason(
    predictor, renamed, image_png, error, problem
):
    models = [renamed("broken", _forward=failing(error)), predictor]
    broken, working = compare_models(image_png(2001, True), models)
    assert broken == ModelRow("broken", predictor.bundle.version, None, problem)
    assert (broken.shown_as, broken.probability, broken.gate) == ("", None, None)
    assert broken.cautions == (problem,)
    assert working.prediction.verdict == "PNEUMONIA"
    assert describe_comparison([broken, working]) == (
        "One model gave a result, so there is no comparison. 1 of 2 models failed."
    )


def test_an_unreadable_file_and_an_unknown_method_are_errors(predictor, image_png):
    with pytest.raises(UnreadableImage, match="empty"):
        compare_models(b"", [predictor])
    with pytest.raises(ValueError, match="The methods are"):
        compare_models(image_png(1), [predictor], explain="guess")


def row(name, verdict):
    return ModelRow(name, "1", Prediction(0.9, verdict, ()))


def test_the_sentence_says_which_models_agree_and_what_that_is_worth():
    assert describe_comparison([row("a", "NORMAL"), row("b", "NORMAL")]) == (
        f"Both models: No pneumonia detected. {NOT_INDEPENDENT}"
    )
    three = [row("a", "NORMAL"), row("b", "PNEUMONIA"), row("c", "NORMAL")]
    assert describe_comparison(three) == (
        "The models differ: No pneumonia detected (a, c); Pneumonia suspected (b)."
    )
    assert describe_comparison([ModelRow("a", "1", None, "No.")]) == "1 of 1 models failed."
    assert describe_comparison([]) == ""
