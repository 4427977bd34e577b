"""Images and folders of images for tests."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    """Return an image as a file of a Pillow format."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_image(path: Path, seed: int, size: tuple[int, int] = (24, 24)) -> None:
    """Write grey noise of this (height, width). Images of different seeds are unrelated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=95)


def write_dataset(root: Path, images: Mapping[str, list[str]]) -> Path:
    """Write an image for every name, as in {"train/NORMAL": ["IM-1-1.jpeg"], ...}."""
    seed = 0
    for folder, names in images.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            write_image(root / folder / name, seed := seed + 1)
    return root


# Per class: twenty patients with two images each in train, two in val and four in test.
KAGGLE_LIKE = {
    "train/NORMAL": [f"IM-{n:04d}-{k:04d}.jpeg" for n in range(20) for k in (1, 2)],
    "train/PNEUMONIA": [
        f"person{n}_{kind}_{2 * n + k}.jpeg"
        for n in range(10)
        for kind in ("bacteria", "virus")
        for k in (1, 2)
    ],
    "val/NORMAL": ["NORMAL2-IM-0001-0001.jpeg", "NORMAL2-IM-0002-0001.jpeg"],
    "val/PNEUMONIA": ["person90_bacteria_1.jpeg", "person91_bacteria_2.jpeg"],
    "test/NORMAL": [f"IM-{n:04d}-0001.jpeg" for n in range(500, 504)],
    "test/PNEUMONIA": [f"person{n}_virus_{n}.jpeg" for n in range(500, 504)],
}
