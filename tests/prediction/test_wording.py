import numpy as np
import pytest

from xray_core.images import Radiograph
from xray_core.prediction import wording


def radiograph(**known):
    return Radiograph(np.zeros((2, 2), np.float32), (2, 2), **known)


@pytest.mark.parametrize(
    ("known", "probability", "verdict", "outcome", "expected"),
    [
        ({}, 0.9, "PNEUMONIA", "passed", ()),
        ({}, 0.9, "PNEUMONIA", "caution", (wording.UNLIKE_TRAINING,)),
        ({}, 0.5, "UNCERTAIN", "passed", (wording.UNCERTAIN,)),
        ({}, 0.9995, "PNEUMONIA", "passed", (wording.TOO_SURE,)),
        ({}, 0.0005, "NORMAL", "passed", (wording.TOO_SURE,)),
        ({}, 0.99, "PNEUMONIA", "passed", ()),
        ({"age_years": 0.5}, 0.9, "PNEUMONIA", "passed", (wording.YOUNGER,)),
        ({"age_years": 1.0}, 0.9, "PNEUMONIA", "passed", ()),
        ({"age_years": 5.9}, 0.9, "PNEUMONIA", "passed", ()),
        ({"age_years": 6.0}, 0.9, "PNEUMONIA", "passed", (wording.OLDER,)),
        ({"notes": ("A note.",)}, 0.9, "PNEUMONIA", "passed", ("A note.",)),
        (
            {"age_years": 70.0, "notes": ("A note.",)},
            0.45,
            "UNCERTAIN",
            "caution",
            (wording.UNLIKE_TRAINING, "A note.", wording.OLDER, wording.UNCERTAIN),
        ),
    ],
)
def test_cautions(known, probability, verdict, outcome, expected):
    found = wording.cautions(radiograph(**known), probability, verdict, outcome, {})
    assert found == expected


def test_limits_come_from_the_bundle_where_it_has_them():
    config = {"cautions": {"too_sure": 0.7}}
    found = wording.cautions(radiograph(), 0.8, "PNEUMONIA", "passed", config)
    assert found == (wording.TOO_SURE,)


def test_the_votes_are_told_as_they_were_counted():
    report = {"films": 500, "contradicted": 12, "network_right": 7, "agreed_right": 480}
    assert wording.votes(report) == (
        "On 500 validation films they contradicted the verdict 12 times (2.4%); the verdict was "
        "right on 7 of these, they on 5; both were right on 480 of the 488 on which they agreed."
    )


def test_votes_that_never_contradict_and_votes_on_no_film():
    none = dict.fromkeys(("films", "contradicted", "network_right", "agreed_right"), 0)
    assert wording.votes(none) == ""
    assert "never contradicted" in wording.votes(none | {"films": 3, "agreed_right": 3})


def test_an_uncertain_result_reads_as_refer():
    assert "refer" in wording.UNCERTAIN
    assert "refer" in wording.VERDICTS["UNCERTAIN"]
    assert "neither as a weak yes" in wording.UNCERTAIN


@pytest.mark.parametrize(
    ("verdict", "top", "word"),
    [
        ("NORMAL", 1.0, "even so"),
        ("PNEUMONIA", 1.0, "raised the network's score"),
        ("UNCERTAIN", 1.0, "raised the network's score"),
        ("PNEUMONIA", 0.0, "map is empty"),
        ("NORMAL", 0.0, "map is empty"),
    ],
)
def test_the_map_s_sentence(verdict, top, word):
    assert word in wording.what_the_map_shows(verdict, np.full((2, 2), top, np.float32))


FREQUENCIES = {
    **{"pneumonia_films": 390, "called": 95, "uncertain": 3, "missed": 2, "refused": 0},
    **{"normal_films": 234, "cleared": 85, "normal_uncertain": 6, "flagged": 9},
    "normal_refused": 0,
}


def test_natural_frequencies_are_said_in_one_sentence():
    assert wording.in_natural_frequencies(FREQUENCIES) == (
        "Of 100 films with pneumonia in the test set it calls 95, is uncertain about 3 and misses "
        "2; of 100 normal ones it wrongly flags 9 and is uncertain about 6."
    )


def test_natural_frequencies_name_the_refused():
    refused = FREQUENCIES | {"called": 62, "refused": 33, "cleared": 60, "normal_refused": 25}
    assert wording.in_natural_frequencies(refused) == (
        "Of 100 films with pneumonia in the test set it calls 62, is uncertain about 3 and misses "
        "2; of 100 normal ones it wrongly flags 9 and is uncertain about 6. It refuses 33 of the "
        "100 with pneumonia and 25 of the normal ones."
    )


def test_natural_frequencies_need_both_classes():
    assert wording.in_natural_frequencies(FREQUENCIES | {"normal_films": 0}) == ""
    assert wording.in_natural_frequencies(None) == ""
