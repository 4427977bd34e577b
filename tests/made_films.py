"""Films made of noise, for tests of folders: no two have anything in common."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_film(path: Path, seed: int, size: tuple[int, int] = (24, 24)) -> None:
    """Write grey noise (height, width): two films of different seeds have nothing in common."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=95)
