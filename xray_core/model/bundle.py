"""The one door for trained models: a folder that holds all that a model is and was.

A bundle is written to a temporary folder and renamed, so that it is whole or absent. Opening it
checks the format and every file's SHA-256. It may come from a stranger: opening it runs no code
and reads nothing outside its folder (`bundle_checks`). Nothing here imports Keras until a network
is asked for.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
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

from xray_core.errors import BundleError
from xray_core.model import bundle_checks
from xray_core.model.calibration import Calibration
from xray_core.model.recipes import LABELS, Recipe

if TYPE_CHECKING:
    import keras
    import pandas as pd

FORMAT = 2
CONFIG, WEIGHTS, GATE, NEIGHBOURS = "config.json", "model.weights.h5", "gate.npz", "neighbours.npz"
HISTORY, DATASET, PREDICTIONS, CARD = (
    "history.csv",
    "dataset.csv",
    "predictions.csv",
    "MODEL_CARD.md",
)
AVERAGES = "averages.npz"
REQUIRED = (WEIGHTS, GATE, NEIGHBOURS, HISTORY, DATASET, PREDICTIONS, CARD)
EXAMPLES = tuple(f"examples/{label.lower()}.png" for label in LABELS)
LABELLED = ("file", "fold", "label", "subtype", "patient")
COLUMNS = {  # of the tables: those that others rely on
    PREDICTIONS: (*LABELLED, "logit", "probability", "verdict", "gate"),
    DATASET: ("path", "label"),
    HISTORY: ("epoch",),
}
LARGEST = {  # bytes
    CONFIG: 4_000_000,
    WEIGHTS: 2_000_000_000,
    GATE: 64_000_000,
    NEIGHBOURS: 128_000_000,
    HISTORY: 4_000_000,
    DATASET: 64_000_000,
    PREDICTIONS: 64_000_000,
    CARD: 1_000_000,
}
LARGEST_OTHER = 16_000_000
WORDS = (*LABELLED, "path", "verdict", "gate", "sha256")
VERDICTS = ("NORMAL", "PNEUMONIA", "UNCERTAIN", "REFUSED", "UNREADABLE")
LARGE_KERNEL = 40_000  # values
_PARTIAL, _OLD = ".partial", ".old"  # suffixes of the hidden folders while one replaces another
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
        return bundle_checks.read_recipe(self.config["recipe"])

    @property
    def gate_file(self) -> Path:
        """The gate, for `xray_core.model.gate.Gate.load`."""
        return self.folder / GATE

    @property
    def neighbours_file(self) -> Path:
        """The training images' features, for `xray_core.model.neighbours.Neighbours.load`."""
        return self.folder / NEIGHBOURS

    def predictions(self) -> pd.DataFrame:
        """Validation and test images with their predictions, as training left them.

        Raises:
            BundleError: the table has values that no prediction has.
        """
        table = self._table(PREDICTIONS)
        answered = ~table["verdict"].isin(("REFUSED", "UNREADABLE"))
        probability = table["probability"]
        if not (
            table["label"].isin(LABELS).all()
            and table["fold"].isin(("validation", "test")).all()
            and table["verdict"].isin(VERDICTS).all()
            and table["gate"].isin(("passed", "caution", "refused")).all()
            and (probability.between(0, 1) | (probability.isna() & ~answered)).all()
            and all(bundle_checks.stays_inside(path) for path in table["file"].fillna(""))
        ):
            raise BundleError(self._damaged(PREDICTIONS))
        return table

    def dataset(self) -> pd.DataFrame:
        """The index of the images that the model was trained on, with what was measured of them."""
        return self._table(DATASET)

    def history(self) -> pd.DataFrame:
        """One row an epoch: losses, accuracies, learning rate, seconds."""
        return self._table(HISTORY)

    def card(self) -> str:
        """The model card, Markdown."""
        try:
            return (self.folder / CARD).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(self._damaged(CARD)) from error

    def examples(self) -> dict[str, Path]:
        """The example images by label; empty where the training set was too small to make them."""
        return {
            label: self.folder / name
            for label, name in zip(LABELS, EXAMPLES, strict=True)
            if name in self.config["files"]
        }

    def load_network(self) -> keras.Model:
        """Build the network and load its weights; takes some seconds, for TensorFlow.

        Raises:
            BundleError: the weights do not fit the recipe, or are not finite numbers stored in
                the bundle itself.
        """
        try:
            bundle_checks.check_weights(self.folder / WEIGHTS, self.recipe)
        except (ValueError, OSError, RuntimeError, KeyError) as error:
            why = f": {error}" if type(error) is ValueError else ""
            raise BundleError(
                f"The weights of the model {self.name} do not fit its recipe{why}. Train it again."
            ) from error

        from xray_core.model.architectures import build_network

        try:
            network = build_network(self.recipe)
            _load_every_weight(network, self.folder / WEIGHTS)
        except Exception as error:  # Keras and h5py raise what they like
            raise BundleError(
                f"The weights of the model {self.name} do not fit its recipe. Train it again."
            ) from error
        network.trainable = False
        return network

    def _table(self, name: str) -> pd.DataFrame:
        """Read a table: words stay words, and numbers have to be finite or missing."""
        import numpy as np
        import pandas as pd

        try:
            bundle_checks.check_table(self.folder / name, COLUMNS[name])
            # "none" is a subtype and NA a possible patient: only an empty field is missing.
            table = pd.read_csv(
                self.folder / name,
                dtype=dict.fromkeys(WORDS, "str"),
                index_col=False,
                keep_default_na=False,
                na_values=[""],
            )
            numbers = table.select_dtypes("number")
            expected = {PREDICTIONS: ["logit", "probability"], HISTORY: [*table]}.get(name, [])
            if (
                any(column not in numbers for column in expected)
                or np.isinf(numbers.to_numpy(np.float64)).any()
            ):
                raise ValueError("A number is not finite, or none.")
        except (ValueError, OSError) as error:
            raise BundleError(self._damaged(name)) from error
        return table

    def _damaged(self, name: str) -> str:
        return (
            f"The model {self.name} has a damaged {name}. Rebuild it with `python -m xray_core "
            f"finish {self.name}`, or train it again."
        )


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle and check that it is whole and unchanged.

    A bundle whose replacement was cut short is put back first.

    Raises:
        BundleError: it is missing, half-written, of another format, a file was changed, or it
            holds something that a model does not (a link, a number that is not finite, ...).
    """
    folder = Path(path)
    try:
        recover(folder)
        if not folder.is_dir():
            raise BundleError(
                f"There is no model called {folder.name}: train one with `python train.py --name "
                f"{folder.name}`."
            )
        return _opened(folder)
    except OSError as error:
        raise BundleError(
            f"The model {folder.name} cannot be read: {error.strerror or 'the disk failed'}."
        ) from error


def _opened(folder: Path) -> Bundle:
    bundle_checks.check_file(folder, CONFIG, LARGEST[CONFIG])
    try:
        config = bundle_checks.parse_config((folder / CONFIG).read_text(encoding="utf-8"))
        version = config.get("format")
        if type(version) is not int:
            raise ValueError("it has no format")
        if version == 1:
            config = convert_format_1(config)
            version = FORMAT
        if version != FORMAT:
            raise BundleError(
                f"The model {folder.name} has format {version}, and this version reads format "
                f"{FORMAT}: train it again, or use the version that wrote it."
            )
        bundle_checks.check_config(config)
        bundle = Bundle(folder, config)
        _ = bundle.calibration, bundle.recipe
    except ValueError as error:  # of text that is no UTF-8, too
        why = f": {error}" if type(error) is ValueError else ""
        raise BundleError(f"The model {folder.name} has a damaged {CONFIG}{why}.") from error
    files: dict[str, str] = config["files"]
    present = [name for name in (AVERAGES, *EXAMPLES) if os.path.lexists(folder / name)]
    for name in (*REQUIRED, *present, *files):
        bundle_checks.check_file(folder, name, LARGEST.get(name, LARGEST_OTHER))
        if name not in files or sha256(folder / name) != files[name]:
            raise BundleError(
                f"The model {folder.name} is not as it was saved: {name} was changed. Fetch it "
                "again or train it again."
            )
    for name, columns in COLUMNS.items():
        try:
            bundle_checks.check_table(folder / name, columns)
        except ValueError as error:
            raise BundleError(bundle._damaged(name)) from error
    return bundle


def convert_format_1(config: dict[str, Any]) -> dict[str, Any]:
    """Return the `config.json` of a bundle of format 1 in the names of format 2.

    Format 1 calls images films, the decision threshold `main` and the exclusion threshold
    `rule_out`, has other names for some natural frequencies, and has no `kind`: all of its bundles
    are classifiers.
    """
    names = {
        "main": "decision_threshold",
        "rule_out": "exclusion_threshold",
        "called": "detected",
        "cleared": "correctly_negative",
        "flagged": "wrongly_flagged",
    }

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                names.get(key, key.replace("film", "image")): convert(item)
                for key, item in value.items()
            }
        return [convert(item) for item in value] if isinstance(value, list) else value

    files = config.get("files", {})
    converted = convert({key: value for key, value in config.items() if key != "files"})
    layers = converted.get("layers")
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, dict) and layer.get("name") == "film":
            layer["name"] = "image"
    return {**converted, "format": FORMAT, "kind": "classifier", "files": files}


def list_bundles(models: str | Path = "models") -> list[tuple[str, str | None]]:
    """Names of the bundles in a folder, each with what is wrong with it, or None."""
    folder = Path(models)
    if not folder.is_dir():
        return []
    problems = {name: _unrecovered(folder / name) for name in _replaced(folder)}
    named = [path for path in sorted(folder.iterdir()) if _NAME.fullmatch(path.name)]
    with ThreadPoolExecutor() as threads:  # hashing lets other threads run
        found = dict(threads.map(_checked, [path for path in named if path.is_dir()]))
    return sorted((problems | found).items())


def _replaced(models: Path) -> list[str]:
    """Names of the bundles in a folder that are absent, for their replacement was cut short."""
    hidden = (old.name[1:].rsplit(".", 2)[0] for old in models.glob(f".*{_OLD}"))
    return [name for name in hidden if _NAME.fullmatch(name) and not (models / name).exists()]


def _unrecovered(target: Path) -> str | None:
    try:
        recover(target)
    except BundleError as error:
        return str(error)
    return None if target.exists() else f"The model {target.name} is damaged: train it again."


def _checked(path: Path) -> tuple[str, str | None]:
    try:
        open_bundle(path)
    except BundleError as error:
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
    recover(models / name)
    if (models / name).exists() and not overwrite:
        raise BundleError(
            f"There is a model called {name} in {models} already: choose another --name, or "
            "replace it with --overwrite."
        )
    return name


def free_name(models: Path, name: str) -> str:
    """`name`, or `name-2`, `name-3`, ...: the first that no bundle has."""
    number, free = 1, name
    while _is_taken(models / free):
        number += 1
        free = f"{name}-{number}"
    return free


def _is_taken(target: Path) -> bool:
    recover(target)
    return target.exists()


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes the bundle `target` when the block ends without an error.

    Whoever writes fills it and calls `seal` last. A bundle already at `target` stays readable
    until then, and comes back if the last rename fails.
    """
    recover(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=_PARTIAL, dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)
        if target.exists():
            old = partial.with_suffix(_OLD)
            target.rename(old)
            try:
                partial.rename(target)
            except OSError:
                # Another process may have seen the gap and put the new bundle there.
                if partial.exists():
                    old.rename(target)
                    raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def recover(target: Path) -> None:
    """Put a bundle back whose replacement was cut short between its two renames.

    What is found then is the old bundle and the new one, both under hidden names. The new one was
    whole before the old one was moved away, so it takes the place; if it does not open, the old
    one does. Nothing is done while there is a bundle at `target`. Several processes may do this
    at once: a folder can be renamed by one of them only, and never onto another.

    Raises:
        BundleError: both are there, but this program may not rename them.
    """
    if target.exists():
        return
    for old in sorted(target.parent.glob(f".{glob.escape(target.name)}.*{_OLD}")):
        refused: OSError | None = None
        for whole in (old.with_suffix(_PARTIAL), old):
            try:
                _opened(whole)
                whole.rename(target)
                break
            except BundleError:
                continue
            except OSError as error:
                refused = error
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            return
        if refused is not None:
            raise BundleError(
                f"The model {target.name} was being replaced when the program was stopped, and "
                "cannot be put back: this program needs the right to write to the folder of the "
                "models."
            ) from refused


def clear_leftovers(target: Path) -> None:
    """Remove what a killed program left half-made beside the bundle `target`, its own put back."""
    recover(target)
    for suffix in (_PARTIAL, _OLD):
        for left in target.parent.glob(f".{glob.escape(target.name)}.*{suffix}"):
            shutil.rmtree(left, ignore_errors=True)


def seal(folder: Path, config: dict[str, Any]) -> None:
    """Write `config.json` with the hashes of all other files in `folder`: the last step.

    Raises:
        BundleError: what was written would not open, so it must not take another's place.
    """
    files = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CONFIG
    }
    text = json.dumps(
        {"format": FORMAT, "kind": "classifier", **config, "files": files},
        indent=2,
        allow_nan=False,
    )
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    _opened(folder)


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


def _load_every_weight(network: keras.Model, path: Path) -> None:
    """Load a network's weights; ValueError where the file leaves one of them as it was.

    Keras only warns of layers that the file lacks.
    """
    import numpy as np

    network.set_weights([np.full_like(weight, np.nan) for weight in network.get_weights()])
    network.load_weights(path)
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        raise ValueError("A weight is missing or not finite.")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
