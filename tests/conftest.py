"""Fixtures for all tests: synthetic chest X-rays, and a complete small bundle for them."""

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Settings of whoever runs the tests do not apply to them, but for CHEST_XRAY_DIR.
for _name in [name for name in os.environ if name.startswith("XRAY_")] + ["LUNG_MASKS_DIR"]:
    os.environ.pop(_name, None)

DrawImage = Callable[..., np.ndarray]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of the real dataset if CHEST_XRAY_DIR is not its folder."""
    if not os.path.isdir(os.environ.get("CHEST_XRAY_DIR", "")):
        skip = pytest.mark.skip(reason="CHEST_XRAY_DIR is not the folder of a dataset")
        for item in items:
            if item.get_closest_marker("data"):
                item.add_marker(skip)


def _image(
    seed: int = 0, pneumonia: bool = False, height: int = 224, width: int = 224
) -> np.ndarray:
    """Draw a synthetic chest X-ray, uint8 (H, W); pneumonia is a bright patch in one lung."""
    random = np.random.default_rng([seed, pneumonia])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / height * 2 - 1, x / width * 2 - 1  # both in [-1, 1]
    x += random.uniform(-0.03, 0.03)
    y += random.uniform(-0.03, 0.03)

    def blob(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return np.exp(-((((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) ** 2))

    image = 150 * blob(0, 0.3, 0.95, 1.2)
    image += 60 * blob(0, 0.2, 0.12, 1.0)  # spine
    for side in (-1, 1):
        image -= 95 * blob(0.42 * side, 0.0, 0.3, 0.62)  # lungs
    image += 18 * np.cos(14 * y + 5 * x**2) * blob(0, 0, 0.8, 0.8)  # ribs
    if pneumonia:
        image += 80 * blob(random.uniform(0.3, 0.5), random.uniform(0.1, 0.4), 0.22, 0.25)
    image = image * random.uniform(0.9, 1.1) + 30
    image += random.normal(0, random.uniform(0, 5), image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Return uint8 pixels as the bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def image() -> DrawImage:
    """`image(seed, pneumonia, height, width)`: a synthetic chest X-ray, uint8 (H, W)."""
    return _image


@pytest.fixture(scope="session")
def image_png() -> Callable[..., bytes]:
    """Same as `image`, as the bytes of a PNG."""
    return lambda *args, **kwargs: png(_image(*args, **kwargs))


@pytest.fixture(scope="session")
def micro_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one bundle, `micro`, which classifies the synthetic chest X-rays."""
    models = tmp_path_factory.mktemp("models")
    _write_micro_bundle(models / "micro")
    return models


@pytest.fixture(scope="session")
def micro_bundle(micro_models: Path) -> Path:
    """The folder of the bundle `micro`; tests that change it copy it first."""
    return micro_models / "micro"


@pytest.fixture(scope="session")
def lung_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle of the kind "segmentation", for the drawings of `lung_network`."""
    from lung_network import write_lung_bundle

    return write_lung_bundle(tmp_path_factory.mktemp("lung_models"))


@pytest.fixture(scope="session")
def lungs_classifier(
    micro_bundle: Path, lung_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the bundle `micro` with a copy of the lung network, and without a crop."""
    from lung_network import add_lungs

    folder = tmp_path_factory.mktemp("lungs_models") / "micro"
    return add_lungs(shutil.copytree(micro_bundle, folder), lung_bundle)


@pytest.fixture(scope="session")
def micro_lungs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small segmentation bundle; tests that change it copy it first."""
    from segmentation_bundle import write_segmentation

    return write_segmentation(tmp_path_factory.mktemp("segmentations") / "lungs")


def _write_micro_bundle(target: Path) -> None:
    import keras
    import pandas as pd

    from xray_core.evaluation.verdicts import natural_frequencies
    from xray_core.model.architectures import build_network, describe_layers
    from xray_core.model.bundle import sha256
    from xray_core.model.bundle_writing import save_weights, seal, writing
    from xray_core.model.calibration import fit_calibration
    from xray_core.model.gate import fit_gate
    from xray_core.model.neighbours import fit_neighbours
    from xray_core.model.recipes import find_recipe

    recipe = replace(
        find_recipe("cnn"), name="micro", filters=(8, 16), pool=4, pooling="average", dense=0
    )
    network = build_network(recipe)
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.5, w.shape) for w in network.get_weights()])

    counts = {"train": 48, "validation": 16, "test": 16}
    rows, images = [], []
    for fold, count in counts.items():
        for i in range(count):
            pneumonia = i % 2 == 1
            number = len(rows)
            subtype = ("bacteria", "virus")[i // 2 % 2] if pneumonia else "none"
            name = f"person{number}_{subtype}_{number}" if pneumonia else f"IM-{number:04d}-0001"
            label = "PNEUMONIA" if pneumonia else "NORMAL"
            split = "test" if fold == "test" else "train"
            rows.append(
                {
                    "path": f"{split}/{label}/{name}.png",
                    "split": split,
                    "fold": fold,
                    "label": label,
                    "subtype": subtype,
                    "patient": f"{subtype}-{number}" if pneumonia else f"IM-{number:04d}",
                    "bytes": 30_000 + number,
                    "width": 224,
                    "height": 224,
                    "mode": "L",
                }
            )
            images.append(_image(number, pneumonia))
    table = pd.DataFrame(rows)
    pixels = np.stack(images).astype(np.float32)
    table["mean"] = pixels.mean(axis=(1, 2)).round(2)
    table["spread"] = pixels.std(axis=(1, 2)).round(2)
    is_pneumonia = (table["label"] == "PNEUMONIA").to_numpy()
    train, validation = (table["fold"] == name for name in ("train", "validation"))

    # The convolutions stay random. The head is fitted by linear discriminant analysis.
    to_features = keras.Model(network.input, network.get_layer("features").output)
    features = np.asarray(to_features.predict_on_batch(pixels[..., np.newaxis]))
    x, y = features[train], is_pneumonia[train]
    means = [x[y == label].mean(axis=0) for label in (False, True)]
    within = np.cov((x - np.where(y[:, None], means[1], means[0])).T)
    direction = np.linalg.solve(within + 1e-3 * np.trace(within) * np.eye(16), means[1] - means[0])
    direction *= 6 / (direction @ (means[1] - means[0]))
    network.get_layer("logit").set_weights(
        [direction[:, None], np.array([-direction @ (means[0] + means[1]) / 2])]
    )
    with writing(target) as folder:
        save_weights(network, folder / "model.weights.h5")
        network.load_weights(folder / "model.weights.h5")  # now in half precision
        outputs = keras.Model(
            network.input, [network.get_layer(name).output for name in ("features", "logit")]
        )
        features, logits = map(np.asarray, outputs.predict_on_batch(pixels[..., np.newaxis]))
        logit = logits[:, 0]
        calibration = replace(
            fit_calibration(logit[validation], is_pneumonia[validation]), temperature=1.0, shift=0.0
        )
        gate = fit_gate(features[train], features[validation])
        # Sixteen validation images are few, so the thresholds are raised.
        gate = replace(gate, caution=2 * gate.caution, refuse=4 * gate.caution)
        gate.save(folder / "gate.npz")
        fit_neighbours(
            features[train], table["label"][train], table["subtype"][train], table["path"][train]
        ).save(folder / "neighbours.npz")

        predictions = table.loc[~train, ["path", "fold", "label", "subtype", "patient"]]
        predictions = predictions.rename(columns={"path": "file"})
        predictions["logit"] = logit[~train]
        predictions["probability"] = calibration.probability(logit[~train])
        outcomes = [gate.outcome(d) for d in gate.squared_distance(features[~train])]
        predictions["verdict"] = [
            "REFUSED" if outcome == "refused" else calibration.verdict(probability)
            for outcome, probability in zip(outcomes, predictions["probability"], strict=True)
        ]
        predictions["gate"] = outcomes
        predictions.to_csv(folder / "predictions.csv", index=False)
        table.to_csv(folder / "dataset.csv", index=False)
        _history().to_csv(folder / "history.csv", index=False)
        (folder / "MODEL_CARD.md").write_text("# micro\n\nA network for tests.\n")
        (folder / "examples").mkdir()
        for label, pneumonia in (("normal", False), ("pneumonia", True)):
            (folder / "examples" / f"{label}.png").write_bytes(png(_image(1000, pneumonia)))
        seal(
            folder,
            {
                "name": "micro",
                "version": f"2026-01-02-{sha256(folder / 'model.weights.h5')[:8]}",
                "created": "2026-01-02",
                "recipe": recipe.to_dict(),
                "labels": ["NORMAL", "PNEUMONIA"],
                "input_size": [224, 224],
                "calibration": calibration.to_dict(),
                "gate": {"caution": gate.caution, "refuse": gate.refuse},
                "cautions": {"map_in_lungs": 0.5},
                "layers": describe_layers(network),
                "dataset": {
                    "fingerprint": "0" * 64,
                    "images": len(table),
                    "patients": int(table["patient"].nunique()),
                    "counts": {
                        fold: {
                            label: int(((table["fold"] == fold) & (table["label"] == label)).sum())
                            for label in ("NORMAL", "PNEUMONIA")
                        }
                        for fold in counts
                    },
                },
                "libraries": {"keras": keras.__version__},
                "seed": 0,
                "git_commit": None,
                "training": {"epochs": 3, "best_epoch": 2, "seconds": 30.0},
                "metrics": {
                    "validation": {},
                    "test": {"natural_frequencies": asdict(natural_frequencies(predictions))},
                },
            },
        )


def _history():  # type: ignore[no-untyped-def]
    import pandas as pd

    return pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "loss": [0.6, 0.4, 0.3],
            "val_loss": [0.5, 0.35, 0.36],
            "accuracy": [0.7, 0.85, 0.9],
            "val_accuracy": [0.75, 0.9, 0.9],
            "auc": [0.8, 0.92, 0.96],
            "val_auc": [0.85, 0.95, 0.95],
            "learning_rate": [1e-3, 1e-3, 5e-4],
            "seconds": [10.0, 10.0, 10.0],
        }
    )
