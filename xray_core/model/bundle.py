"""Trained models on disk: the one place where bundles are read.

A bundle is a folder with the weights of a network and all that belongs to them (`bundle_writing`
writes it). Opening it checks the format and the SHA-256 of every file. A bundle may come from an
untrusted source: opening it runs no code and reads nothing outside its folder (see
`bundle_checks`). Keras or OpenVINO is imported only to load a network.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_core.errors import BundleError
from xray_core.labels import LABELS, REFUSED, UNREADABLE, VERDICTS
from xray_core.model import bundle_checks
from xray_core.model.bundle_checks import Kind
from xray_core.model.bundle_format_1 import convert_format_1
from xray_core.model.bundle_networks import load_graph, load_network
from xray_core.model.calibration import Calibration
from xray_core.model.engine import Engine, compile_graph, trace
from xray_core.model.lungs import LungLimits, LungSegmenter
from xray_core.model.openvino_network import Graph
from xray_core.model.recipes import Recipe
from xray_core.model.unlike import UnlikeRule

if TYPE_CHECKING:
    import keras
    import pandas as pd

FORMAT = 2

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
LUNG_WEIGHTS = "lungs.weights.h5"  # a classifier's copy of the lung network; may be absent
GATE = "gate.npz"
UPRIGHT = "upright.npz"  # absent from older bundles
NEIGHBOURS = "neighbours.npz"
HISTORY = "history.csv"
DATASET = "dataset.csv"
PREDICTIONS = "predictions.csv"
SEGMENTATION = "segmentation.csv"
CARD = "MODEL_CARD.md"
AVERAGES = "averages.npz"
EXAMPLES = tuple(f"examples/{label.lower()}.png" for label in LABELS)
REQUIRED_FILES: dict[Kind, tuple[str, ...]] = {
    "classifier": (WEIGHTS, GATE, NEIGHBOURS, HISTORY, DATASET, PREDICTIONS, CARD),
    "segmentation": (WEIGHTS, HISTORY, SEGMENTATION, CARD),
}

_IMAGE_COLUMNS = ("file", "fold", "label", "subtype", "patient")
REQUIRED_COLUMNS = {
    PREDICTIONS: (*_IMAGE_COLUMNS, "logit", "probability", "verdict", "gate"),
    DATASET: ("path", "label"),
    HISTORY: ("epoch",),
    SEGMENTATION: (*_IMAGE_COLUMNS, "dice", "iou", "area", "reference_area"),
}
TEXT_COLUMNS = (*_IMAGE_COLUMNS, "path", "verdict", "gate", "sha256")

MAX_BYTES = {
    CONFIG: 4_000_000,
    WEIGHTS: 2_000_000_000,
    GATE: 64_000_000,
    NEIGHBOURS: 128_000_000,
    HISTORY: 4_000_000,
    DATASET: 64_000_000,
    PREDICTIONS: 64_000_000,
    SEGMENTATION: 64_000_000,
    CARD: 1_000_000,
}
MAX_BYTES_OTHER = 16_000_000  # of any other file

PARTIAL, OLD = ".partial", ".old"  # suffixes of the hidden folders during a replacement
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes
    ----------
    folder : Path
        The folder that holds its files.
    config : dict
        The content of its `config.json`, checked and in the names of `FORMAT`.
    """

    folder: Path
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the model, which is that of its folder."""
        return self.folder.name

    @property
    def kind(self) -> Kind:
        """Task of the network: "classifier" or "segmentation"."""
        kind: Kind = self.config["kind"]
        return kind

    @property
    def version(self) -> str:
        """Training date and the first eight digits of the SHA-256 of the weights."""
        return str(self.config["version"])

    @cached_property
    def calibration(self) -> Calibration:
        """Calibration of the network's log-odds, with the decision and exclusion thresholds."""
        return Calibration.from_dict(self.config["calibration"])

    @cached_property
    def unlike_rule(self) -> UnlikeRule | None:
        """Rule for images unlike the training images; None for a bundle that has no rule."""
        return UnlikeRule.from_dict(self.config["unlike"]) if "unlike" in self.config else None

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe that the network was built and trained from."""
        return bundle_checks.read_recipe(self.config["recipe"])

    @cached_property
    def lung_recipe(self) -> Recipe | None:
        """Recipe of a classifier's copy of the lung network; None without one."""
        lungs = self.config.get("lungs") if self.kind == "classifier" else None
        return None if lungs is None else bundle_checks.read_recipe(lungs["recipe"])

    @cached_property
    def lung_limits(self) -> LungLimits:
        """Limits of plausible lung fields: of a segmentation, or of a classifier's copy of one."""
        return LungLimits.from_dict(self.config["lungs"]["limits"])

    @property
    def gate_file(self) -> Path:
        """Path of the gate, for `xray_core.model.gate.Gate.load`."""
        return self.folder / GATE

    @property
    def upright_file(self) -> Path | None:
        """Path of the check for `model.upright.UprightCheck.load`; None for a bundle without it."""
        return self.folder / UPRIGHT if UPRIGHT in self.config["files"] else None

    @property
    def neighbours_file(self) -> Path:
        """Path of the training images' features, for `model.neighbours.Neighbours.load`."""
        return self.folder / NEIGHBOURS

    def predictions(self) -> pd.DataFrame:
        """Read the stored predictions of the validation and test images.

        Returns
        -------
        DataFrame
            One row per image, with the columns `REQUIRED_COLUMNS[PREDICTIONS]`: `logit` is the
            network's log-odds of pneumonia, `probability` the calibrated probability in [0, 1].

        Raises
        ------
        BundleError
            The table has a value that no prediction has.
        """
        table = self._table(PREDICTIONS)
        analysed = ~table["verdict"].isin((REFUSED, UNREADABLE))
        probability = table["probability"]
        if not (
            table["label"].isin(LABELS).all()
            and table["fold"].isin(("validation", "test")).all()
            and table["verdict"].isin(VERDICTS).all()
            and table["gate"].isin(("passed", "caution", "refused")).all()
            and (probability.between(0, 1) | (probability.isna() & ~analysed)).all()
            and all(bundle_checks.is_relative_path(path) for path in table["file"].fillna(""))
        ):
            raise BundleError(_damaged(self.name, PREDICTIONS))
        return table

    def segmentation(self) -> pd.DataFrame:
        """Read how well the masks of a segmentation fit the validation and test images.

        Returns
        -------
        DataFrame
            One row per image, with the columns `REQUIRED_COLUMNS[SEGMENTATION]`: Dice coefficient
            and intersection over union, and the areas of mask and reference as shares of the image.

        Raises
        ------
        BundleError
            The table has a value that no mask has.
        """
        table = self._table(SEGMENTATION)
        shares = table[["dice", "iou", "area", "reference_area"]]
        if not (
            table["label"].isin(LABELS).all()
            and table["fold"].isin(("validation", "test")).all()
            and ((shares >= 0) & (shares <= 1)).all(axis=None)
            and all(bundle_checks.is_relative_path(path) for path in table["file"].fillna(""))
        ):
            raise BundleError(_damaged(self.name, SEGMENTATION))
        return table

    def dataset(self) -> pd.DataFrame:
        """Read the index of the images that the model was trained on, with their measurements."""
        return self._table(DATASET)

    def history(self) -> pd.DataFrame:
        """Read the training history: one row per epoch, with losses, accuracies and duration."""
        return self._table(HISTORY)

    def card(self) -> str:
        """Read the model card, in Markdown."""
        try:
            return (self.folder / CARD).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(_damaged(self.name, CARD)) from error

    def examples(self) -> dict[str, Path]:
        """Return the paths of the example images by label; empty if the bundle has none."""
        return {
            label: self.folder / name
            for label, name in zip(LABELS, EXAMPLES, strict=True)
            if name in self.config["files"]
        }

    def load_network(self) -> keras.Model:
        """Build the network and load its weights. This takes several seconds.

        Returns
        -------
        keras.Model
            Not trainable. Input (B, 224, 224, 1), grey in [0, 255]. Output of a classifier:
            probability of pneumonia (B, 1); of a segmentation: probability of lung
            (B, 224, 224, 1).

        Raises
        ------
        BundleError
            The weights do not fit the recipe, are not finite, or are not stored in the bundle.
        """
        return load_network(
            self.folder / WEIGHTS, self.recipe, f"The weights of the model {self.name}"
        )

    def load_graph(self) -> Graph:
        """Build the network as an OpenVINO model, without TensorFlow; within a second.

        Raises
        ------
        BundleError
            As `load_network` does.
        """
        return load_graph(
            self.folder / WEIGHTS, self.recipe, f"The weights of the model {self.name}"
        )

    def load_lungs(self, engine: Engine = "tensorflow") -> LungSegmenter | None:
        """Load a classifier's copy of the lung network.

        Parameters
        ----------
        engine : {"tensorflow", "openvino"}
            The engine that runs it.

        Returns
        -------
        LungSegmenter or None
            None if the bundle has none.

        Raises
        ------
        BundleError
            As `load_network` does, for the weights of the lung network.
        """
        if self.lung_recipe is None:
            return None
        forward = (
            compile_graph(self.load_lung_graph().model)
            if engine == "openvino"
            else trace(self.load_lung_network())
        )
        return LungSegmenter(forward, self.lung_limits)

    def load_lung_network(self) -> keras.Model:
        """Load a classifier's copy of the lung network; raises as `load_network` does."""
        return load_network(*self._lung_weights())

    def load_lung_graph(self) -> Graph:
        """Build a classifier's copy of the lung network; raises as `load_graph` does."""
        return load_graph(*self._lung_weights())

    def _lung_weights(self) -> tuple[Path, Recipe, str]:
        if self.lung_recipe is None:
            raise BundleError(f"The model {self.name} has no lung network.")
        weights = f"The weights of the lung network of the model {self.name}"
        return self.folder / LUNG_WEIGHTS, self.lung_recipe, weights

    def _table(self, name: str) -> pd.DataFrame:
        import numpy as np
        import pandas as pd

        try:
            bundle_checks.check_table(self.folder / name, REQUIRED_COLUMNS[name])
            # Only an empty field is missing: "none" is a subtype, and "NA" may be a patient.
            table = pd.read_csv(
                self.folder / name,
                dtype=dict.fromkeys(TEXT_COLUMNS, "str"),
                index_col=False,
                keep_default_na=False,
                na_values=[""],
            )
            numbers = table.select_dtypes("number")
            expected = {
                PREDICTIONS: ["logit", "probability"],
                HISTORY: [*table],
                SEGMENTATION: ["dice", "iou", "area", "reference_area"],
            }.get(name, [])
            if (
                any(column not in numbers for column in expected)
                or np.isinf(numbers.to_numpy(np.float64)).any()
            ):
                raise ValueError("A column has a value that is not a finite number.")
        except (ValueError, OSError) as error:
            raise BundleError(_damaged(self.name, name)) from error
        return table


def _damaged(model: str, file: str) -> str:
    return (
        f"The model {model} has a damaged {file}. Rebuild it with `python -m xray_core finish "
        f"{model}`, or train it again."
    )


def open_bundle(path: str | Path, *, kind: Kind | None = "classifier") -> Bundle:
    """Open a bundle and check that it is complete and unchanged.

    If the replacement of the bundle was interrupted, it is restored first. A bundle of format 1
    is converted in memory; its files stay as they are.

    Parameters
    ----------
    path : str or Path
        Folder of the bundle.
    kind : {"classifier", "segmentation"} or None
        Task of the network that the caller needs; None for any.

    Raises
    ------
    BundleError
        The bundle is missing, incomplete, changed, of an unknown format or of another kind, or it
        has content that no model has, such as a link or a number that is not finite.
    """
    bundle = _open_any_kind(Path(path))
    if kind is not None and bundle.kind != kind:
        raise BundleError(
            f"The model {bundle.name} is of the kind {bundle.kind}; a model of the kind {kind} is "
            "needed here. Choose another model."
        )
    return bundle


def _open_any_kind(folder: Path) -> Bundle:
    try:
        recover(folder)
        if not folder.is_dir():
            raise BundleError(
                f"There is no model called {folder.name}: train one with `python train.py --name "
                f"{folder.name}`."
            )
        return read_bundle(folder)
    except OSError as error:
        raise BundleError(
            f"The model {folder.name} cannot be read: {error.strerror or 'the disk failed'}."
        ) from error


def read_bundle(folder: Path) -> Bundle:
    bundle_checks.check_file(folder, CONFIG, MAX_BYTES[CONFIG])
    try:
        config = bundle_checks.parse_config((folder / CONFIG).read_text(encoding="utf-8"))
        version = config.get("format")
        if type(version) is not int:
            raise ValueError("it has no format")
        if version not in (1, FORMAT):
            raise BundleError(
                f"The model {folder.name} has format {version}, and this version reads formats 1 "
                f"to {FORMAT}: train it again, or use the version that wrote it."
            )
        if version == 1:
            config = convert_format_1(config)
        bundle_checks.check_config(config)
        bundle = Bundle(folder, config)
        if bundle.recipe.kind != bundle.kind:
            raise ValueError("its recipe is of another kind")
        if bundle.kind == "segmentation":
            _ = bundle.lung_limits
        else:
            _ = bundle.calibration, bundle.unlike_rule
            _check_lungs(bundle)
    except ValueError as error:  # includes UnicodeDecodeError
        why = f": {error}" if type(error) is ValueError else ""
        raise BundleError(f"The model {folder.name} has a damaged {CONFIG}{why}.") from error
    files: dict[str, str] = config["files"]
    required = REQUIRED_FILES[bundle.kind]
    present = [
        name
        for name in (AVERAGES, *EXAMPLES, LUNG_WEIGHTS, UPRIGHT)
        if os.path.lexists(folder / name)
    ]
    for name in (*required, *present, *files):
        bundle_checks.check_file(folder, name, MAX_BYTES.get(name, MAX_BYTES_OTHER))
        if name not in files or sha256(folder / name) != files[name]:
            raise BundleError(
                f"The model {folder.name} is not as it was saved: {name} was changed. Download it "
                "again or train it again."
            )
    for name in required:
        if name not in REQUIRED_COLUMNS:
            continue
        try:
            bundle_checks.check_table(folder / name, REQUIRED_COLUMNS[name])
        except ValueError as error:
            raise BundleError(_damaged(folder.name, name)) from error
    return bundle


def _check_lungs(bundle: Bundle) -> None:
    """Check that a classifier has a lung network in its config and its files, or in neither."""
    recipe = bundle.lung_recipe
    if (recipe is None) == (LUNG_WEIGHTS in bundle.config["files"]):
        raise ValueError(f"{LUNG_WEIGHTS} and its entry on the lung network do not go together")
    if recipe is None:
        return
    if recipe.kind != "segmentation":
        raise ValueError("the recipe of its lung network is of another kind")
    _ = bundle.lung_limits


def list_bundles(
    models: str | Path = "models", *, kind: Kind = "classifier"
) -> list[tuple[str, str | None]]:
    """List the bundles in a folder, each with the reason why it cannot be opened.

    Parameters
    ----------
    models : str or Path
        Folder that holds the bundles.
    kind : {"classifier", "segmentation"}
        Bundles of the other kind are left out. A bundle that cannot be opened is always listed.

    Returns
    -------
    list of (str, str or None)
        Name and problem of each bundle, sorted by name; None if it can be opened.
    """
    folder = Path(models)
    if not folder.is_dir():
        return []
    hidden = (path.name[1:].rsplit(".", 2)[0] for path in folder.glob(f".*{OLD}"))
    folders = (path.name for path in folder.iterdir() if path.is_dir())
    names = sorted({name for name in (*hidden, *folders) if NAME.fullmatch(name)})
    with ThreadPoolExecutor() as threads:  # hashing releases the GIL
        opened = list(threads.map(lambda name: _bundle_or_problem(folder / name), names))
    return [
        (name, bundle if isinstance(bundle, str) else None)
        for name, bundle in zip(names, opened, strict=True)
        if isinstance(bundle, str) or bundle.kind == kind
    ]


def _bundle_or_problem(folder: Path) -> Bundle | str:
    try:
        return _open_any_kind(folder)
    except BundleError as error:
        return str(error)


def recover(target: Path) -> None:
    """Restore a bundle whose replacement was interrupted between its two renames.

    In this state the old and the new bundle have hidden names, and nothing is at `target`. The new
    bundle was complete before the old one was moved, so it is restored; if it cannot be opened,
    the old one is. Nothing is done if `target` exists. Several processes may call this at the same
    time, because only one of them can rename a folder, and never onto another.

    Parameters
    ----------
    target : Path
        Folder of the bundle.

    Raises
    ------
    BundleError
        This program has no permission to rename the folders.
    """
    if target.exists():
        return
    for old in sorted(target.parent.glob(f".{glob.escape(target.name)}.*{OLD}")):
        failure: OSError | None = None
        for candidate in (old.with_suffix(PARTIAL), old):
            try:
                read_bundle(candidate)
                candidate.rename(target)
                break
            except BundleError:
                continue
            except OSError as error:
                failure = error
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            return
        if failure is not None:
            raise BundleError(
                f"The replacement of the model {target.name} was interrupted, and the model cannot "
                "be restored: this program needs permission to write to the folder of the models."
            ) from failure


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
