"""Robustness: each change does what its name says, and the numbers count what they claim."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xray_core.errors import DatasetError, UnreadableImage
from xray_core.model.calibration import Calibration
from xray_core.training.data import ImageSet
from xray_core.training.hidden import BORDER_HIDDEN, HIDDEN
from xray_core.training.robustness import (
    CHANGES,
    LungMasks,
    change_images,
    hide_parts,
    measure_changes,
    measure_hidden,
    read_masks,
)

CALIBRATION = Calibration(
    temperature=1.0,
    shift=0.0,
    prior=0.5,
    decision_threshold=0.5,
    exclusion_threshold=0.1,
    uncertain=(0.4, 0.6),
)


@pytest.fixture
def images() -> ImageSet:
    random = np.random.default_rng(0)
    pixels = random.integers(60, 160, size=(6, 224, 224, 1)).astype(np.uint8)
    label = np.array([0, 0, 0, 1, 1, 1], np.float32)
    return ImageSet(pd.DataFrame({"patient": list("abcdef")}), pixels, label)


@pytest.fixture
def masks() -> np.ndarray:
    mask = np.zeros((6, 224, 224), bool)
    mask[:, 60:160, 40:95] = mask[:, 60:160, 130:185] = True
    return mask


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_gives_images_of_the_models_size(name: str, images: ImageSet) -> None:
    assert_changed(change_images(images, CHANGES[name]), images)


@pytest.mark.parametrize("name", HIDDEN)
def test_every_hidden_part_gives_images_of_the_models_size(
    name: str, images: ImageSet, masks: np.ndarray
) -> None:
    assert_changed(hide_parts(images, masks, HIDDEN[name]), images)


def assert_changed(varied: ImageSet, images: ImageSet) -> None:
    assert varied.pixels.shape == images.pixels.shape
    assert varied.pixels.dtype == np.uint8
    assert np.abs(varied.pixels.astype(int) - images.pixels).max() > 0


def test_each_image_is_hidden_by_its_own_mask(images: ImageSet, masks: np.ndarray) -> None:
    masks[3] = False
    masks[3, :20, :20] = True
    varied = hide_parts(images, masks, HIDDEN["the mask of the lungs alone, white on black"])
    assert np.array_equal(varied.pixels[..., 0] == 255, masks)


def test_brightness_is_a_factor(images: ImageSet) -> None:
    brighter = change_images(images, CHANGES["brightness +20%"])
    assert np.abs(brighter.pixels - 1.2 * images.pixels).max() <= 0.5


def test_the_rows_count_verdicts_and_crossings(images: ImageSet) -> None:
    # Before: all six rightly and surely called. Each change turns the first image into a sure
    # pneumonia and makes the last one uncertain without crossing the decision threshold.
    before = np.array([-3.0, -3, -3, 3, 3, 3])
    after = np.array([3.5, -3, -3, 3, 3, 0.1])
    rows = measure_changes(images, before, lambda one: one, lambda _: after, CALIBRATION)
    assert [row["name"] for row in rows] == ["as they are", *CHANGES]
    plain, changed = rows[:2]
    assert plain["other_verdict"] == plain["crossed"] == 0
    assert plain["roc_auc"]["value"] == plain["sensitivity"] == plain["specificity"] == 1
    assert plain["firm"] == 1
    assert changed["other_verdict"] == pytest.approx(2 / 6)
    assert changed["crossed"] == pytest.approx(1 / 6)
    assert changed["firm"] == pytest.approx(5 / 6)
    assert changed["specificity"] == pytest.approx(2 / 3)
    assert changed["sensitivity"] == 1
    assert changed["roc_auc"]["value"] == pytest.approx(6 / 9)


def test_changed_images_take_the_way_of_every_input(images: ImageSet) -> None:
    """A network that crops to the lungs gets the crop of each changed image."""
    cropped: list[np.ndarray] = []
    predicted: list[np.ndarray] = []

    def to_inputs(given: ImageSet) -> ImageSet:
        cropped.append(given.pixels)
        return ImageSet(given.table, given.pixels[:, ::-1], given.label)

    def predict_logits(given: ImageSet) -> np.ndarray:
        predicted.append(given.pixels)
        return np.zeros(6)

    measure_changes(images, np.zeros(6), to_inputs, predict_logits, CALIBRATION)
    assert len(cropped) == len(predicted) == len(CHANGES)
    for before, after in zip(cropped, predicted, strict=True):
        assert np.array_equal(after, before[:, ::-1])
    mirrored = list(CHANGES).index("mirrored")
    assert np.array_equal(cropped[mirrored], images.pixels[:, :, ::-1])


def test_hidden_parts_are_compared_with_the_whole_image(
    images: ImageSet, masks: np.ndarray
) -> None:
    """The whole images are predicted again, because a network may otherwise get a crop."""

    def predict_logits(given: ImageSet) -> np.ndarray:
        whole = np.array_equal(given.pixels, images.pixels)
        return np.array([-3.0, -3, -3, 3, 3, 3]) if whole else np.array([3.0, -3, -3, 3, 3, 0.1])

    found = measure_hidden(images, LungMasks("human", masks), predict_logits, CALIBRATION)
    rows = found["hidden"]
    assert [row["name"] for row in rows] == ["whole images", *HIDDEN, BORDER_HIDDEN]
    assert rows[0]["roc_auc"]["value"] == 1
    for row in rows[1:]:
        assert row["other_verdict"] == pytest.approx(2 / 6)
        assert row["firm"] == pytest.approx(5 / 6)
    assert found["masks"] == {"source": "human", "left_out": 0}


def test_images_without_a_usable_mask_are_left_out_of_all_rows(
    images: ImageSet, masks: np.ndarray
) -> None:
    masks[0], masks[4] = False, True
    label = {}

    def predict_logits(given: ImageSet) -> np.ndarray:
        label[len(given)] = list(given.table["patient"])
        return np.zeros(len(given))

    found = measure_hidden(images, LungMasks("predicted", masks), predict_logits, CALIBRATION)
    assert label == {4: ["b", "c", "d", "f"]}
    assert {row["images"] for row in found["hidden"]} == {4}
    assert found["masks"] == {"source": "predicted", "left_out": 2}


def test_without_masks_only_the_border_is_hidden(images: ImageSet) -> None:
    found = measure_hidden(images, None, lambda given: np.zeros(len(given)), CALIBRATION)
    assert [row["name"] for row in found["hidden"]] == ["whole images", BORDER_HIDDEN]
    assert found["masks"] == {"source": None, "left_out": 0}


def test_where_the_network_finds_no_lungs_only_the_border_is_hidden(
    images: ImageSet, masks: np.ndarray
) -> None:
    lungs = LungMasks("predicted", np.zeros_like(masks))
    found = measure_hidden(images, lungs, lambda given: np.zeros(len(given)), CALIBRATION)
    assert [row["name"] for row in found["hidden"]] == ["whole images", BORDER_HIDDEN]
    assert found["hidden"][0]["images"] == 6
    assert found["masks"] == {"source": "predicted", "left_out": 6}


def test_masks_are_read_by_the_path_of_the_image(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["test/NORMAL/a.jpeg", "test/PNEUMONIA/b.jpeg"]})
    drawn = np.zeros((224, 224), np.uint8)
    drawn[10:20, 30:50] = 255
    file = tmp_path / "test" / "PNEUMONIA" / "b.png"
    file.parent.mkdir(parents=True)
    Image.fromarray(drawn).convert("1").save(file)
    lungs = read_masks(tmp_path, table)
    assert lungs.source == "human"
    assert not lungs.masks[0].any()
    assert np.array_equal(lungs.masks[1], drawn > 0)
    with pytest.raises(DatasetError, match="No image of the dataset has a lung mask"):
        read_masks(tmp_path, table[:1])
    file.write_bytes(b"not an image")
    with pytest.raises(UnreadableImage):
        read_masks(tmp_path, table)
