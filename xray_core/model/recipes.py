"""The named recipes: network, preprocessing and training settings, one row of data each.

A recipe holds everything that differs between trainings. What is common to all of them (data
pipeline, callbacks, calibration, bundle) is in `xray_core.training`.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any

from xray_core.errors import RecipeError

INPUT_SIZE = (224, 224)

# ImageNet means of the channels blue, green and red. Keras subtracts them for ResNet50 and VGG16
# (mode "caffe"), which were trained on images with this channel order.
CAFFE_MEANS = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image; the defaults change nothing.

    The geometric changes are one affine transform. A pair is a range (low, high) of factors. A
    single number `a` is the range from -a to a, unless its comment says otherwise.
    """

    flip_horizontal: bool = False  # with probability 0.5
    flip_vertical: bool = False  # with probability 0.5
    rotation: float = 0.0  # degrees
    zoom: tuple[float, float] = (1.0, 1.0)  # magnification
    stretch: float = 0.0  # relative change of the ratio of height to width
    shear: float = 0.0  # tangent of the angle
    shift: float = 0.0  # pixels, on both axes
    fill: float = 0.0  # probability that the area outside the image is a random grey, not black
    gamma: tuple[float, float] = (1.0, 1.0)  # exponent, log-uniform
    gain: tuple[float, float] = (1.0, 1.0)  # factor of the grey levels
    offset: float = 0.0  # grey levels
    blur: float = 0.0  # maximum sigma of the Gaussian, pixels
    noise: float = 0.0  # maximum standard deviation, grey levels
    resolution: int = 0  # minimum side after downsampling, before upsampling; 0: off
    sharpen: float = 0.0  # maximum amount of unsharp masking
    erase: float = 0.0  # probability of one rectangle filled with a constant grey level
    frame: float = 0.0  # probability of a border painted over, up to 18% of a side
    marker: float = 0.0  # probability of a side marker at a random place
    crop: float = 1.0  # smallest share of the area in a random crop; 1: off
    part: float = 0.0  # probability of a small part, 5% to 40% of the area, instead of the crop
    detail: float = 0.0  # probability of another contrast of coarse and of fine structures
    recompress: float = 0.0  # probability of JPEG compression at quality 40 to 95
    whole: float = 0.0  # probability of the whole image instead of the crop to the lungs
    hide_lungs: float = 0.0  # probability that the lungs are replaced; the target is then 0.5
    replace_outside: float = 0.0  # probability that all but the lungs is replaced
    degrade: float = 0.3  # probability of each of blur, noise, sharpen and resolution


@dataclass(frozen=True)
class Recipe:
    """Settings of one network and its training. `CHOICES` lists the values of the text fields.

    Raises
    ------
    RecipeError
        A field has a value that is not in `CHOICES`, there is neither a backbone nor filters, or a
        segmentation has a backbone or so many filters that they do not halve its input evenly.
    """

    name: str
    summary: str
    kind: str = "classifier"  # "segmentation": finds the lungs; only filters and training apply
    # Network
    backbone: str | None = None  # None: a network from scratch, made of `filters`
    last_stage: str = "conv5"  # resnet50 only: "conv5" (complete) or "conv4" (ResNet50-C4)
    filters: tuple[int, ...] = ()  # from scratch: of each convolution block, or of each resolution
    pool: int = 2  # from scratch only: side of the max-pooling window
    preprocessing: str = "caffe"  # "caffe": ImageNet means subtracted, BGR; "rescale": 1/255
    lung_margin: float = 0.0  # of the crop to the lungs, as a share of its size; 0: no crop
    pooling: str = "average"  # of the last feature maps
    dense: int = 0  # units of the hidden layer; 0: no hidden layer
    batch_norm: bool = False  # after the hidden layer
    dropout: float = 0.0
    dropout_first: bool = False  # before the hidden layer instead of after it
    output: str = "sigmoid"  # "sigmoid": one unit; "softmax": two units
    # Training
    train_backbone: bool = False
    stem_rate: float = 1.0  # learning rate of conv1 and conv2, relative to the other layers
    stem_epochs: int = 0  # conv1 and conv2 are trained in the last `stem_epochs` epochs only
    optimizer: str = "adam"  # "adam" or "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"  # "cosine" begins with a warm-up of half an epoch
    label_smoothing: float = 0.0
    outside_weight: float = 0.0  # weight in the loss of the share of the evidence outside the lungs
    mixup: float = 0.0  # parameter of the beta distribution; 0: off
    imbalance: str = "class_weights"  # how class imbalance is handled
    batch_size: int = 32
    epochs: int = 20  # of as many images as the training fold has, also with balanced batches
    patience: int = 5  # epochs without a lower validation loss before training stops
    precision: str = "float32"  # "auto": the faster one on the machine, by measurement
    cached_views: int = 0  # frozen backbone only: augmented copies whose features are cached
    shifted_views: int = 0  # copies of each validation image that simulate other hospitals
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
        if self.kind == "segmentation":
            if self.backbone is not None:
                raise RecipeError(f"Recipe {self.name!r} is a segmentation and has a backbone.")
            if any(side % 2 ** len(self.filters) for side in INPUT_SIZE):
                raise RecipeError(
                    f"Field 'filters' of recipe {self.name!r} must have fewer numbers: each halves "
                    f"the {INPUT_SIZE[0]} pixels of a side, without a remainder. Received: "
                    f"{self.filters}."
                )

    @property
    def trains_on_lungs(self) -> bool:
        """Tell whether the training of a classifier needs the lungs of every image."""
        how = self.augmentation
        needs = (self.lung_margin, self.outside_weight, how.hide_lungs, how.replace_outside)
        return self.kind == "classifier" and any(needs)

    @property
    def has_linear_head(self) -> bool:
        """Tell whether the logit of a classifier is linear in the averaged feature maps."""
        return (
            (self.kind, self.pooling, self.output) == ("classifier", "average", "sigmoid")
            and not self.dense
            and not self.batch_norm
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain data, for a bundle's `config.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """Read what `to_dict` returned; lists become tuples.

        Parameters
        ----------
        data : dict
            The entry `recipe` of a bundle's `config.json`.

        Raises
        ------
        RecipeError
            A field is unknown or missing.
        """
        try:
            fields = {key: as_tuple(value) for key, value in data.items()}
            augmentation = {key: as_tuple(value) for key, value in data["augmentation"].items()}
            return cls(**{**fields, "augmentation": Augmentation(**augmentation)})
        except (KeyError, TypeError, AttributeError) as error:
            raise RecipeError(f"This recipe is from another version: {error}.") from error


CHOICES: dict[str, tuple[Any, ...]] = {
    "kind": ("classifier", "segmentation"),
    "backbone": (None, "resnet50", "vgg16"),
    "last_stage": ("conv4", "conv5"),
    "preprocessing": ("caffe", "rescale", "standardize"),
    "pooling": ("average", "flatten"),
    "output": ("sigmoid", "softmax"),
    "optimizer": ("adam", "adamw"),
    "schedule": ("constant", "cosine"),
    "imbalance": ("class_weights", "balanced_batches", "none"),
    "precision": ("auto", "float32", "mixed_bfloat16"),
}

_STRONG_AUGMENTATION = Augmentation(
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
            summary="ResNet50 from ImageNet, cut after conv4, fine-tuned on the lungs.",
            backbone="resnet50",
            last_stage="conv4",
            lung_margin=0.08,
            dropout=0.5,
            train_backbone=True,
            stem_rate=0.1,
            stem_epochs=2,
            optimizer="adamw",
            learning_rate=4e-4,
            weight_decay=1e-3,
            schedule="cosine",
            label_smoothing=0.05,
            outside_weight=0.2,
            imbalance="balanced_batches",
            epochs=13,
            precision="auto",
            shifted_views=2,
            augmentation=Augmentation(
                flip_horizontal=True,
                rotation=20.0,
                zoom=(0.85, 1.2),
                stretch=0.2,
                shift=15.0,
                fill=0.25,
                gamma=(0.6, 1.7),
                gain=(0.65, 1.35),
                offset=30.0,
                blur=1.5,
                noise=8.0,
                resolution=60,
                sharpen=1.5,
                erase=0.15,
                frame=0.1,
                marker=0.2,
                crop=0.5,
                detail=0.3,
                recompress=0.5,
                whole=0.25,
                hide_lungs=0.08,
                replace_outside=0.15,
            ),
        ),
        Recipe(
            name="resnet50-frozen",
            summary="ResNet50 from ImageNet, frozen, with a trained hidden layer.",
            backbone="resnet50",
            dense=1024,
            batch_norm=True,
            dropout=0.5,
            epochs=15,
            cached_views=3,
            augmentation=_STRONG_AUGMENTATION,
        ),
        Recipe(
            name="vgg16",
            summary="VGG16 from ImageNet, frozen, with averaged features and a small head.",
            backbone="vgg16",
            dense=256,
            epochs=15,
            cached_views=3,
            augmentation=_GENTLE_AUGMENTATION,
        ),
        Recipe(
            name="vgg16-flatten",
            summary="VGG16 from ImageNet, frozen, with flattened features and a small head.",
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
        Recipe(
            name="lungs",
            summary="U-Net of five resolutions that finds the lungs, from scratch; needs --masks.",
            kind="segmentation",
            filters=(16, 32, 48, 64, 96),
            preprocessing="standardize",
            learning_rate=2e-3,
            schedule="cosine",
            imbalance="none",
            batch_size=16,
            epochs=12,
            augmentation=Augmentation(
                flip_horizontal=True,
                rotation=20.0,
                zoom=(0.65, 1.4),
                stretch=0.3,
                shear=0.1,
                shift=25.0,
                fill=0.5,
                gamma=(0.5, 2.0),
                gain=(0.6, 1.4),
                offset=40.0,
                blur=2.0,
                noise=12.0,
                resolution=56,
                sharpen=1.5,
                erase=0.3,
                marker=0.3,
                part=0.15,
            ),
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a given name.

    Raises
    ------
    RecipeError
        There is no such recipe; the message lists the recipes.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise RecipeError(
            f"There is no recipe called {name!r}.{hint} The recipes are: {', '.join(RECIPES)}."
        )
    return RECIPES[name]


def as_tuple(value: Any) -> Any:
    """Convert a list to a tuple, the type in recipes; return any other value unchanged."""
    return tuple(value) if isinstance(value, list) else value
