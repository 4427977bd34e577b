"""Lung masks on disk: found, listed, and read in the size of the model input."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xray_core.errors import DatasetError, UnreadableImage
from xray_core.training.masks import find_masks, mask_path, read_mask, without_mask


def test_no_folder_of_masks_says_where_they_come_from() -> None:
    with pytest.raises(DatasetError) as refusal:
        find_masks()
    message = str(refusal.value)
    assert "--masks or LUNG_MASKS_DIR" in message
    assert "V7 Labs" in message
    assert "CC BY 4.0" in message
    assert "does not distribute an aligned copy" in message


def test_a_missing_folder_of_masks_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no folder of lung masks at .*nowhere\. .*V7 Labs"):
        find_masks(tmp_path / "nowhere")


def test_the_environment_names_the_folder_of_the_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNG_MASKS_DIR", str(tmp_path))
    assert find_masks() == tmp_path
    (tmp_path / "other").mkdir()
    assert find_masks(tmp_path / "other") == tmp_path / "other"


def test_a_mask_has_the_path_of_its_image_as_a_png() -> None:
    path = mask_path(Path("masks"), "train/NORMAL/IM-0115-0001.jpeg")
    assert path == Path("masks/train/NORMAL/IM-0115-0001.png")


def test_images_without_a_mask_are_listed(tmp_path: Path) -> None:
    index = pd.DataFrame({"path": ["test/NORMAL/b.jpeg", "test/NORMAL/a.jpeg", "val/NORMAL/c.png"]})
    with pytest.raises(DatasetError, match="No image of the dataset has a lung mask"):
        without_mask(index, tmp_path)
    (tmp_path / "val" / "NORMAL").mkdir(parents=True)
    (tmp_path / "val" / "NORMAL" / "c.png").write_bytes(b"")
    assert without_mask(index, tmp_path) == ["test/NORMAL/a.jpeg", "test/NORMAL/b.jpeg"]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_white_is_lung(tmp_path: Path, mode: str) -> None:
    lit = np.zeros((224, 224), bool)
    lit[40:180, 20:90] = True
    Image.fromarray(lit).convert(mode).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert mask.shape == (224, 224, 1)
    assert mask.dtype == np.bool_
    assert np.array_equal(mask[..., 0], lit)


def test_a_larger_mask_is_reduced_like_its_image(tmp_path: Path) -> None:
    lit = np.zeros((448, 896), bool)
    lit[80:360, 80:360] = True
    Image.fromarray(lit).save(tmp_path / "mask.png")
    expected = np.zeros((224, 224), bool)
    expected[40:180, 20:90] = True
    assert np.array_equal(read_mask(tmp_path / "mask.png")[..., 0], expected)


def test_masks_that_cannot_be_used_are_unreadable(tmp_path: Path) -> None:
    Image.new("1", (224, 224)).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("not an image")
    for name in ("black.png", "text.png", "missing.png"):
        with pytest.raises(UnreadableImage):
            read_mask(tmp_path / name)
