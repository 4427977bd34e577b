"""Lung masks on disk: where they are, which images have one, and how one is read.

A mask has the path of its image, with the suffix `.png`: `DIR/train/NORMAL/IM-0115-0001.png`. It
is black and white, white for lung, and shows the same part of the body as the image.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from xray_core.errors import DatasetError, UnreadableImage
from xray_core.imaging.pixels import to_model_input
from xray_core.imaging.radiograph import read_radiograph

ENVIRONMENT_VARIABLE = "LUNG_MASKS_DIR"
_LAYOUT = "DIR/{train,val,test}/{NORMAL,PNEUMONIA}/STEM.png"
_SOURCE = (
    'Outlines of the lungs in these images are part of the V7 Labs "COVID-19 X-ray dataset" '
    "(github.com/v7labs/covid-19-xray-dataset, CC BY 4.0); they have other file names and must be "
    f"aligned to those of the dataset, as {_LAYOUT}, white for lung. This project does not "
    "distribute an aligned copy."
)


def find_masks(argument: str | os.PathLike[str] | None = None) -> Path:
    """Find the folder of the lung masks: the argument, else $LUNG_MASKS_DIR.

    Raises
    ------
    DatasetError
        There is no such folder; the message says where masks come from.
    """
    named = argument or os.environ.get(ENVIRONMENT_VARIABLE)
    if not named:
        raise DatasetError(
            "A segmentation is trained with lung masks: set their folder with --masks or "
            f"{ENVIRONMENT_VARIABLE}. {_SOURCE}"
        )
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DatasetError(f"There is no folder of lung masks at {folder}. {_SOURCE}")
    return folder


def find_masks_if_named(argument: str | os.PathLike[str] | None = None) -> Path | None:
    """Find the folder of the lung masks as `find_masks` does; None where none is named."""
    return find_masks(argument) if argument or os.environ.get(ENVIRONMENT_VARIABLE) else None


def without_mask(index: pd.DataFrame, masks: Path) -> list[str]:
    """List the paths of the images in an index that have no mask, sorted.

    Parameters
    ----------
    index : pandas.DataFrame
        With the column `path`.
    masks : pathlib.Path
        The folder of the masks.

    Returns
    -------
    list of str

    Raises
    ------
    DatasetError
        No image has a mask.
    """
    missing = sorted(path for path in index["path"] if not mask_path(masks, path).is_file())
    if len(missing) == len(index):
        raise DatasetError(f"No image of the dataset has a lung mask in {masks}. {_SOURCE}")
    return missing


def mask_path(masks: Path, image: str) -> Path:
    """Return the path of the mask of an image, given the image's path in the dataset."""
    return masks / PurePosixPath(image).with_suffix(".png")


def read_mask(file: Path) -> np.ndarray:
    """Read a mask in the size of the model input.

    Parameters
    ----------
    file : pathlib.Path

    Returns
    -------
    numpy.ndarray
        bool (224, 224, 1), true for lung.

    Raises
    ------
    UnreadableImage
        The file cannot be read as an image, or shows no lung.
    """
    try:
        data = file.read_bytes()
    except OSError:
        raise UnreadableImage("The mask cannot be opened.") from None
    mask: np.ndarray = to_model_input(read_radiograph(data)) > 127
    if not mask.any():
        raise UnreadableImage("The mask shows no lung.")
    return mask
