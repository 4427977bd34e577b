"""The one door for trained models: a folder that holds all that a model is and was.

A bundle is written to a temporary folder and renamed, so that it is whole or absent. Opening it
checks the format and every file's SHA-256. Nothing in it is a pickle, and nothing here imports
Keras until a network is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_core.errors import BundleError, RecipeError
from xray_core.model.calibration import Calibration
from xray_core.model.recipes import Recipe

if TYPE_CHECKING:
    import keras
    import pandas as pd

FORMAT = 1
CONFIG, WEIGHTS, GATE, NEIGHBOURS = "config.json", "model.weights.h5", "gate.npz", "neighbours.npz"
HISTORY, DATASET, PREDICTIONS, CARD = (
    "history.csv",
    "dataset.csv",
    "predictions.csv",
    "MODEL_CARD.md",
)
REQUIRED = (WEIGHTS, GATE, NEIGHBOURS, HISTORY, DATASET, PREDICTIONS, CARD)
LARGE_KERNEL = 40_000  # values
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: `config` is its `config.json`, checked."""

    folder: Path
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """The folder's name, which is the model's."""
        return self.folder.name

    @property
    def version(self) -> str:
        """Date of training and the first digits of the weights' hash."""
        return str(self.config["version"])

    @cached_property
    def calibration(self) -> Calibration:
        """How the network's log-odds are read."""
        return Calibration.from_dict(self.config["calibration"])

    @cached_property
    def recipe(self) -> Recipe:
        """What the network was built and trained from."""
        return Recipe.from_dict(self.config["recipe"])

    @property
    def gate_file(self) -> Path:
        """The gate, for `xray_core.model.gate.Gate.load`."""
        return self.folder / GATE

    @property
    def neighbours_file(self) -> Path:
        """The training films' features, for `xray_core.model.neighbours.Neighbours.load`."""
        return self.folder / NEIGHBOURS

    def predictions(self) -> pd.DataFrame:
        """Validation and test films with their predictions, as training left them."""
        return self._table(PREDICTIONS)

    def dataset(self) -> pd.DataFrame:
        """The index of the films that the model was trained on."""
        return self._table(DATASET)

    def history(self) -> pd.DataFrame:
        """One row an epoch: losses, accuracies, learning rate, seconds."""
        return self._table(HISTORY)

    def card(self) -> str:
        """The model card, Markdown."""
        return (self.folder / CARD).read_text(encoding="utf-8")

    def examples(self) -> dict[str, Path]:
        """The example films by label; empty where the training set was too small to make them."""
        found = {
            label: self.folder / "examples" / f"{label.lower()}.png"
            for label in self.config["labels"]
        }
        return {label: path for label, path in found.items() if path.is_file()}

    def load_network(self) -> keras.Model:
        """Build the network and load its weights; takes some seconds, for TensorFlow.

        Raises:
            BundleError: the weights do not fit the recipe.
        """
        from xray_core.model.architectures import build_network

        network = build_network(self.recipe, input_size=tuple(self.config["input_size"]))
        try:
            network.load_weights(self.folder / WEIGHTS)
        except (ValueError, OSError, KeyError) as error:
            raise BundleError(
                f"The weights of the model {self.name} do not fit its recipe: train it again."
            ) from error
        network.trainable = False
        return network

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        # "none" is a subtype and NA a possible patient: nothing but an empty field is missing.
        return pd.read_csv(self.folder / name, keep_default_na=False, na_values=[""])


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle and check that it is whole and unchanged.

    Raises:
        BundleError: it is missing, half-written, of another format, or a file was changed.
    """
    folder = Path(path)
    config_file = folder / CONFIG
    if not folder.is_dir():
        raise BundleError(
            f"There is no model at {folder}: train one with `python train.py --name {folder.name}`."
        )
    if not config_file.is_file():
        raise BundleError(f"The model {folder.name} is incomplete: {CONFIG} is missing.")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        version = config["format"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise BundleError(f"The model {folder.name} has a damaged {CONFIG}.") from error
    if version != FORMAT:
        raise BundleError(
            f"The model {folder.name} has format {version}, and this version reads format "
            f"{FORMAT}: train it again, or use the version that wrote it."
        )
    bundle = Bundle(folder, config)
    try:
        files = dict(config["files"])
        for key in ("name", "version", "labels", "input_size", "recipe", "calibration", "metrics"):
            config[key]
        _ = bundle.calibration, bundle.recipe
    except (KeyError, TypeError, ValueError, RecipeError) as error:
        raise BundleError(f"The model {folder.name} has a damaged {CONFIG}: {error}.") from error
    for name in (*REQUIRED, *files):
        if not (folder / name).is_file():
            raise BundleError(f"The model {folder.name} is incomplete: {name} is missing.")
        if name not in files or sha256(folder / name) != files[name]:
            raise BundleError(
                f"The model {folder.name} is not as it was saved: {name} was changed. Fetch it "
                "again or train it again."
            )
    return bundle


def list_bundles(models: str | Path = "models") -> list[tuple[str, str | None]]:
    """Names of the bundles in a folder, each with what is wrong with it, or None."""
    folder = Path(models)
    if not folder.is_dir():
        return []
    named = [path for path in sorted(folder.iterdir()) if _NAME.fullmatch(path.name)]
    with ThreadPoolExecutor() as threads:  # hashing lets other threads run
        return list(threads.map(_checked, [path for path in named if path.is_dir()]))


def _checked(path: Path) -> tuple[str, str | None]:
    try:
        open_bundle(path)
    except (BundleError, OSError) as error:
        return path.name, str(error)
    return path.name, None


def checked_name(models: Path, name: str, *, overwrite: bool) -> str:
    """`name`, if a bundle may be written under it.

    Raises:
        BundleError: the name is taken and `overwrite` is not set, or is no name for a folder.
    """
    if not _NAME.fullmatch(name):
        raise BundleError(
            "A model's name has letters, digits, dots, dashes and underscores, and begins with a "
            f"letter or digit. Received: {name!r}."
        )
    if (models / name).exists() and not overwrite:
        raise BundleError(
            f"There is a model called {name} in {models} already: choose another --name, or "
            "replace it with --overwrite."
        )
    return name


def free_name(models: Path, name: str) -> str:
    """`name`, or `name-2`, `name-3`, ...: the first that no bundle has."""
    number, free = 1, name
    while (models / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes the bundle `target` when the block ends without an error.

    Whoever writes fills it and calls `seal` last. A bundle already at `target` stays readable
    until then, and comes back if the last rename fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(
        tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    )
    try:
        yield partial
        partial.chmod(0o755)
        if target.exists():
            old = partial.with_suffix(".old")
            target.rename(old)
            try:
                partial.rename(target)
            except OSError:
                old.rename(target)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def seal(folder: Path, config: dict[str, Any]) -> None:
    """Write `config.json` with the hashes of all other files in `folder`: the last step."""
    files = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CONFIG
    }
    text = json.dumps({"format": FORMAT, **config, "files": files}, indent=2, allow_nan=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def save_weights(network: keras.Model, path: Path) -> None:
    """Write a network's weights, large kernels in half precision, everything else as it is.

    Small kernels, ResNet50's conv1 and conv2 among them, weigh little, and rounding them moves
    probabilities most: by .006 instead of .0004. Batch normalisation's variances reach 83,614
    there, beyond the 65,504 of half precision.
    """
    import h5py
    import numpy as np

    network.save_weights(path)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        whole = Path(scratch) / path.name
        path.rename(whole)
        with h5py.File(whole, "r") as source, h5py.File(path, "w") as target:

            def copy(name: str, item: Any) -> None:
                if not isinstance(item, h5py.Dataset):
                    made = target.require_group(name)
                else:
                    value = item[()]
                    if item.ndim >= 2 and item.size >= LARGE_KERNEL and item.dtype == np.float32:
                        value = value.astype(np.float16)
                    made = target.create_dataset(name, data=value)
                made.attrs.update(item.attrs)

            source.visititems(copy)
            target.attrs.update(source.attrs)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
