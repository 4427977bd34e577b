"""A tiny lung network with constructed weights for the drawn chest X-rays, and its bundle."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xray_core.model.bundle import REQUIRED_COLUMNS, SEGMENTATION, WEIGHTS, open_bundle, sha256
from xray_core.model.bundle_writing import embed_lungs, save_weights, seal, writing
from xray_core.model.lungs import LungLimits
from xray_core.model.recipes import find_recipe

if TYPE_CHECKING:
    import keras

RECIPE = replace(find_recipe("lungs"), name="micro-lungs", filters=(1,))
LIMITS = LungLimits(
    area=(0.1, 0.5),
    smaller=(0.04, 0.25),
    ratio=(0.4, 1.0),
    distance=(0.2, 0.6),
    offset=(0.0, 0.2),
    cut=(0.0, 0.1),
    height=(0.3, 0.9),
    width=(0.3, 0.95),
)
FIELDS = ((30, 140, 40, 95), (34, 148, 128, 180))
"""The lung fields of `draw_chest`: first and last row, first and last column, exclusive."""


def draw_chest(fields: tuple[tuple[int, int, int, int], ...] = FIELDS, seed: int = 0) -> np.ndarray:
    """Draw a chest X-ray with dark rectangles for lungs on a bright body, uint8 (224, 224)."""
    grey = np.random.default_rng(seed).normal(170, 4, (224, 224))
    for top, bottom, left, right in fields:
        grey[top:bottom, left:right] -= 110
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def drawn_mask(fields: tuple[tuple[int, int, int, int], ...] = FIELDS) -> np.ndarray:
    """Return the lungs of `draw_chest`, bool (224, 224)."""
    mask = np.zeros((224, 224), bool)
    for top, bottom, left, right in fields:
        mask[top:bottom, left:right] = True
    return mask


def build_lung_network() -> "keras.Model":
    """Return a network of RECIPE that takes pixels darker than the mean for lungs."""
    from xray_core.model.architectures import build_network

    network = build_network(RECIPE)

    def middle(weight: float) -> np.ndarray:
        kernel = np.zeros((3, 3, 1, 1), np.float32)
        kernel[1, 1] = weight
        return kernel

    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    network.get_layer("down1a_conv").set_weights([middle(-1)])
    network.get_layer("down1a_norm").set_weights([one, zero, zero, one])
    network.get_layer("down1b_conv").set_weights([middle(1)])
    network.get_layer("down1b_norm").set_weights([one, zero, zero, one])
    network.get_layer("half").set_weights([middle(20), -5 * one])
    return network


def write_lung_bundle(models: Path, name: str = "lungs") -> Path:
    """Write a bundle of the kind "segmentation" with the constructed network."""
    with writing(models / name) as folder:
        save_weights(build_lung_network(), folder / WEIGHTS)
        (folder / "history.csv").write_text("epoch\n1\n")
        columns = ",".join(REQUIRED_COLUMNS[SEGMENTATION])
        (folder / SEGMENTATION).write_text(
            f"{columns}\ntest/NORMAL/1.png,test,NORMAL,none,1,0.9,0.8,0.25,0.25\n"
        )
        (folder / "MODEL_CARD.md").write_text("# lungs\n\nA network for tests.\n")
        config = {
            "name": name,
            "kind": "segmentation",
            "version": f"2026-01-02-{sha256(folder / WEIGHTS)[:8]}",
            "recipe": RECIPE.to_dict(),
            "input_size": [224, 224],
            "lungs": {"limits": LIMITS.to_dict()},
            "metrics": {"test": {}},
        }
        seal(folder, config)
    return models / name


def add_lungs(classifier: Path, lungs: Path, **recipe: float) -> Path:
    """Copy the lung network into a classifier bundle and set fields of the classifier's recipe."""
    config = json.loads((classifier / "config.json").read_text())
    config["lungs"] = embed_lungs(open_bundle(lungs, kind="segmentation"), classifier)
    config["recipe"] |= recipe
    seal(classifier, config)
    return classifier
