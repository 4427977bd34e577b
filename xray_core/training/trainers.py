"""Trainers: a network on images, its head alone on cached features, or a segmentation.

What differs between them in a training is here: model, loss, batches, validation. The loop is in
`fit.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from xray_core.model.architectures import last_spatial_layer
from xray_core.model.lungs import LungSegmenter, clean_mask, overlap
from xray_core.model.recipes import Recipe
from xray_core.training import batches
from xray_core.training.data import ImageSet, add_shifted_copies, model_inputs
from xray_core.training.optimizers import build_loss


class Trainer(Protocol):
    """A model to be trained, its loss, its batches for each epoch, and its validation.

    Attributes
    ----------
    model : keras.Model
        The model that `fit` compiles and trains.
    """

    model: keras.Model

    def compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Set optimizer, loss and training metrics of the model."""

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Get the batches of one epoch, as `keras.Model.fit` takes them."""

    def validate(self) -> dict[str, float]:
        """Measure the model on the validation images; `val_loss` is one of the numbers."""

    def watched_loss(self, row: dict[str, float]) -> float:
        """Get the loss that is lowest in the best epoch from an epoch's row of the history."""

    def describe(self, row: dict[str, float]) -> str:
        """Describe an epoch's validation, besides its loss, for the progress line."""


def build_trainer(
    network: keras.Model,
    recipe: Recipe,
    training: ImageSet,
    validation: ImageSet,
    *,
    segmenter: LungSegmenter | None = None,
    seed: int,
    split_seed: int,
) -> Trainer:
    """Build the trainer that a recipe asks for.

    Parameters
    ----------
    network : keras.Model
        As `build_network` returns it.
    recipe : Recipe
    training, validation : ImageSet
        The folds; with masks for a segmentation, the training fold also for a classifier that is
        trained on the lungs.
    segmenter : LungSegmenter, optional
        Finds the lungs of validation images, for a recipe with a `lung_margin`.
    seed : int
        Seed of the order and the augmentation.
    split_seed : int
        Seed of the shifted copies of the validation images.
    """
    if recipe.kind == "segmentation":
        return SegmentationTrainer(network, recipe, training, validation, seed)
    varied = add_shifted_copies(validation, recipe.shifted_views, seed=split_seed)
    originals, varied = len(validation), model_inputs(varied, segmenter, recipe)
    kind = HeadTrainer if recipe.cached_views else NetworkTrainer
    if recipe.trains_on_lungs:
        kind = LungTrainer
    return kind(network, recipe, training, varied, originals, seed)


class _ClassifierTrainer(ABC):
    """What the trainers of a classifier share: loss, and validation on images and their copies."""

    model: keras.Model

    def __init__(
        self,
        network: keras.Model,
        recipe: Recipe,
        training: ImageSet,
        validation: ImageSet,
        originals: int,
        seed: int,
    ) -> None:
        self._recipe, self._seed, self._training = recipe, seed, training
        self._originals = originals  # the validation images, followed by their shifted copies
        self._validation = validation
        self._build(network)

    @abstractmethod
    def _build(self, network: keras.Model) -> None:
        """Build `model`, the part of the network that is trained."""

    def compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Set optimizer, loss and accuracy."""
        self.model.compile(
            optimizer=optimizer, loss=build_loss(self._recipe), weighted_metrics=["accuracy"]
        )

    def validate(self) -> dict[str, float]:
        """Measure the model as `validation_metrics` does."""
        logit = self.validation_logits()
        return validation_metrics(logit, self._validation.label, self._originals)

    @abstractmethod
    def validation_logits(self) -> np.ndarray:
        """Predict the log-odds (N,) of the validation images and their shifted copies."""

    def watched_loss(self, row: dict[str, float]) -> float:
        """Get the loss over the validation images and all copies, each with equal weight."""
        copies = self._recipe.shifted_views
        if not copies:
            return row["val_loss"]
        return (row["val_loss"] + copies * row["shifted_loss"]) / (1 + copies)

    def describe(self, row: dict[str, float]) -> str:
        """Give the AUC of the images and of the copies."""
        shift = f" · shifted AUC {row['shifted_auc']:.3f}" if "shifted_auc" in row else ""
        return f"AUC {row['val_auc']:.3f}{shift}"


class NetworkTrainer(_ClassifierTrainer):
    """Trains the whole network on augmented images."""

    def _build(self, network: keras.Model) -> None:
        self.model = _objective(network, self._recipe)
        self._to_logit = keras.Model(network.input, network.get_layer("logit").output)

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Get the batches of one epoch: pixels (B, 224, 224, 1), label (B, 1), weight (B,)."""
        return batches.training_batches(self._training, self._recipe, seed=self._seed, epoch=epoch)

    def validation_logits(self) -> np.ndarray:
        """Predict the log-odds (N,) of the validation images."""
        return self._to_logit.predict(batches.image_batches(self._validation), verbose=0)[:, 0]


class LungTrainer(NetworkTrainer):
    """Trains the whole network on images whose lungs are known.

    Besides the class, the loss takes the share of the evidence that lies outside the lungs.
    """

    def _build(self, network: keras.Model) -> None:
        super()._build(network)
        activations = network.get_layer(last_spatial_layer(network)).output  # (B, h, w, C)
        lungs = keras.Input((*activations.shape[1:3], 1), name="lungs")
        outside = EvidenceOutside(network.get_layer("logit"), name="outside", dtype="float32")
        self._grid = activations.shape[1:3]
        self.model = keras.Model(
            [network.input, lungs], [self.model.output, outside([activations, lungs])]
        )

    def compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Set optimizer, both losses and accuracy."""
        self.model.compile(
            optimizer=optimizer,
            loss=[build_loss(self._recipe), keras.losses.MeanAbsoluteError()],
            loss_weights=[1.0, self._recipe.outside_weight],
            weighted_metrics=[["accuracy"], []],
        )

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Get the batches of one epoch, as `batches.lung_batches` builds them."""
        return batches.lung_batches(
            self._training, self._recipe, self._grid, seed=self._seed, epoch=epoch
        )


class EvidenceOutside(keras.layers.Layer):
    """The share of the evidence for or against pneumonia that lies outside the lungs.

    The logit of a dense unit on averaged activations is the mean of a map: the activations weighted
    by the unit's kernel. The evidence is the absolute value of this map.

    Parameters
    ----------
    logit : keras.layers.Dense
        The unit.
    """

    def __init__(self, logit: keras.layers.Dense, **options: Any) -> None:
        super().__init__(**options)
        # A function, so that the weights do not belong to this layer as well.
        self._kernel = lambda: logit.kernel

    def call(self, inputs: list[Any]) -> Any:
        """Map activations (B, h, w, C) and the lungs' share of each cell (B, h, w, 1) to (B, 1)."""
        activations, lungs = inputs
        evidence = keras.ops.abs(keras.ops.matmul(activations, self._kernel()))  # (B, h, w, 1)
        outside = keras.ops.sum(evidence * (1 - lungs), axis=(1, 2))
        return outside / (keras.ops.sum(evidence, axis=(1, 2)) + keras.config.epsilon())


class HeadTrainer(_ClassifierTrainer):
    """Trains only the head, on features of the frozen backbone, cached for K augmented views.

    Epoch e uses view (e - 1) modulo K of every image, so the backbone runs K times instead of once
    per epoch.
    """

    def _build(self, network: keras.Model) -> None:
        recipe, training = self._recipe, self._training
        features = network.get_layer("features").output
        self.model = keras.Model(features, _objective(network, recipe).output)
        self._weight = batches.class_weights(training.label, recipe.imbalance)
        to_features = keras.Model(network.input, features)
        self._views = [
            to_features.predict(
                batches.augmented_view(training, recipe, self._seed, view), verbose=0
            )
            for view in range(min(recipe.cached_views, recipe.epochs))
        ]
        whole = batches.image_batches(self._validation)
        self._features = to_features.predict(whole, verbose=0)
        self._to_logit = keras.Model(features, network.get_layer("logit").output)

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Get the batches of one epoch: features (B, D), label (B, 1), weight (B,)."""
        view = self._views[(epoch - 1) % len(self._views)]
        rng = np.random.default_rng([self._seed, epoch])
        order = batches.epoch_order(self._training.label, self._recipe, rng)
        size = min(self._recipe.batch_size, len(self._training.label))
        rows = (view[order], self._training.label[order, None], self._weight[order])
        return tf.data.Dataset.from_tensor_slices(rows).batch(size).prefetch(tf.data.AUTOTUNE)

    def validation_logits(self) -> np.ndarray:
        """Predict the log-odds (N,) of the validation images."""
        return self._to_logit.predict(self._features, verbose=0, batch_size=256)[:, 0]


class SegmentationTrainer:
    """Trains a segmentation on augmented images and their masks."""

    def __init__(
        self,
        network: keras.Model,
        recipe: Recipe,
        training: ImageSet,
        validation: ImageSet,
        seed: int,
    ) -> None:
        # A model of its own, so that the network is not compiled: it would store the optimizer.
        self.model = keras.Model(network.input, network.output)
        self._recipe, self._seed = recipe, seed
        self._training, self._validation = training, validation

    def compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Set optimizer and loss."""
        self.model.compile(optimizer=optimizer, loss=build_loss(self._recipe))

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Get the batches of one epoch: pixels and mask (B, 224, 224, 1)."""
        return batches.masked_batches(self._training, self._recipe, seed=self._seed, epoch=epoch)

    def validate(self) -> dict[str, float]:
        """Measure loss, mean Dice and its 5th percentile on the validation images."""
        masks = self._validation.masks
        if masks is None:
            raise ValueError("These images have no masks.")
        loss = build_loss(self._recipe)
        losses: list[np.ndarray] = []
        dice: list[float] = []
        for pixels in batches.image_batches(self._validation):
            reference = masks[len(dice) : len(dice) + len(pixels)]
            probability = self.model.predict_on_batch(pixels)
            losses.append(np.asarray(loss.call(reference.astype(np.float32), probability)))
            dice += [
                overlap(clean_mask(p[..., 0]), mask[..., 0])[0]
                for p, mask in zip(probability, reference, strict=True)
            ]
        return {
            "val_loss": float(np.concatenate(losses).mean()),
            "val_dice": float(np.mean(dice)),
            "val_dice_p5": float(np.quantile(dice, 0.05)),
        }

    def watched_loss(self, row: dict[str, float]) -> float:
        """Get the validation loss."""
        return row["val_loss"]

    def describe(self, row: dict[str, float]) -> str:
        """Give mean Dice and its 5th percentile."""
        return f"Dice {row['val_dice']:.4f}, 5th percentile {row['val_dice_p5']:.4f}"


def validation_metrics(logit: np.ndarray, label: np.ndarray, originals: int) -> dict[str, float]:
    """Compute loss, accuracy and AUC of the validation images and of their shifted copies.

    Parameters
    ----------
    logit : numpy.ndarray
        Log-odds (N,), the originals first.
    label : numpy.ndarray
        (N,), 1 for pneumonia.
    originals : int
        Number of images that are not copies.

    Returns
    -------
    dict of str to float
        `val_loss`, `val_accuracy`, `val_auc`, and the same with the prefix `shifted_` if there are
        copies. The loss is the cross-entropy without label smoothing, with equal weight for both
        classes.
    """
    from sklearn.metrics import roc_auc_score

    metrics: dict[str, float] = {}
    parts = {"val": slice(None, originals), "shifted": slice(originals, None)}
    for name, part in parts.items():
        z, y = logit[part].astype(np.float64), label[part]
        if not len(y):
            continue
        losses = np.logaddexp(0, np.where(y == 1, -z, z))
        metrics[f"{name}_loss"] = float(
            np.mean([losses[y == value].mean() for value in (0, 1) if (y == value).any()])
        )
        metrics[f"{name}_accuracy"] = float(((z > 0) == (y == 1)).mean())
        both = len(np.unique(y)) == 2 and bool(np.isfinite(z).all())
        metrics[f"{name}_auc"] = float(roc_auc_score(y, z)) if both else float("nan")
    return metrics


def _objective(network: keras.Model, recipe: Recipe) -> keras.Model:
    """The network up to the layer to which the loss is applied."""
    layer = "softmax" if recipe.output == "softmax" else "probability"
    return keras.Model(network.input, network.get_layer(layer).output)
