"""Checkpoints of a training: an interruption loses at most the current epoch."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from xray_core.errors import BundleError


@dataclass
class State:
    """Progress of a training, from which `--resume` continues.

    Attributes
    ----------
    identity : dict
        Recipe, seeds and images; must be equal for a run to be resumed.
    epoch, best_epoch : int
        Last finished epoch and best epoch, counted from 1.
    best_loss : float
        Validation loss of the best epoch.
    history : list of dict
        One row per epoch.
    """

    identity: dict[str, Any]
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def waited(self) -> int:
        """Number of epochs since the best one."""
        return self.epoch - self.best_epoch

    def seconds(self) -> float:
        """Sum the training time of all epochs, in seconds."""
        return sum(row["seconds"] for row in self.history)


def checkpoint_folder(run_folder: Path, epoch: int) -> Path:
    """Get the folder of an epoch's checkpoint.

    Parameters
    ----------
    run_folder : pathlib.Path
    epoch : int

    Returns
    -------
    pathlib.Path
    """
    return run_folder / f"epoch-{epoch:03d}"


def save_state(
    run_folder: Path, state: State, weights: keras.Model, optimizer: Any, *, better: bool
) -> None:
    """Write a checkpoint to a temporary folder, rename it, and delete the previous checkpoint.

    Parameters
    ----------
    run_folder : pathlib.Path
    state : State
    weights : keras.Model
        The network, whose weights are stored.
    optimizer : keras.optimizers.Optimizer
    better : bool
        Whether this epoch is the best so far.
    """
    target = checkpoint_folder(run_folder, state.epoch)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    weights.save_weights(partial / "last.weights.h5")
    before = checkpoint_folder(run_folder, state.epoch - 1)
    best = partial / "last.weights.h5" if better else before / "best.weights.h5"
    shutil.copyfile(best, partial / "best.weights.h5")
    variables: dict[str, np.ndarray] = {}
    optimizer.save_own_variables(variables)
    np.savez(partial / "optimizer.npz", **variables)  # type: ignore[arg-type]
    (partial / "state.json").write_text(json.dumps(asdict(state)))
    partial.rename(target)
    for old in run_folder.glob("epoch-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def restore_state(checkpoint: Path, weights: keras.Model, optimizer: Any) -> None:
    """Load the weights and the optimizer's variables from a checkpoint.

    Parameters
    ----------
    checkpoint : pathlib.Path
        The checkpoint's folder.
    weights : keras.Model
    optimizer : keras.optimizers.Optimizer
    """
    weights.load_weights(checkpoint / "last.weights.h5")
    with np.load(checkpoint / "optimizer.npz", allow_pickle=False) as stored:
        optimizer.load_own_variables({name: stored[name] for name in stored.files})


def load_state(run_folder: Path, identity: dict[str, Any]) -> State:
    """Load the state of a run; a new state if no epoch was finished.

    Parameters
    ----------
    run_folder : pathlib.Path
    identity : dict
        The identity of the current run.

    Returns
    -------
    State

    Raises
    ------
    BundleError
        The stored run has another identity.
    """
    data = _last_state(run_folder)
    if data is None:
        return State(identity)
    state = State(**data)
    for key, value in json.loads(json.dumps(identity)).items():
        if state.identity.get(key) != value:
            raise BundleError(
                f"The stopped training in {run_folder} was started with another {key}: resume it "
                "with the same options, or start a new training without --resume."
            )
    return state


def load_identity(run_folder: Path) -> dict[str, Any]:
    """Load the identity of a run; empty if no epoch was finished.

    Parameters
    ----------
    run_folder : pathlib.Path

    Returns
    -------
    dict
    """
    data = _last_state(run_folder)
    return {} if data is None else data["identity"]


def _last_state(run_folder: Path) -> dict[str, Any] | None:
    finished = sorted(path for path in run_folder.glob("epoch-*") if path.suffix != ".partial")
    return json.loads((finished[-1] / "state.json").read_text()) if finished else None
