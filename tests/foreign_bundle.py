"""Changes of a bundle that keep its hashes valid, for tests of untrusted bundles."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from xray_core.errors import BundleError
from xray_core.model.bundle import open_bundle, sha256

IMAGE = "![x](http://evil.example/x.png)<img src=http://evil.example/y.png>"
KERNEL = "layers/conv2d/vars/0"

Config = dict[str, Any]


def reseal(folder: Path, change: Callable[[dict[str, Any]], object] = lambda config: None) -> Path:
    """Write the current hashes of a bundle's files, then `change` its config.

    If the bundle is refused afterwards, the reason is not a hash that does not match.
    """
    file = folder / "config.json"
    config = json.loads(file.read_text())
    for name in config["files"]:
        if os.path.isfile(folder / name):
            config["files"][name] = sha256(folder / name)
    change(config)
    file.write_text(json.dumps(config))
    return folder


def refusal(folder: Path) -> str:
    """Return the message of a bundle that does not open; it repeats nothing from the bundle."""
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert "evil.example" not in message
    assert str(folder.parent) not in message
    return message


def segmentation_refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(folder, kind="segmentation")
    assert "evil.example" not in str(caught.value)
    return str(caught.value)


def put(*keys: str, value: Any) -> Callable[[Config], None]:
    """Return a change of a config that sets the entry under `keys` to `value`."""

    def change(config: Config) -> None:
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = value

    return change


def edit(folder: Path, name: str, change: Callable[[str], str]) -> Path:
    file = folder / name
    file.write_text(change(file.read_text()))
    return reseal(folder)


def replaced_in_row(column: str, value: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        header, first, *rest = text.split("\n")
        cells = dict(zip(header.split(","), first.split(","), strict=True)) | {column: value}
        return "\n".join([header, ",".join(cells.values()), *rest])

    return change


def arrays_of(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as stored:
        return dict(stored)


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def rewrite(file: Path, member: str, data: bytes) -> None:
    with zipfile.ZipFile(file) as stored:
        members = {name: stored.read(name) for name in stored.namelist()} | {member: data}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


class Payload:
    """An object whose pickle runs code when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pickle-ran",)


def with_objects(file: Path) -> None:
    objects = np.array([Payload()], object)
    np.savez(file, allow_pickle=True, **arrays_of(file) | {"mean": objects})


def external_link(file: h5py.File, outside: Path) -> None:
    del file["layers"]
    file["layers"] = h5py.ExternalLink(str(outside / "model.weights.h5"), "/layers")


def one_value(value: float) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, outside: Path) -> None:
        values = file[KERNEL][()]
        values.flat[0] = value
        file[KERNEL][...] = values

    return change


def compressed(file: h5py.File, outside: Path) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    file.create_dataset(KERNEL, shape, np.float32, chunks=True, compression="gzip")


def missing_layer(file: h5py.File, outside: Path) -> None:
    file.move("layers/conv2d", "unknown")
