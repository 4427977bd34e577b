import numpy as np
import pytest

from xray_core.imaging.adjustment import Adjustment
from xray_core.imaging.radiograph import Radiograph
from xray_core.model.calibration import Calibration
from xray_core.model.neighbours import NearestImages
from xray_core.prediction import wording

CALIBRATION = Calibration(1.0, 0.0, 0.5, 0.5, 0.13, (0.34, 0.66))
REPORT = {"images": 500, "contradicted": 15, "network_right": 4, "agreed_right": 478}


def radiograph(**known):
    return Radiograph(np.zeros((2, 2), np.float32), (2, 2), **known)


def similar(normal, bacterial):
    """The 20 nearest training images with these counts."""
    count = normal + bacterial
    return NearestImages(normal, bacterial, 0, 0, tuple(range(count)), ())


def test_the_nearest_images_are_counted_with_their_limit():
    text = wording.nearest_images(NearestImages(0, 0, 9, 1, tuple(range(10)), ()))
    assert text.startswith(
        "Of the 10 most similar training images: 0 normal, 0 bacterial pneumonia, "
        "9 viral pneumonia, 1 pneumonia of unknown kind."
    )
    assert "not independent evidence" in text


@pytest.mark.parametrize(
    ("known", "outcome", "has_border", "expected"),
    [
        ({}, "passed", False, ()),
        ({}, "caution", False, (wording.UNLIKE_TRAINING,)),
        ({"age_years": 0.5}, "passed", False, (wording.YOUNGER,)),
        ({"age_years": 1.0}, "passed", False, ()),
        ({"age_years": 5.9}, "passed", False, ()),
        ({"age_years": 6.0}, "passed", False, (wording.OLDER,)),
        ({"notes": ("A note.",)}, "passed", False, ("A note.",)),
        (
            {"adjustment": Adjustment(quarter_turns=2), "notes": ("A note.",)},
            "passed",
            False,
            ("A note.", "The image was rotated by 180 degrees before the analysis."),
        ),
        (
            {"age_years": 70.0, "notes": ("A note.",)},
            "caution",
            True,
            (wording.HAS_BORDER, wording.UNLIKE_TRAINING, "A note.", wording.OLDER),
        ),
    ],
)
def test_cautions_of_the_image(known, outcome, has_border, expected):
    assert wording.image_cautions(radiograph(**known), outcome, has_border=has_border) == expected


AGREE, DOUBT = similar(0, 20), similar(14, 6)


@pytest.mark.parametrize(
    ("verdict", "probability", "neighbours", "inside", "expected"),
    [
        ("PNEUMONIA", 0.9, AGREE, 0.8, ()),
        ("PNEUMONIA", 0.9, AGREE, 0.5, ()),
        ("PNEUMONIA", 0.9, AGREE, None, ()),
        ("PNEUMONIA", 0.9, AGREE, 0.3, (wording.MAP_OUTSIDE_LUNGS,)),
        ("UNCERTAIN", 0.5, AGREE, 0.3, (wording.MAP_OUTSIDE_LUNGS,)),
        ("NORMAL", 0.1, similar(20, 0), 0.3, ()),
        ("PNEUMONIA", 0.9995, AGREE, 0.8, (wording.TOO_SURE,)),
        ("NORMAL", 0.0005, similar(20, 0), 0.8, (wording.TOO_SURE,)),
        ("PNEUMONIA", 0.99, AGREE, 0.8, ()),
        ("UNCERTAIN", 0.5, DOUBT, 0.8, ()),
        (
            "PNEUMONIA",
            0.9995,
            DOUBT,
            0.3,
            (
                "Most of the similar training images (14 of 20) are normal.",
                wording.MAP_OUTSIDE_LUNGS,
                wording.TOO_SURE,
            ),
        ),
    ],
)
def test_cautions_of_the_result(verdict, probability, neighbours, inside, expected):
    assert wording.result_cautions(verdict, probability, neighbours, inside, {}) == expected


def test_limits_come_from_the_bundle_where_it_has_them():
    config = {"cautions": {"too_sure": 0.7, "map_in_lungs": 0.1}}
    text = wording.result_cautions("PNEUMONIA", 0.8, AGREE, 0.2, config)
    assert text == (wording.TOO_SURE,)
    text = wording.result_cautions("PNEUMONIA", 0.6, AGREE, 0.05, config)
    assert text == (wording.MAP_OUTSIDE_LUNGS,)


@pytest.mark.parametrize(
    ("normal", "pneumonia", "report", "expected"),
    [
        (
            14,
            6,
            REPORT,
            "Most of the similar training images (14 of 20) are normal. When they contradicted "
            "the model in validation (15 of 500 images), the model was right in 4.",
        ),
        (6, 14, None, "Most of the similar training images (14 of 20) are pneumonia."),
        (10, 10, None, "Half of the similar training images (10 of 20) are pneumonia."),
        (
            14,
            6,
            {**REPORT, "contradicted": 0, "network_right": 0},
            "Most of the similar training images (14 of 20) are normal. They never contradicted "
            "the model in validation (500 images).",
        ),
        (
            14,
            6,
            dict.fromkeys(REPORT, 0),
            "Most of the similar training images (14 of 20) are normal.",
        ),
    ],
)
def test_similar_images_that_disagree_are_stated_in_counts(normal, pneumonia, report, expected):
    assert wording.neighbours_disagree(similar(normal, pneumonia), report) == expected


def config_with(**folds):
    """A config with, for each fold: true, false positives, false, true negatives."""
    names = ("true_positive", "false_positive", "false_negative", "true_negative")
    return {
        "metrics": {
            fold: {"exclusion_threshold": {"confusion": dict(zip(names, counts, strict=True))}}
            for fold, counts in folds.items()
        }
    }


EVALUATED = config_with(validation=(379, 6, 9, 129), test=(385, 50, 5, 184))


def test_images_below_the_exclusion_threshold_are_counted():
    text = wording.count_below_exclusion(EVALUATED)
    assert text == wording.BelowExclusion(below=138, missed=9, images=523, pneumonia=388)
    assert wording.count_below_exclusion(EVALUATED, "test").missed == 5
    assert wording.count_below_exclusion({"metrics": {"validation": {}}}) is None
    assert wording.count_below_exclusion({}) is None


def test_the_exclusion_threshold_is_described_in_counts_of_both_sets():
    assert wording.describe_exclusion_threshold(CALIBRATION, EVALUATED) == (
        "Exclusion threshold 13%: the highest with a sensitivity of 99% on the validation images "
        "and altered copies of them. Validation set: 9 of the 138 images below it had pneumonia "
        "(388 of all 523). Test set: 5 of the 189 images below it had pneumonia (390 of all 624)."
    )


@pytest.mark.parametrize(
    ("verdict", "probability", "expected"),
    [
        ("PNEUMONIA", 0.97, "The model finds signs of pneumonia (probability 97% at a pre-test"),
        ("UNCERTAIN", 0.5, "The model cannot tell (probability 50% at a pre-test probability of"),
        ("NORMAL", 0.2, "Pneumonia not excluded (probability above the 13% exclusion threshold)."),
        ("NORMAL", 0.13, "Pneumonia not excluded"),
        ("NORMAL", 0.03, "9 of the 138 validation images below it had pneumonia."),
    ],
)
def test_the_sentence_of_a_result(verdict, probability, expected):
    below = wording.count_below_exclusion(EVALUATED)
    text = wording.explain_result(verdict, probability, CALIBRATION, below)
    assert expected in text
    if verdict != "UNCERTAIN":
        assert "Refer" not in text


def test_a_result_without_counts_states_its_side_of_the_threshold():
    text = wording.explain_result("NORMAL", 0.03, CALIBRATION)
    assert text.endswith("The probability is below the 13% exclusion threshold.")


def test_an_indeterminate_result_reads_as_refer():
    text = wording.explain_result("UNCERTAIN", 0.5, CALIBRATION)
    assert "Refer to a radiologist." in text
    assert "weakly positive or weakly negative" in text


@pytest.mark.parametrize(
    ("verdict", "top", "word"),
    [
        ("NORMAL", 1.0, "No pneumonia was detected"),
        ("PNEUMONIA", 1.0, "raised the network's score"),
        ("UNCERTAIN", 1.0, "raised the network's score"),
        ("PNEUMONIA", 0.0, "map is empty"),
        ("NORMAL", 0.0, "map is empty"),
    ],
)
def test_the_sentence_about_a_map(verdict, top, word):
    assert word in wording.describe_map(verdict, np.full((2, 2), top, np.float32))


def test_the_accuracy_is_stated_by_class_with_intervals():
    from xray_core.evaluation.verdicts import VerdictRate

    rates = {
        "PNEUMONIA": {
            "PNEUMONIA": VerdictRate(376, 0.9666, 0.9443, 0.9815),
            "UNCERTAIN": VerdictRate(8, 0.0206, 0.0098, 0.0381),
            "NORMAL": VerdictRate(5, 0.0129, 0.0048, 0.0297),
        }
    }
    assert wording.accuracy(rates) == (
        "Of 389 images with pneumonia: Pneumonia suspected: 376 (96.7%, 94.4% to 98.2%); "
        "Indeterminate: 8 (2.1%, 1.0% to 3.8%); No pneumonia detected: 5 (1.3%, 0.5% to 3.0%).",
    )
    assert wording.accuracy({}) == ()


def test_a_post_test_probability_is_never_certain():
    assert wording.describe_post_test(0.9999, 0.2) == (
        "Post-test probability above 99% at a pre-test probability of 20%."
    )
