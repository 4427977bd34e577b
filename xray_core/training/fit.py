"""The training loop: epochs over fresh batches, early stopping, and a state that survives a kill.

After each epoch everything that the next one depends on is written to a folder of its own, which
is renamed into place when whole. Whoever resumes goes on after the last of them: same weights,
optimizer, best epoch and patience, and the same films to come.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from xray_core.errors import BundleError
from xray_core.model.recipes import Recipe
from xray_core.training import pipeline
from xray_core.training.pipeline import Films

STEM = ("conv1_", "conv2_")


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


@dataclass(frozen=True)
class Fitted:
    """A finished training: the network holds the best epoch's weights."""

    history: pd.DataFrame
    best_epoch: int
    seconds: float


def fit(
    network: keras.Model,
    recipe: Recipe,
    training: Films,
    validation: Films,
    run_folder: Path,
    *,
    seed: int,
    identity: dict[str, Any],
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Fitted:
    """Train `network` in place and leave it with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss, both classes weighing the same,
    over the validation films and, where the recipe asks for them, their shifted copies.

    Args:
        run_folder: where the state of the run is kept; created if absent.
        identity: recipe, seed and data in plain JSON; a run is resumed only under an equal one.

    Raises:
        BundleError: `resume`, but the run in `run_folder` is another one.
    """
    state = _resumed(run_folder, identity) if resume else State(identity)
    if not resume:
        shutil.rmtree(run_folder, ignore_errors=True)
    run_folder.mkdir(parents=True, exist_ok=True)

    varied = pipeline.shifted_films(validation, recipe.shifted_views, seed=seed)
    if recipe.cached_views:
        course: _Course = _HeadCourse(network, recipe, training, varied, seed)
    else:
        course = _WholeCourse(network, recipe, training, varied, seed)
    model = course.model
    weights = keras.Model(model.input, model.output)  # never compiled: saves no optimizer
    steps = max(1, len(training) // min(recipe.batch_size, len(training)))
    optimizer = _optimizer(recipe, model, steps)
    if state.epoch:
        _restore(_checkpoint(run_folder, state.epoch), weights, optimizer)
        say(f"Going on after epoch {state.epoch} of {recipe.epochs}.")
    clock = time.monotonic()
    done_before = state.epoch
    frozen: bool | None = None
    while state.epoch < recipe.epochs and state.waited < recipe.patience:
        epoch = state.epoch + 1
        stem_frozen = recipe.train_backbone and epoch <= recipe.epochs - recipe.stem_epochs
        if stem_frozen != frozen:
            frozen = stem_frozen
            _set_stem(model, recipe, trainable=not stem_frozen)
            model.compile(optimizer=optimizer, loss=_loss(recipe), weighted_metrics=["accuracy"])
        started = time.monotonic()
        _reseed(model, seed, epoch)
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        fitted = model.fit(
            course.batches(epoch),
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
        row |= validation_numbers(course.validation_logits(), varied.label, len(validation))
        row["learning_rate"] = rate
        row["seconds"] = round(time.monotonic() - started, 2)
        state.epoch = epoch
        state.history.append(row)
        watched = row["val_loss"]
        if "shifted_loss" in row:
            watched = (watched + recipe.shifted_views * row["shifted_loss"]) / (
                1 + recipe.shifted_views
            )
        better = watched < state.best_loss
        if better or epoch == 1:
            state.best_epoch, state.best_loss = epoch, watched
        _save(run_folder, state, weights, optimizer, better=better or epoch == 1)
        left = (time.monotonic() - clock) / (epoch - done_before) * (recipe.epochs - epoch)
        say(_line(row, recipe.epochs, left, better=better))
    if state.epoch < recipe.epochs:
        say(f"Stopped early: no better epoch than {state.best_epoch} in {recipe.patience}.")
    weights.load_weights(_checkpoint(run_folder, state.epoch) / "best.weights.h5")
    _set_stem(model, recipe, trainable=True)
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


class _Bar(keras.callbacks.Callback):
    """A progress bar for one epoch: films batch by batch, loss, metrics, time left."""

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


class _Course(Protocol):
    """What is trained on what: a model, its batches epoch by epoch, and its validation."""

    model: keras.Model

    def batches(self, epoch: int) -> tf.data.Dataset:
        """(input, label (B, 1), weight (B,)) for one epoch."""

    def validation_logits(self) -> np.ndarray:
        """Log-odds (N,) of the validation films as the model stands."""


class _WholeCourse:
    """The whole network on augmented films."""

    def __init__(
        self, network: keras.Model, recipe: Recipe, training: Films, validation: Films, seed: int
    ) -> None:
        self.model = _objective(network, recipe)
        self._network, self._recipe, self._seed = network, recipe, seed
        self._training, self._validation = training, validation
        self._to_logit = keras.Model(network.input, network.get_layer("logit").output)

    def batches(self, epoch: int) -> tf.data.Dataset:
        return pipeline.training_batches(self._training, self._recipe, seed=self._seed, epoch=epoch)

    def validation_logits(self) -> np.ndarray:
        return self._to_logit.predict(pipeline.film_batches(self._validation), verbose=0)[:, 0]


class _HeadCourse:
    """Only the head, on features that the frozen backbone gave once for each augmented view.

    Epoch e sees view (e - 1) modulo K of every film: with K views the backbone runs K times
    instead of once an epoch.
    """

    def __init__(
        self, network: keras.Model, recipe: Recipe, training: Films, validation: Films, seed: int
    ) -> None:
        features = network.get_layer("features").output
        self.model = keras.Model(features, _objective(network, recipe).output)
        self._recipe, self._seed, self._label = recipe, seed, training.label
        self._weight = pipeline.class_weights(training.label, recipe.imbalance)
        to_features = keras.Model(network.input, features)
        self._views = [
            to_features.predict(pipeline.augmented_view(training, recipe, seed, view), verbose=0)
            for view in range(min(recipe.cached_views, recipe.epochs))
        ]
        self._validation = to_features.predict(pipeline.film_batches(validation), verbose=0)
        self._to_logit = keras.Model(features, network.get_layer("logit").output)

    def batches(self, epoch: int) -> tf.data.Dataset:
        view = self._views[(epoch - 1) % len(self._views)]
        rng = np.random.default_rng([self._seed, epoch])
        order = pipeline.epoch_order(self._label, self._recipe, rng)
        size = min(self._recipe.batch_size, len(self._label))
        rows = (view[order], self._label[order, None], self._weight[order])
        return tf.data.Dataset.from_tensor_slices(rows).batch(size).prefetch(tf.data.AUTOTUNE)

    def validation_logits(self) -> np.ndarray:
        return self._to_logit.predict(self._validation, verbose=0, batch_size=256)[:, 0]


def _objective(network: keras.Model, recipe: Recipe) -> keras.Model:
    """The network up to the layer that the loss is taken of."""
    layer = "softmax" if recipe.output == "softmax" else "probability"
    return keras.Model(network.input, network.get_layer(layer).output)


def _loss(recipe: Recipe) -> keras.losses.Loss:
    if recipe.output == "softmax":
        return keras.losses.SparseCategoricalCrossentropy()
    return keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)


class StemRate:
    """Mixed into an optimizer: conv1 and conv2 learn at a share of the learning rate."""

    stem_rate = 1.0

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        # TensorFlow hands over its own variable, which has lost the name it has in the network.
        known = self._trainable_variables[self._get_variable_index(variable)]  # type: ignore[attr-defined]
        if known.path.startswith(STEM):
            learning_rate = learning_rate * self.stem_rate
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]


class StemAdam(StemRate, keras.optimizers.Adam):
    pass


class StemAdamW(StemRate, keras.optimizers.AdamW):
    pass


def _optimizer(recipe: Recipe, model: keras.Model, steps: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer, built for every weight that is trained in the end."""
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        warmup = max(1, steps // 2)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(1, recipe.epochs * steps - warmup),
            warmup_target=recipe.learning_rate,
            warmup_steps=warmup,
        )
    if recipe.optimizer == "adamw":
        optimizer = StemAdamW(rate, weight_decay=recipe.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    else:
        optimizer = StemAdam(rate)
    optimizer.stem_rate = recipe.stem_rate
    _set_stem(model, recipe, trainable=True)
    optimizer.build(model.trainable_variables)
    return optimizer


def _set_stem(model: keras.Model, recipe: Recipe, *, trainable: bool) -> None:
    if recipe.train_backbone:
        for layer in model.layers:
            if layer.name.startswith(STEM):
                layer.trainable = trainable


def _reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Dropout draws from the seed and the epoch, so that a resumed epoch drops the same units."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate:
            layer.seed_generator.state.assign(np.array([seed, epoch], np.uint32))


def _checkpoint(run_folder: Path, epoch: int) -> Path:
    return run_folder / f"epoch-{epoch:03d}"


def _save(
    run_folder: Path, state: State, weights: keras.Model, optimizer: Any, *, better: bool
) -> None:
    """Write the epoch's state to a folder and rename it into place; then drop the one before."""
    target = _checkpoint(run_folder, state.epoch)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    weights.save_weights(partial / "last.weights.h5")
    before = _checkpoint(run_folder, state.epoch - 1)
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


def _restore(checkpoint: Path, weights: keras.Model, optimizer: Any) -> None:
    weights.load_weights(checkpoint / "last.weights.h5")
    with np.load(checkpoint / "optimizer.npz", allow_pickle=False) as stored:
        optimizer.load_own_variables({name: stored[name] for name in stored.files})


def _resumed(run_folder: Path, identity: dict[str, Any]) -> State:
    """The state of the run in `run_folder`, or a fresh one where no epoch was finished."""
    whole = sorted(path for path in run_folder.glob("epoch-*") if path.suffix != ".partial")
    if not whole:
        return State(identity)
    state = State(**json.loads((whole[-1] / "state.json").read_text()))
    for key, value in json.loads(json.dumps(identity)).items():
        if state.identity.get(key) != value:
            raise BundleError(
                f"The stopped training in {run_folder} was begun with another {key}: resume it "
                "with the same options, or start afresh without --resume."
            )
    return state


def _line(row: dict[str, float], epochs: int, left: float, *, better: bool) -> str:
    shift = f" · shifted AUC {row['shifted_auc']:.3f}" if "shifted_auc" in row else ""
    return (
        f"Epoch {row['epoch']:.0f}/{epochs} · loss {row['loss']:.3f} · "
        f"validation loss {row['val_loss']:.3f}, AUC {row['val_auc']:.3f}{shift} · "
        f"{row['seconds']:.0f} s{' · best so far' if better else ''}"
        f"{f' · at most {left / 60:.0f} min left' if row['epoch'] < epochs else ''}"
    )
