"""Writing trained models to disk: names, the temporary folder, weights, and the final check.

A bundle is written to a temporary folder and renamed, so that it is complete or absent. Reading is
in `bundle`.
"""

from __future__ import annotations

import glob
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_core.errors import BundleError
from xray_core.model.bundle import (
    CONFIG,
    FORMAT,
    LUNG_WEIGHTS,
    NAME,
    OLD,
    PARTIAL,
    WEIGHTS,
    Bundle,
    read_bundle,
    recover,
    sha256,
)

if TYPE_CHECKING:
    import keras

LARGE_KERNEL = 40_000  # values; kernels of at least this size are stored in half precision


def check_name(models: Path, name: str, *, overwrite: bool) -> None:
    """Check that a bundle may be written under a name.

    Parameters
    ----------
    models : Path
        Folder that holds the bundles.
    name : str
        Name of the new bundle.
    overwrite : bool
        Whether a bundle of this name may be replaced.

    Raises
    ------
    BundleError
        The name is taken and `overwrite` is false, or it is not valid as the name of a folder.
    """
    if not NAME.fullmatch(name):
        raise BundleError(
            "A model's name has letters, digits, dots, dashes and underscores, and begins with a "
            f"letter or digit. Received: {name!r}."
        )
    if _is_taken(models / name) and not overwrite:
        raise BundleError(
            f"There is a model called {name} in {models} already: choose another --name, or "
            "replace it with --overwrite."
        )


def find_free_name(models: Path, name: str) -> str:
    """Return the first of `name`, `name-2`, `name-3`, ... that no bundle in `models` has."""
    number, free = 1, name
    while _is_taken(models / free):
        number += 1
        free = f"{name}-{number}"
    return free


def _is_taken(target: Path) -> bool:
    recover(target)
    return target.exists()


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Write a bundle to a temporary folder, which becomes `target` if no error is raised.

    An existing bundle at `target` stays readable until then, and is restored if the last rename
    fails.

    Parameters
    ----------
    target : Path
        Folder of the new bundle.

    Yields
    ------
    Path
        The temporary folder. The caller writes its files, and calls `seal` last.
    """
    recover(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=PARTIAL, dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)
        if target.exists():
            old = partial.with_suffix(OLD)
            target.rename(old)
            try:
                partial.rename(target)
            except OSError:
                # Between the two renames, `recover` in another process may have moved the new
                # bundle to `target`.
                if partial.exists():
                    old.rename(target)
                    raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def clear_leftovers(target: Path) -> None:
    """Restore the bundle `target` if needed, and remove its unfinished and replaced copies."""
    recover(target)
    for suffix in (PARTIAL, OLD):
        for left in target.parent.glob(f".{glob.escape(target.name)}.*{suffix}"):
            shutil.rmtree(left, ignore_errors=True)


def seal(folder: Path, config: dict[str, Any]) -> None:
    """Write `config.json` with the SHA-256 of every other file: the last step of writing a bundle.

    Parameters
    ----------
    folder : Path
        Folder with all other files of the bundle.
    config : dict
        Content of `config.json`. `files` is added, and `format` and `kind` if they are absent.

    Raises
    ------
    BundleError
        The new bundle cannot be opened, so it must not replace another one.
    """
    files = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CONFIG
    }
    text = json.dumps(
        {"format": FORMAT, "kind": "classifier", **config, "files": files},
        indent=2,
        allow_nan=False,
    )
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    read_bundle(folder)


def embed_lungs(lungs: Bundle, folder: Path) -> dict[str, Any]:
    """Copy the lung network of a segmentation bundle into the folder of a new classifier bundle.

    Parameters
    ----------
    lungs : Bundle
        An opened bundle of the kind "segmentation".
    folder : Path
        Folder of the classifier bundle, before `seal`.

    Returns
    -------
    dict
        The entry `lungs` of the classifier's `config.json`.
    """
    shutil.copyfile(lungs.folder / WEIGHTS, folder / LUNG_WEIGHTS)
    return {
        "version": lungs.version,
        "recipe": lungs.config["recipe"],
        "limits": lungs.config["lungs"]["limits"],
    }


def save_weights(network: keras.Model, path: Path) -> None:
    """Write the weights of a network, with large kernels in half precision.

    Kernels under `LARGE_KERNEL` values, ResNet50's conv1 and conv2 among them, take little space,
    and rounding them changes probabilities most: by 0.006 instead of 0.0004. The variances of
    batch normalisation reach 83,614 there, above the half-precision maximum of 65,504.

    Parameters
    ----------
    network : keras.Model
        Network in float32. It is not changed.
    path : Path
        The HDF5 file to write.
    """
    import h5py
    import numpy as np

    network.save_weights(path)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        full_precision = Path(scratch) / path.name
        path.rename(full_precision)
        with h5py.File(full_precision, "r") as source, h5py.File(path, "w") as target:

            def copy(name: str, item: Any) -> None:
                if not isinstance(item, h5py.Dataset):
                    copied = target.require_group(name)
                else:
                    value = item[()]
                    if item.ndim >= 2 and item.size >= LARGE_KERNEL and item.dtype == np.float32:
                        value = value.astype(np.float16)
                    copied = target.create_dataset(name, data=value)
                copied.attrs.update(item.attrs)

            source.visititems(copy)
            target.attrs.update(source.attrs)
