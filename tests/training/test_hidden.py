"""Hidden parts: what fills them, what is kept, and which grey levels can leak."""

import numpy as np
import pytest

from xray_core.training.hidden import BLUR, DILATION, HIDDEN, fill_hidden, hide_border

SIDE = 224
ROWS = list(HIDDEN)
LUNGS_HIDDEN = [name for name in ROWS if name.startswith("lungs hidden")]
LUNGS_SHOWN = [name for name in ROWS if name.startswith("only the lungs shown")]
BLURRED_IMAGE = "lungs hidden, filled with the blurred image"
SOFT = "lungs hidden, dilated mask with a blurred edge"


@pytest.fixture
def lungs() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[60:160, 40:95] = mask[60:160, 130:185] = True
    return mask


@pytest.fixture
def image() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.uniform(40, 200, (SIDE, SIDE)).astype(np.float32)


def changed_inside(image: np.ndarray, part: np.ndarray) -> np.ndarray:
    return np.where(part, 255 - image, image)


@pytest.mark.parametrize("name", [name for name in LUNGS_HIDDEN if name != BLURRED_IMAGE])
def test_hidden_lungs_do_not_enter_the_result(
    name: str, image: np.ndarray, lungs: np.ndarray
) -> None:
    other = HIDDEN[name](changed_inside(image, lungs), lungs)
    assert np.array_equal(HIDDEN[name](image, lungs), other)


@pytest.mark.parametrize("name", LUNGS_SHOWN)
def test_with_only_the_lungs_shown_nothing_else_enters(
    name: str, image: np.ndarray, lungs: np.ndarray
) -> None:
    result = HIDDEN[name](image, lungs)
    assert np.array_equal(result, HIDDEN[name](changed_inside(image, ~lungs), lungs))
    assert np.array_equal(result[lungs], image[lungs])


def test_the_blurred_image_keeps_the_average_of_the_lungs(
    image: np.ndarray, lungs: np.ndarray
) -> None:
    brighter = np.where(lungs, image + 40, image)
    plain, bright = (HIDDEN[BLURRED_IMAGE](one, lungs) for one in (image, brighter))
    middle = np.s_[100:120, 60:75]
    # A field that is wider than the blur keeps most of the 40 grey levels; detail is gone.
    assert 25 < (bright - plain)[middle].mean() < 40
    assert plain[middle].std() < 0.1 * image[middle].std()


@pytest.mark.parametrize("name", [name for name in LUNGS_HIDDEN if name != SOFT])
def test_all_else_stays_as_it_is(name: str, image: np.ndarray, lungs: np.ndarray) -> None:
    assert np.array_equal(HIDDEN[name](image, lungs)[~lungs], image[~lungs])


def test_the_dilated_mask_ends_gradually(image: np.ndarray, lungs: np.ndarray) -> None:
    result = HIDDEN[SOFT](np.where(lungs, 255, image).astype(np.float32), lungs)
    row = 110
    outside = np.s_[row, : 40 - DILATION]
    np.testing.assert_allclose(result[outside], image[outside], rtol=1e-5)
    assert result[lungs].max() < 200
    # Along the edge the image returns little by little, within the dilated mask.
    flat = np.full_like(image, 100)
    flat[:, :38] = 180
    edge = HIDDEN[SOFT](flat, lungs)[row, 40 - DILATION : 38]
    assert (np.diff(edge) < 0).all()


def test_a_uniform_surrounding_fills_with_itself(image: np.ndarray, lungs: np.ndarray) -> None:
    flat = np.where(lungs, image, 120).astype(np.float32)
    np.testing.assert_allclose(fill_hidden(flat, lungs), 120, atol=1e-3)


def test_the_fill_follows_the_nearest_shown_pixels() -> None:
    hidden = np.zeros((SIDE, SIDE), bool)
    hidden[:, 90:134] = True
    sides = np.where(np.arange(SIDE) < 112, 50, 150).astype(np.float32)
    filled = fill_hidden(np.tile(sides, (SIDE, 1)), hidden)[112]
    assert filled[90] < 60 < 140 < filled[133]
    assert filled[111:113].mean() == pytest.approx(100, abs=1)


def test_far_from_all_shown_pixels_the_fill_is_their_mean() -> None:
    hidden = np.ones((SIDE, SIDE), bool)
    hidden[:10, :10] = False
    image = np.full((SIDE, SIDE), 255, np.float32)
    image[:5, :10], image[5:10, :10] = 80, 120
    assert BLUR < 220 / 5  # the opposite corner is that far away
    assert fill_hidden(image, hidden)[-1, -1] == pytest.approx(100, abs=0.1)


def test_everything_but_the_lungs_is_blurred(image: np.ndarray, lungs: np.ndarray) -> None:
    result = HIDDEN["everything but the lungs blurred"](image, lungs)
    assert np.array_equal(result[lungs], image[lungs])
    assert result[:40].std() < 0.1 * image[:40].std()


def test_the_mask_alone_is_white_on_black(image: np.ndarray, lungs: np.ndarray) -> None:
    result = HIDDEN["the mask of the lungs alone, white on black"](image, lungs)
    assert set(np.unique(result)) == {0, 255}
    assert np.array_equal(result == 255, lungs)


def test_the_border_is_filled_with_the_mean_of_the_image(image: np.ndarray) -> None:
    result = hide_border(image)
    assert np.array_equal(result[33:191, 33:191], image[33:191, 33:191])  # 15% of 224 is 33.6
    np.testing.assert_allclose(result[:33], image.mean(), rtol=1e-5)
    np.testing.assert_allclose(result[:, 191:], image.mean(), rtol=1e-5)
