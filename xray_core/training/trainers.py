"""Trainers: the whole network on images, or only its head on cached features."""

from __future__ import annotations

from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from xray_core.model.recipes import Recipe
from xray_core.training import data as pipeline
from xray_core.training.data import ImageSet


class Trainer(Protocol):
    """A model to be trained, its batches for each epoch, and its validation.

    Attributes
    ----------
    model : keras.Model
        The model that `fit` compiles and trains.
    """

    model: keras.Model

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Get the batches of one epoch: input, label (B, 1), weight (B,)."""

    def validation_logits(self) -> np.ndarray:
        """Predict the log-odds (N,) of the validation images."""


class NetworkTrainer:
    """Trains the whole network on augmented images."""

    def __init__(
        self,
        network: keras.Model,
        recipe: Recipe,
        training: ImageSet,
        validation: ImageSet,
        seed: int,
    ) -> None:
        self.model = _objective(network, recipe)
        self._network, self._recipe, self._seed = network, recipe, seed
        self._training, self._validation = training, validation
        self._to_logit = keras.Model(network.input, network.get_layer("logit").output)

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Get the batches of one epoch: pixels (B, 224, 224, 1), label (B, 1), weight (B,)."""
        return pipeline.training_batches(self._training, self._recipe, seed=self._seed, epoch=epoch)

    def validation_logits(self) -> np.ndarray:
        """Predict the log-odds (N,) of the validation images."""
        return self._to_logit.predict(pipeline.image_batches(self._validation), verbose=0)[:, 0]


class HeadTrainer:
    """Trains only the head, on features of the frozen backbone, cached for K augmented views.

    Epoch e uses view (e - 1) modulo K of every image, so the backbone runs K times instead of once
    per epoch.
    """

    def __init__(
        self,
        network: keras.Model,
        recipe: Recipe,
        training: ImageSet,
        validation: ImageSet,
        seed: int,
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
        self._validation = to_features.predict(pipeline.image_batches(validation), verbose=0)
        self._to_logit = keras.Model(features, network.get_layer("logit").output)

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Get the batches of one epoch: features (B, D), label (B, 1), weight (B,)."""
        view = self._views[(epoch - 1) % len(self._views)]
        rng = np.random.default_rng([self._seed, epoch])
        order = pipeline.epoch_order(self._label, self._recipe, rng)
        size = min(self._recipe.batch_size, len(self._label))
        rows = (view[order], self._label[order, None], self._weight[order])
        return tf.data.Dataset.from_tensor_slices(rows).batch(size).prefetch(tf.data.AUTOTUNE)

    def validation_logits(self) -> np.ndarray:
        """Predict the log-odds (N,) of the validation images."""
        return self._to_logit.predict(self._validation, verbose=0, batch_size=256)[:, 0]


def _objective(network: keras.Model, recipe: Recipe) -> keras.Model:
    """The network up to the layer to which the loss is applied."""
    layer = "softmax" if recipe.output == "softmax" else "probability"
    return keras.Model(network.input, network.get_layer(layer).output)
