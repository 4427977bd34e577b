"""How far a training is, kept so that a kill at any moment loses at most the epoch under way."""

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
    """How far a training is: what `--resume` goes on from.

    `identity` is what must be equal for the rest of the training to continue the beginning.
    """

    identity: dict[str, Any]
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def waited(self) -> int:
        """Epochs since the best one."""
        return self.epoch - self.best_epoch

    def seconds(self) -> float:
        return sum(row["seconds"] for row in self.history)


def checkpoint(run_folder: Path, epoch: int) -> Path:
    return run_folder / f"epoch-{epoch:03d}"


def save_state(
    run_folder: Path, state: State, weights: keras.Model, optimizer: Any, *, better: bool
) -> None:
    """Write the epoch's state to a folder and rename it into place; then drop the one before."""
    target = checkpoint(run_folder, state.epoch)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    weights.save_weights(partial / "last.weights.h5")
    before = checkpoint(run_folder, state.epoch - 1)
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
    weights.load_weights(checkpoint / "last.weights.h5")
    with np.load(checkpoint / "optimizer.npz", allow_pickle=False) as stored:
        optimizer.load_own_variables({name: stored[name] for name in stored.files})


def load_state(run_folder: Path, identity: dict[str, Any]) -> State:
    """The state of the run in `run_folder`, or a fresh one where no epoch was finished."""
    data = _last_state(run_folder)
    if data is None:
        return State(identity)
    state = State(**data)
    for key, value in json.loads(json.dumps(identity)).items():
        if state.identity.get(key) != value:
            raise BundleError(
                f"The stopped training in {run_folder} was begun with another {key}: resume it "
                "with the same options, or start afresh without --resume."
            )
    return state


def load_identity(run_folder: Path) -> dict[str, Any]:
    """The identity of the run in `run_folder`; empty where no epoch was finished."""
    data = _last_state(run_folder)
    return {} if data is None else data["identity"]


def _last_state(run_folder: Path) -> dict[str, Any] | None:
    whole = sorted(path for path in run_folder.glob("epoch-*") if path.suffix != ".partial")
    return json.loads((whole[-1] / "state.json").read_text()) if whole else None
