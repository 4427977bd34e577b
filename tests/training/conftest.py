"""A small dataset of hand-made images, laid out and named like Kaggle's."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from segmentation_bundle import SMALL_LUNGS, WITHOUT_MASK


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, image: Callable[..., np.ndarray]) -> Path:
    """24 patients a class to train and validate on, 6 a class to test on, one image each."""
    root = tmp_path_factory.mktemp("chest_xray")
    number = 0
    for split, count in (("train", 24), ("test", 6)):
        for pneumonia, label in ((False, "NORMAL"), (True, "PNEUMONIA")):
            folder = root / split / label
            folder.mkdir(parents=True)
            for _ in range(count):
                number += 1
                kind = "virus" if number % 3 == 0 else "bacteria"
                name = f"person{number}_{kind}_{number}" if pneumonia else f"IM-{number:04d}-0001"
                pixels = image(number, pneumonia)
                Image.fromarray(pixels).save(folder / f"{name}.png")
    return root


@pytest.fixture(scope="session")
def masks(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lung masks of all images of the dataset: two ellipses each, a little different by image."""
    root = tmp_path_factory.mktemp("lung_masks")
    y, x = np.mgrid[0:224, 0:224] / 112 - 1
    for number, path in enumerate(sorted(dataset.rglob("*.png"))):
        height = 0.5 + 0.02 * (number % 5)
        mask = ((abs(x) - 0.42) / 0.26) ** 2 + (y / height) ** 2 < 1
        file = root / path.relative_to(dataset)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(file)
    return root


@pytest.fixture(scope="session")
def fewer_masks(masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The masks without two: one of an image of the training fold, one of the test fold."""
    root = Path(shutil.copytree(masks, tmp_path_factory.mktemp("fewer") / "lung_masks"))
    for path in WITHOUT_MASK:
        (root / path).unlink()
    return root


@pytest.fixture(scope="session")
def trained_lungs(
    dataset: Path, fewer_masks: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A models folder in which a smaller `lungs` was trained for four epochs.

    Two images have no mask: one of training, one of the test.
    """
    import train

    models = tmp_path_factory.mktemp("models")
    arguments = ["--recipe", "lungs", "--data", str(dataset), "--masks", str(fewer_masks)]
    arguments += ["--models", str(models), "--epochs", "4", *SMALL_LUNGS]
    assert train.main(arguments) == 0
    return models


@pytest.fixture(scope="session")
def trained_models(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder in which `cnn-softmax` was trained on four images a class and fold."""
    import train

    models = tmp_path_factory.mktemp("models")
    arguments = ["--recipe", "cnn-softmax", "--data", str(dataset), "--models", str(models)]
    arguments += ["--limit", "4", "--epochs", "1", "--set", "filters=(4, 4, 4)"]
    arguments += ["--lungs", "none"]
    assert train.main(arguments) == 0
    return models
