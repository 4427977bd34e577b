"""The training loop: epochs, early stopping, and checkpoints to resume from.

After each epoch, all that the next one depends on is written to a checkpoint. A resumed training
continues after the last checkpoint with the same weights, optimizer, best epoch, patience and
images, so it gives the same result as an uninterrupted one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from xray_core.model.lungs import LungSegmenter
from xray_core.model.recipes import Recipe
from xray_core.training.checkpoints import (
    State,
    checkpoint_folder,
    load_state,
    restore_state,
    save_state,
)
from xray_core.training.data import ImageSet
from xray_core.training.optimizers import build_optimizer, set_stem_trainable
from xray_core.training.trainers import Trainer, build_trainer


@dataclass(frozen=True)
class Fitted:
    """A finished training; the network has the weights of the best epoch.

    Attributes
    ----------
    history : pandas.DataFrame
        One row per epoch.
    best_epoch : int
        Counted from 1.
    seconds : float
        Training time.
    """

    history: pd.DataFrame
    best_epoch: int
    seconds: float


def fit(
    network: keras.Model,
    recipe: Recipe,
    training: ImageSet,
    validation: ImageSet,
    run_folder: Path,
    *,
    segmenter: LungSegmenter | None = None,
    seed: int,
    split_seed: int = 0,
    identity: dict[str, Any],
    resume: bool = False,
    log: Callable[[str], None] = print,
) -> Fitted:
    """Train a network in place; it ends with the weights of its best epoch.

    The best epoch has the lowest validation loss. For a classifier it has equal weight for both
    classes, and is taken over the validation images and the shifted copies that the recipe asks
    for. Once the stem is trained, only epochs that trained it can be the best.

    Parameters
    ----------
    network : keras.Model
        As `build_network` returns it.
    recipe : Recipe
        How to train.
    training, validation : ImageSet
        The folds.
    run_folder : pathlib.Path
        Folder of the checkpoints; created if absent.
    segmenter : LungSegmenter, optional
        Finds the lungs of validation images, for a recipe with a `lung_margin`.
    seed : int
        Seed of the order, augmentation and dropout.
    split_seed : int
        Seed of the shifted copies of the validation images.
    identity : dict
        Recipe, seeds and images as plain JSON; must be equal for a run to be resumed.
    resume : bool
        Continue the run in `run_folder`.
    log : callable
        Receives one line of text per event.

    Returns
    -------
    Fitted

    Raises
    ------
    BundleError
        `resume` is set, and the run in `run_folder` has another identity.
    """
    state = load_state(run_folder, identity) if resume else State(identity)
    if not resume:
        shutil.rmtree(run_folder, ignore_errors=True)
    run_folder.mkdir(parents=True, exist_ok=True)

    trainer = build_trainer(
        network,
        recipe,
        training,
        validation,
        segmenter=segmenter,
        seed=seed,
        split_seed=split_seed,
    )
    model = trainer.model
    weights = keras.Model(model.input, model.output)  # never compiled: saves no optimizer
    steps = max(1, len(training) // min(recipe.batch_size, len(training)))
    optimizer = build_optimizer(recipe, model, steps)
    if state.epoch:
        restore_state(checkpoint_folder(run_folder, state.epoch), weights, optimizer)
        log(f"Resuming after epoch {state.epoch} of {recipe.epochs}.")
    clock = time.monotonic()
    done_before = state.epoch
    frozen: bool | None = None
    while state.epoch < recipe.epochs and state.waited < recipe.patience:
        epoch = state.epoch + 1
        stem_frozen = recipe.train_backbone and epoch <= recipe.epochs - recipe.stem_epochs
        if stem_frozen != frozen:
            frozen = stem_frozen
            set_stem_trainable(model, recipe, trainable=not stem_frozen)
            trainer.compile(optimizer)
        started = time.monotonic()
        _reseed(model, seed, epoch)
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        fitted = model.fit(
            trainer.batches(epoch),
            initial_epoch=state.epoch,
            epochs=epoch,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=[_Bar(epoch, recipe.epochs, steps)],
        )
        row: dict[str, float] = {"epoch": epoch}
        # With several outputs, Keras prefixes the loss and the accuracy of each with its name.
        row |= {
            key.removeprefix("probability_"): float(values[-1])
            for key, values in fitted.history.items()
        }
        row |= trainer.validate()
        row["learning_rate"] = rate
        row["seconds"] = round(time.monotonic() - started, 2)
        state.epoch = epoch
        state.history.append(row)
        watched = trainer.watched_loss(row)
        # Once the stem is trained, only epochs that train every layer may be the best.
        first_with_stem = not stem_frozen and epoch == recipe.epochs - recipe.stem_epochs + 1
        better = watched < state.best_loss or epoch == 1 or first_with_stem
        if better:
            state.best_epoch, state.best_loss = epoch, watched
        save_state(run_folder, state, weights, optimizer, better=better)
        left = (time.monotonic() - clock) / (epoch - done_before) * (recipe.epochs - epoch)
        log(_progress_line(row, trainer, recipe.epochs, left, better=better))
    if state.epoch < recipe.epochs:
        log(
            f"Stopped early: no improvement on epoch {state.best_epoch} "
            f"in {recipe.patience} epochs."
        )
    weights.load_weights(checkpoint_folder(run_folder, state.epoch) / "best.weights.h5")
    set_stem_trainable(model, recipe, trainable=True)
    return Fitted(pd.DataFrame(state.history), state.best_epoch, state.seconds())


def _reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Seed dropout with the seed and the epoch, so that a resumed epoch drops the same units."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            layer.seed_generator.state.assign(np.array([seed, epoch], np.uint32))


class _Bar(keras.callbacks.Callback):
    """A progress bar for one epoch."""

    def __init__(self, epoch: int, epochs: int, steps: int) -> None:
        super().__init__()
        self._title, self._steps = f"Epoch {epoch}/{epochs}", steps

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._bar = tqdm(total=self._steps, desc=self._title, unit="batch", disable=None)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.set_postfix({k: f"{v:.3f}" for k, v in (logs or {}).items()}, refresh=False)
        self._bar.update()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._bar.close()


def _progress_line(
    row: dict[str, float], trainer: Trainer, epochs: int, left: float, *, better: bool
) -> str:
    return (
        f"Epoch {row['epoch']:.0f}/{epochs} · loss {row['loss']:.3f} · "
        f"validation loss {row['val_loss']:.3f}, {trainer.describe(row)} · "
        f"{row['seconds']:.0f} s{' · best so far' if better else ''}"
        f"{f' · at most {left / 60:.0f} min left' if row['epoch'] < epochs else ''}"
    )
