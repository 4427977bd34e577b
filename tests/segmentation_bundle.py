"""A small bundle of kind "segmentation" with random weights and simulated results."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from xray_core.model.lungs import LungFields, LungLimits
from xray_core.model.recipes import find_recipe

# Options of `train.py` for a small segmentation, and images of the test dataset without a mask.
WITHOUT_MASK = ["test/NORMAL/IM-0049-0001.png", "train/PNEUMONIA/person48_virus_48.png"]
SMALL_LUNGS = [
    part
    for setting in (
        "filters=(8, 16, 16)",
        "batch_size=4",
        "learning_rate=0.01",
        "schedule=constant",
        "augmentation.rotation=5",
        "augmentation.zoom=(0.9, 1.1)",
        "augmentation.stretch=0",
        "augmentation.shift=5",
        "augmentation.erase=0",
        "augmentation.gamma=(0.8, 1.2)",
    )
    for part in ("--set", setting)
]


def write_segmentation(target: Path) -> Path:
    """Write a segmentation of two resolutions to the folder `target`, which is returned."""
    from xray_core.model.architectures import build_network, describe_layers
    from xray_core.model.bundle import sha256
    from xray_core.model.bundle_writing import save_weights, seal, writing

    recipe = replace(find_recipe("lungs"), name="micro-lungs", filters=(4, 8))
    network = build_network(recipe)
    random = np.random.default_rng(0)
    network.set_weights([abs(random.normal(0, 0.3, w.shape)) for w in network.get_weights()])
    lungs = LungFields(0.15, 0.12, 0.4, 0.02, 0.0, 0.6, 0.7)
    with writing(target) as folder:
        save_weights(network, folder / "model.weights.h5")
        segmentation_table().to_csv(folder / "segmentation.csv", index=False)
        history = {"epoch": [1, 2], "loss": [1.1, 0.4], "val_loss": [0.9, 0.5]}
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
        (folder / "MODEL_CARD.md").write_text("# lungs\n\nA network for tests.\n")
        seal(
            folder,
            {
                "kind": "segmentation",
                "name": target.name,
                "version": f"2026-01-02-{sha256(folder / 'model.weights.h5')[:8]}",
                "created": "2026-01-02",
                "recipe": recipe.to_dict(),
                "input_size": [224, 224],
                "lungs": {"limits": LungLimits.fit([lungs]).to_dict()},
                "layers": describe_layers(network),
                "metrics": {"validation": {}, "test": {}},
            },
        )
    return target


def segmentation_table() -> pd.DataFrame:
    """Return the rows of a `segmentation.csv`: three images of three patients in each fold."""
    rows = [
        ("NORMAL", "none", "IM-{}-0001", 0.96),
        ("PNEUMONIA", "bacteria", "person{}_bacteria_1", 0.92),
        ("PNEUMONIA", "virus", "person{}_virus_1", 0.90),
    ]
    return pd.DataFrame(
        [
            {
                "file": f"{folder}/{label}/{name.format(number)}.jpeg",
                "fold": fold,
                "label": label,
                "subtype": subtype,
                "patient": f"{fold}-{number}",
                "dice": dice,
                "iou": dice / (2 - dice),
                "area": 0.3,
                "reference_area": 0.28,
            }
            for fold, folder in (("validation", "train"), ("test", "test"))
            for number, (label, subtype, name, dice) in enumerate(rows)
        ]
    )
