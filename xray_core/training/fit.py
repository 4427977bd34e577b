"""The training loop: epochs over fresh batches, early stopping, and a state that survives a kill.

After each epoch everything that the next one depends on is written to a folder of its own, which
is renamed into place when whole. Whoever resumes goes on after the last of them: same weights,
optimizer, best epoch and patience, and the same images to come.
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
import tensorflow as tf
from tqdm import tqdm

from xray_core.model.recipes import Recipe
from xray_core.training import data as pipeline
from xray_core.training.checkpoints import (
    State,
    checkpoint,
    restore_state,
    load_state,
    save_state,
)
from xray_core.training.data import ImageSet
from xray_core.training.optimizers import build_loss, build_optimizer, set_stem_trainable
from xray_core.training.trainers import HeadTrainer, NetworkTrainer, Trainer


@dataclass(frozen=True)
class Fitted:
    """A finished training: the network holds the best epoch's weights."""

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
    seed: int,
    split_seed: int = 0,
    identity: dict[str, Any],
    resume: bool = False,
    log: Callable[[str], None] = print,
) -> Fitted:
    """Train `network` in place and leave it with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss, both classes weighing the same,
    over the validation images and, where the recipe asks for them, their shifted copies. Where the
    stem joins in late, only epochs that trained it can be the best, once they have begun.

    Args:
        run_folder: where the state of the run is kept; created if absent.
        split_seed: draws the shifted copies of the validation images.
        identity: recipe, seeds and images in plain JSON; a run is resumed only under an equal one.

    Raises:
        BundleError: `resume`, but the run in `run_folder` is another one.
    """
    state = load_state(run_folder, identity) if resume else State(identity)
    if not resume:
        shutil.rmtree(run_folder, ignore_errors=True)
    run_folder.mkdir(parents=True, exist_ok=True)

    varied = pipeline.add_shifted_copies(validation, recipe.shifted_views, seed=split_seed)
    if recipe.cached_views:
        trainer: Trainer = HeadTrainer(network, recipe, training, varied, seed)
    else:
        trainer = NetworkTrainer(network, recipe, training, varied, seed)
    model = trainer.model
    weights = keras.Model(model.input, model.output)  # never compiled: saves no optimizer
    steps = max(1, len(training) // min(recipe.batch_size, len(training)))
    optimizer = build_optimizer(recipe, model, steps)
    if state.epoch:
        restore_state(checkpoint(run_folder, state.epoch), weights, optimizer)
        log(f"Going on after epoch {state.epoch} of {recipe.epochs}.")
    clock = time.monotonic()
    done_before = state.epoch
    frozen: bool | None = None
    while state.epoch < recipe.epochs and state.waited < recipe.patience:
        epoch = state.epoch + 1
        stem_frozen = recipe.train_backbone and epoch <= recipe.epochs - recipe.stem_epochs
        if stem_frozen != frozen:
            frozen = stem_frozen
            set_stem_trainable(model, recipe, trainable=not stem_frozen)
            model.compile(
                optimizer=optimizer, loss=build_loss(recipe), weighted_metrics=["accuracy"]
            )
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
        row["loss"] = float(fitted.history["loss"][-1])
        row["accuracy"] = float(fitted.history["accuracy"][-1])
        row |= validation_numbers(trainer.validation_logits(), varied.label, len(validation))
        row["learning_rate"] = rate
        row["seconds"] = round(time.monotonic() - started, 2)
        state.epoch = epoch
        state.history.append(row)
        watched = row["val_loss"]
        if "shifted_loss" in row:
            watched = (watched + recipe.shifted_views * row["shifted_loss"]) / (
                1 + recipe.shifted_views
            )
        # Only epochs that trained every layer may be the best, once they have begun.
        whole_at_last = not stem_frozen and epoch == recipe.epochs - recipe.stem_epochs + 1
        better = watched < state.best_loss or epoch == 1 or whole_at_last
        if better:
            state.best_epoch, state.best_loss = epoch, watched
        save_state(run_folder, state, weights, optimizer, better=better)
        left = (time.monotonic() - clock) / (epoch - done_before) * (recipe.epochs - epoch)
        log(_line(row, recipe.epochs, left, better=better))
    if state.epoch < recipe.epochs:
        log(f"Stopped early: no better epoch than {state.best_epoch} in {recipe.patience}.")
    weights.load_weights(checkpoint(run_folder, state.epoch) / "best.weights.h5")
    set_stem_trainable(model, recipe, trainable=True)
    return Fitted(pd.DataFrame(state.history), state.best_epoch, state.seconds())


def validation_numbers(logit: np.ndarray, label: np.ndarray, originals: int) -> dict[str, float]:
    """Loss, accuracy and AUC of validation logits (N,): the first `originals`, then the rest.

    The loss is the cross-entropy with both classes weighing the same, without label smoothing.
    """
    from sklearn.metrics import roc_auc_score

    numbers: dict[str, float] = {}
    parts = {"val": slice(None, originals), "shifted": slice(originals, None)}
    for name, part in parts.items():
        z, y = logit[part].astype(np.float64), label[part]
        if not len(y):
            continue
        losses = np.logaddexp(0, np.where(y == 1, -z, z))
        numbers[f"{name}_loss"] = float(
            np.mean([losses[y == value].mean() for value in (0, 1) if (y == value).any()])
        )
        numbers[f"{name}_accuracy"] = float(((z > 0) == (y == 1)).mean())
        both = len(np.unique(y)) == 2 and bool(np.isfinite(z).all())
        numbers[f"{name}_auc"] = float(roc_auc_score(y, z)) if both else float("nan")
    return numbers


def logits_of(network: keras.Model, batches: tf.data.Dataset) -> np.ndarray:
    """Raw log-odds of pneumonia, (N,), in the order of the batches."""
    to_logit = keras.Model(network.input, network.get_layer("logit").output)
    return to_logit.predict(batches, verbose=0)[:, 0]


def _reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Dropout draws from the seed and the epoch, so that a resumed epoch drops the same units."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            layer.seed_generator.state.assign(np.array([seed, epoch], np.uint32))


class _Bar(keras.callbacks.Callback):
    """A progress bar for one epoch: images batch by batch, loss, metrics, time left."""

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


def _line(row: dict[str, float], epochs: int, left: float, *, better: bool) -> str:
    shift = f" · shifted AUC {row['shifted_auc']:.3f}" if "shifted_auc" in row else ""
    return (
        f"Epoch {row['epoch']:.0f}/{epochs} · loss {row['loss']:.3f} · "
        f"validation loss {row['val_loss']:.3f}, AUC {row['val_auc']:.3f}{shift} · "
        f"{row['seconds']:.0f} s{' · best so far' if better else ''}"
        f"{f' · at most {left / 60:.0f} min left' if row['epoch'] < epochs else ''}"
    )
