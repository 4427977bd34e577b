"""Lungs at prediction: mask, crop, input check, share of the map inside them, cautions."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from foreign_bundle import reseal
from lung_network import FIELDS, draw_chest, drawn_mask

from xray_core import Predictor
from xray_core.errors import BundleError
from xray_core.imaging.adjustment import Adjustment, Box
from xray_core.imaging.pixels import adjust, rotate
from xray_core.imaging.radiograph import Radiograph
from xray_core.model.lung_crop import classifier_crop, classifier_input, resize_map
from xray_core.prediction import wording
from xray_core.prediction.explain import METHODS, GradCam
from xray_core.prediction.orientation import describe_fault


def as_radiograph(pixels, **known):
    return Radiograph(pixels.astype(np.float32), pixels.shape, **known)


CHEST = as_radiograph(draw_chest())
WIDE = as_radiograph(draw_chest().repeat(2, axis=0).repeat(3, axis=1))
ONE_LUNG = as_radiograph(draw_chest(FIELDS[:1]))


@pytest.fixture
def with_maps(lungs_predictor, cropping_predictor, monkeypatch):
    """Grad-CAM of the other class: that of pneumonia is empty on the drawn images."""
    import keras

    for predictor in (lungs_predictor, cropping_predictor):
        other = keras.models.clone_model(predictor.network)
        weights = predictor.network.get_weights()
        other.set_weights([*weights[:-2], -weights[-2], weights[-1]])
        monkeypatch.setattr(predictor, "_gradcam", GradCam(other))


@pytest.fixture
def configured(lungs_predictor, monkeypatch):
    """A function that changes entries of the bundle's config during a test."""

    def set_config(**entries):
        bundle = lungs_predictor.bundle
        bundle = replace(bundle, config={**bundle.config, **entries})
        monkeypatch.setattr(lungs_predictor, "bundle", bundle)

    return set_config


def coarse_map(predictor, radiograph):
    """Return the Grad-CAM map (h, w) of the classifier's input, and the lungs (224, 224)."""
    outputs = predictor._run(predictor.model_input(radiograph)[np.newaxis])
    return predictor._gradcam.coarse_maps(outputs.activations)[0], outputs.masks[0]


@pytest.mark.parametrize("radiograph", [CHEST, WIDE], ids=["square", "wide"])
def test_the_lungs_have_the_size_of_the_image(lungs_predictor, radiograph):
    prediction = lungs_predictor.predict(radiograph)
    assert prediction.lungs.shape == radiograph.pixels.shape
    assert prediction.lungs.dtype == bool
    height, width = radiograph.pixels.shape
    expected = drawn_mask().repeat(height // 224, axis=0).repeat(width // 224, axis=1)
    assert (prediction.lungs != expected).mean() < 0.02


def test_a_model_without_a_lung_network_predicts_without_lungs(predictor, image_png):
    prediction = predictor.predict(image_png(2001, True))
    assert prediction.verdict == "PNEUMONIA"
    assert (prediction.lungs, prediction.map_in_lungs) == (None, None)


def test_the_lung_network_does_not_change_the_logit_without_a_crop(lungs_predictor, predictor):
    bare = Predictor(
        predictor.bundle, predictor.network, lungs_predictor.gate, predictor.neighbours
    )
    # The second predictor uses TensorFlow, and the weights of the head reach 200.
    assert lungs_predictor.predict(CHEST).logit == pytest.approx(
        bare.predict(CHEST).logit, abs=1e-3
    )


def test_a_crop_needs_a_lung_network(micro_bundle, tmp_path):
    folder = shutil.copytree(micro_bundle, tmp_path / "micro")
    reseal(folder, lambda config: config["recipe"].update(lung_margin=0.1))
    with pytest.raises(
        BundleError, match="micro crops images to the lungs and has no lung network"
    ):
        Predictor.load(folder)


def test_the_classifier_gets_the_crop(cropping_predictor):
    recipe = cropping_predictor.bundle.recipe
    assert recipe.lung_margin == 0.25
    prediction = cropping_predictor.predict(WIDE)
    image = cropping_predictor.model_input(WIDE)
    crop = classifier_input(image, prediction.lung_mask, recipe)
    logit = cropping_predictor._forward(crop[np.newaxis])[1][0, 0]
    assert prediction.logit == pytest.approx(float(logit), abs=1e-5)
    assert not np.array_equal(crop, image)
    whole = cropping_predictor._forward(image[np.newaxis])[1][0, 0]
    assert abs(prediction.logit - whole) > 1e-3


def test_the_map_of_a_crop_lies_at_its_place(cropping_predictor):
    prediction = cropping_predictor.predict(WIDE)
    crop = classifier_crop(prediction.lung_mask, cropping_predictor.bundle.recipe)
    everywhere = resize_map(np.ones((14, 14), np.float32), WIDE.pixels.shape, crop)
    for method in METHODS:
        heatmap = cropping_predictor.explain(WIDE, method)
        assert heatmap.shape == WIDE.pixels.shape
        assert not heatmap[everywhere == 0].any()
    assert (everywhere == 0).any()
    assert cropping_predictor.explain(WIDE, "layercam").any()


@pytest.mark.usefixtures("with_maps")
@pytest.mark.parametrize("name", ["lungs_predictor", "cropping_predictor"])
def test_the_share_of_the_map_inside_the_lungs(name, request):
    predictor = request.getfixturevalue(name)
    prediction = predictor.predict(WIDE)
    coarse, mask = coarse_map(predictor, WIDE)
    whole = resize_map(coarse, (224, 224), classifier_crop(mask, predictor.bundle.recipe))
    assert whole.any()
    assert prediction.map_in_lungs == pytest.approx(whole[mask].sum() / whole.sum(), abs=1e-4)
    for method in METHODS:
        assert predictor.predict(WIDE, explain=method).map_in_lungs == prediction.map_in_lungs


def test_an_empty_map_has_no_share_inside_the_lungs(lungs_predictor, monkeypatch):
    monkeypatch.setattr(
        lungs_predictor._gradcam, "coarse_maps", lambda a: np.zeros((len(a), 14, 14), np.float32)
    )
    prediction = lungs_predictor.predict(CHEST)
    assert prediction.map_in_lungs is None
    assert prediction.lungs is not None
    assert wording.MAP_OUTSIDE_LUNGS not in prediction.reasons


@pytest.mark.usefixtures("with_maps")
def test_a_map_outside_the_lungs_is_a_caution(lungs_predictor, configured, monkeypatch):
    share = lungs_predictor.predict(CHEST).map_in_lungs
    fitted, results = lungs_predictor.calibration, {}
    for verdict in ("PNEUMONIA", "UNCERTAIN", "NORMAL"):
        calibration = replace(
            fitted,
            **{
                "PNEUMONIA": {"shift": 1000.0},
                "UNCERTAIN": {"uncertain": (0.0, 1.0)},
                "NORMAL": {"shift": -1000.0},
            }[verdict],
        )
        monkeypatch.setattr(lungs_predictor, "calibration", calibration)
        for limit in (share - 0.01, share + 0.01):
            configured(cautions={"map_in_lungs": limit})
            prediction = lungs_predictor.predict(CHEST)
            assert prediction.verdict == verdict
            results[verdict, limit > share] = wording.MAP_OUTSIDE_LUNGS in prediction.reasons
    assert [key for key, cautioned in results.items() if cautioned] == [
        ("PNEUMONIA", True),
        ("UNCERTAIN", True),
    ]


def test_images_without_two_plausible_lungs_are_refused(lungs_predictor):
    prediction = lungs_predictor.predict(ONE_LUNG, explain="gradcam")
    assert (prediction.verdict, prediction.gate) == ("REFUSED", "refused")
    assert prediction.reasons == (wording.NO_LUNGS,)
    assert (prediction.probability, prediction.lungs, prediction.map_in_lungs) == (None, None, None)
    assert prediction.heatmap is None
    assert prediction.logit is not None


def test_the_other_checks_keep_their_own_reasons(lungs_predictor, monkeypatch):
    blank = lungs_predictor.predict(as_radiograph(np.full((300, 300), 77.0)))
    assert "blank" in blank.reasons[0]
    strict = replace(lungs_predictor.gate, caution=1e-9, refuse=2e-9)
    monkeypatch.setattr(lungs_predictor, "gate", strict)
    assert lungs_predictor.predict(CHEST).reasons == (wording.NOT_A_CHEST_IMAGE,)
    assert lungs_predictor.predict(ONE_LUNG).reasons == (wording.NOT_A_CHEST_IMAGE,)


def test_predict_many_equals_predict(lungs_predictor, cropping_predictor):
    sources = [CHEST, ONE_LUNG, WIDE, b"no image", *(draw_chest(seed=n) for n in range(4))]
    sources = [as_radiograph(s) if isinstance(s, np.ndarray) else s for s in sources]
    for predictor in (lungs_predictor, cropping_predictor):
        many = list(predictor.predict_many(sources, batch_size=3))
        assert [p.verdict == "REFUSED" for p in many[:3]] == [False, True, False]
        assert many[3].verdict == "UNREADABLE"
        for source, together in zip(sources, many, strict=True):
            if source == b"no image":
                continue
            alone = predictor.predict(source)
            assert (alone.verdict, alone.reasons) == (together.verdict, together.reasons)
            assert alone.logit == pytest.approx(together.logit, abs=1e-3)
            assert alone.map_in_lungs == pytest.approx(together.map_in_lungs, abs=1e-3)
            if alone.lungs is not None:
                assert np.array_equal(alone.lungs, together.lungs)


class Upright:
    """Finds lungs only in images whose lower half is brighter, as that of the drawn images is."""

    def __init__(self, never=False):
        self.never = never

    def masks(self, images):
        upright = images[:, 112:].mean((1, 2, 3)) > images[:, :112].mean((1, 2, 3)) + 20
        shown = upright & (images.mean((1, 2, 3)) < 128) & (not self.never)
        return [drawn_mask() if one else np.zeros((224, 224), bool) for one in shown]

    def has_plausible_lungs(self, mask):
        return bool(mask.any())


@pytest.fixture
def upright(predictor, monkeypatch):
    """The predictor without a lung network, with one that finds lungs in upright images."""
    monkeypatch.setattr(predictor, "lungs", Upright())
    return predictor


@pytest.mark.parametrize("wrong", [(1, False), (2, False), (3, False), (0, True)])
def test_a_rotated_or_inverted_image_without_lungs_is_corrected(upright, image, wrong):
    right = as_radiograph(image(2007, False))
    assert upright.predict(right).verdict == "NORMAL"
    turns, inverted = wrong
    prediction = upright.predict(rotate(right, -turns, inverted))
    assert prediction.verdict == "REFUSED"
    assert prediction.correction == Adjustment(turns, inverted)
    assert prediction.reasons == (describe_fault(prediction.correction),)


def test_no_correction_leads_to_an_image_without_lungs(upright, image):
    wrong = rotate(as_radiograph(image(2007, False)), -1)
    upright.lungs.never = True
    prediction = upright.predict(wrong)
    assert prediction.verdict == "REFUSED"
    assert prediction.correction is None
    assert prediction.reasons == (wording.NOT_A_CHEST_IMAGE,)


def test_a_border_around_an_image_with_lungs_is_recognised(upright, image):
    right = as_radiograph(image(2007, False))
    page = as_radiograph(np.pad(image(2007, False), ((90, 20), (30, 50)), constant_values=255))
    prediction = upright.predict(page)
    assert prediction.verdict == "REFUSED"
    assert prediction.correction == Adjustment(
        crop=Box(90 / 334, 30 / 304, 1 - 20 / 334, 1 - 50 / 304)
    )
    assert prediction.reasons == (describe_fault(prediction.correction),)
    assert upright.predict(adjust(page, prediction.correction)).lungs is not None
    assert upright.predict(right).lungs is not None
