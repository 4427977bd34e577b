"""The named recipes: what is trained, on which pixels, and how, as rows of data.

A recipe says everything that distinguishes one training from another. Whatever is shared by all
of them (class imbalance, callbacks, calibration, bundle) lives in `xray_core.training`.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any

from xray_core.errors import RecipeError

INPUT_SIZE = (224, 224)


@dataclass(frozen=True)
class Augmentation:
    """How a training image is varied; the defaults leave it as it is.

    Geometry is one affine warp. Ranges are (low, high) factors, a single number is a symmetric
    range around nothing. `degrade` is the share of images that each of blur, noise, sharpening and
    loss of resolution is applied to, independently.
    """

    flip_horizontal: bool = False  # half the time
    flip_vertical: bool = False  # half the time
    rotation: float = 0.0  # degrees, either way
    zoom: tuple[float, float] = (1.0, 1.0)  # magnification
    stretch: float = 0.0  # height against width, as a share, either way
    shear: float = 0.0  # tangent of the angle, either way
    shift: float = 0.0  # pixels, either way, both axes
    gamma: tuple[float, float] = (1.0, 1.0)  # drawn evenly in its logarithm
    gain: tuple[float, float] = (1.0, 1.0)
    offset: float = 0.0  # grey levels, either way
    blur: float = 0.0  # greatest sigma of the Gaussian, pixels
    noise: float = 0.0  # greatest standard deviation, grey levels
    resolution: int = (
        0  # fewest pixels a side that an image is reduced to and enlarged from; 0: never
    )
    sharpen: float = 0.0  # greatest amount of unsharp masking
    erase: float = 0.0  # share of images on which one rectangle is filled with a flat grey
    frame: float = 0.0  # share of images whose borders are painted over, up to 18% of a side
    marker: float = 0.0  # share of images that get a side marker where chance puts it
    degrade: float = 0.3


@dataclass(frozen=True)
class Recipe:
    """One way to train one network.

    `epochs` counts passes over as many images as the training fold holds; with balanced batches
    the rarer class is seen more often than once in each.
    """

    name: str
    summary: str
    # The network.
    backbone: str | None = None  # "resnet50", "vgg16", or None: convolutions from scratch
    last_stage: str = "conv5"  # resnet50 only: "conv5" (whole) or "conv4" (ResNet50-C4)
    filters: tuple[int, ...] = ()  # from scratch only: one convolution and max-pooling each
    pool: int = 2  # side of the max-pooling after each of them
    preprocessing: str = "caffe"  # "caffe": ImageNet means off, BGR; "rescale": 1/255
    pooling: str = "average"  # "average" or "flatten"
    dense: int = 0  # units of the hidden layer, 0: none
    batch_norm: bool = False  # after the hidden layer
    dropout: float = 0.0
    dropout_first: bool = False  # before the hidden layer instead of after it
    output: str = "sigmoid"  # "sigmoid" (one unit) or "softmax" (two)
    # What is trained, and how fast.
    train_backbone: bool = False
    stem_rate: float = 1.0  # learning rate of conv1 and conv2, as a share of the others'
    stem_epochs: int = 0  # the last so many epochs train conv1 and conv2, too
    optimizer: str = "adam"  # "adam" or "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"  # "constant" or "cosine" (after half an epoch of warm-up)
    label_smoothing: float = 0.0
    mixup: float = 0.0  # parameter of the beta distribution, 0: off
    imbalance: str = "class_weights"  # "class_weights", "balanced_batches" or "none"
    batch_size: int = 32
    epochs: int = 20
    patience: int = 5  # epochs without a better validation loss before training stops
    precision: str = "float32"  # of the training; "mixed_bfloat16" doubles its speed
    cached_views: int = 0  # frozen backbones: augmented views whose features are kept; 0: none
    shifted_views: int = 0  # simulated other hospitals: copies of each validation image, beside it
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                names = ", ".join(str(choice) for choice in allowed)
                raise RecipeError(
                    f"Field {name!r} of recipe {self.name!r} must be one of {names}. "
                    f"Received: {value!r}."
                )
        if self.backbone is None and not self.filters:
            raise RecipeError(f"Recipe {self.name!r} has neither a backbone nor filters.")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data, for a bundle's `config.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """The recipe that `to_dict` described; lists become tuples again.

        Raises:
            RecipeError: a field is unknown or missing.
        """
        try:
            fields = {key: as_tuple(value) for key, value in data.items()}
            shape = {key: as_tuple(value) for key, value in data["augmentation"].items()}
            return cls(**{**fields, "augmentation": Augmentation(**shape)})
        except (KeyError, TypeError, AttributeError) as error:
            raise RecipeError(f"This recipe is from another version: {error}.") from error


CHOICES: dict[str, tuple[Any, ...]] = {
    "backbone": (None, "resnet50", "vgg16"),
    "last_stage": ("conv4", "conv5"),
    "preprocessing": ("caffe", "rescale"),
    "pooling": ("average", "flatten"),
    "output": ("sigmoid", "softmax"),
    "optimizer": ("adam", "adamw"),
    "schedule": ("constant", "cosine"),
    "imbalance": ("class_weights", "balanced_batches", "none"),
    "precision": ("float32", "mixed_bfloat16"),
}

_FROZEN_AUGMENTATION = Augmentation(
    flip_horizontal=True,
    flip_vertical=True,
    rotation=25.0,
    zoom=(0.7, 1.3),
    shear=0.2,
    gain=(0.8, 1.2),
)

_GENTLE_AUGMENTATION = Augmentation(
    flip_horizontal=True, rotation=10.0, zoom=(0.9, 1.1), shift=10.0, gain=(0.8, 1.2)
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="resnet50",
            summary="ResNet50 from ImageNet, cut after conv4, every layer fine-tuned.",
            backbone="resnet50",
            last_stage="conv4",
            dropout=0.5,
            train_backbone=True,
            stem_rate=0.1,
            stem_epochs=2,
            optimizer="adamw",
            learning_rate=4e-4,
            weight_decay=1e-3,
            schedule="cosine",
            label_smoothing=0.05,
            imbalance="balanced_batches",
            epochs=9,
            precision="mixed_bfloat16",
            shifted_views=2,
            augmentation=Augmentation(
                flip_horizontal=True,
                rotation=12.0,
                zoom=(0.85, 1.2),
                stretch=0.2,
                shift=15.0,
                gamma=(0.6, 1.7),
                gain=(0.65, 1.35),
                offset=30.0,
                blur=1.5,
                noise=8.0,
                resolution=60,
                sharpen=1.5,
                erase=0.3,
                frame=0.3,
                marker=0.3,
            ),
        ),
        Recipe(
            name="resnet50-frozen",
            summary="ResNet50 from ImageNet, frozen; a hidden layer learns on its features.",
            backbone="resnet50",
            dense=1024,
            batch_norm=True,
            dropout=0.5,
            epochs=15,
            cached_views=3,
            augmentation=_FROZEN_AUGMENTATION,
        ),
        Recipe(
            name="vgg16",
            summary="VGG16 from ImageNet, frozen, averaged features and a small head.",
            backbone="vgg16",
            dense=256,
            epochs=15,
            cached_views=3,
            augmentation=_GENTLE_AUGMENTATION,
        ),
        Recipe(
            name="vgg16-flatten",
            summary="VGG16 from ImageNet, frozen, flattened features and a small head.",
            backbone="vgg16",
            pooling="flatten",
            dense=256,
            dropout=0.5,
            learning_rate=1e-4,
            epochs=15,
            cached_views=2,
            augmentation=_GENTLE_AUGMENTATION,
        ),
        Recipe(
            name="cnn",
            summary="Five blocks of convolution and max-pooling, from scratch.",
            filters=(32, 64, 128, 128, 256),
            preprocessing="rescale",
            pooling="flatten",
            dense=128,
            dropout=0.5,
            dropout_first=True,
            epochs=20,
            augmentation=_GENTLE_AUGMENTATION,
        ),
        Recipe(
            name="cnn-softmax",
            summary="Three convolutions (32, 64, 128) from scratch, two softmax units.",
            filters=(32, 64, 128),
            pool=3,
            preprocessing="rescale",
            pooling="flatten",
            dense=128,
            dropout=0.5,
            output="softmax",
            epochs=20,
            augmentation=_GENTLE_AUGMENTATION,
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        RecipeError: there is none; the message names those there are.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise RecipeError(
            f"There is no recipe called {name!r}.{hint} The recipes are: {', '.join(RECIPES)}."
        )
    return RECIPES[name]


def as_tuple(value: Any) -> Any:
    """A list as a tuple, as recipes hold them; everything else as it is."""
    return tuple(value) if isinstance(value, list) else value
