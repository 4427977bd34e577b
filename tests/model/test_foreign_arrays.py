"""Untrusted arrays of a bundle are refused with a sentence."""

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_bundle import arrays_of, npy, reseal, rewrite, with_objects

from xray_core.errors import BundleError
from xray_core.model.bundle import open_bundle
from xray_core.model.gate import Gate
from xray_core.model.neighbours import Neighbours


def decompression_bomb(file: Path) -> None:
    """A deflated array of 200 MB of zeros in place of the gate's mean."""
    with zipfile.ZipFile(file) as stored:
        members = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            with archive.open(name, "w") as member:
                if name == "mean.npy":
                    header = io.BytesIO()
                    declared = {"descr": "<f4", "fortran_order": False, "shape": (50_000_000,)}
                    np.lib.format.write_array_header_1_0(header, declared)
                    member.write(header.getvalue())
                    for _ in range(200):
                        member.write(bytes(1_000_000))
                else:
                    member.write(data)


def wrong_header(file: Path) -> None:
    """An array whose header declares a trillion numbers; it has one."""
    rewrite(file, "mean.npy", npy(np.zeros(1, "<f4")).replace(b"(1,), }  ", b"(10**12,)}"))


def large_header(file: Path) -> None:
    header = io.BytesIO()
    declared = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, declared)
    rewrite(file, "mean.npy", header.getvalue() + bytes(4))


def wrong_directory(file: Path) -> None:
    """The table of contents declares a small size for the decompression bomb."""
    decompression_bomb(file)
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\1\2", 0, data.rindex(b"mean.npy"))
    data[at + 24 : at + 28] = (128 + 4 * 16).to_bytes(4, "little")
    file.write_bytes(data)


def many_entries(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(2_000):
            archive.writestr(f"{number}.npy", b"")


def with_array(name: str, value: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        stored = arrays_of(file)
        np.savez(file, **stored | {name: value(stored[name])})

    return change


def filled(value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda old: np.full_like(old, value)


@pytest.mark.parametrize(
    "change",
    [
        decompression_bomb,
        wrong_header,
        large_header,
        wrong_directory,
        many_entries,
        with_objects,
        with_array("mean", filled(np.nan)),
        with_array("scale", filled(0)),
        with_array("variance", filled(-1)),
        with_array("basis", lambda old: old[:, :-1]),
        with_array("mean", lambda old: old[:-1]),
        with_array("mean", lambda old: np.array(["a"] * old.size)),
        with_array("rest", filled(np.inf)),
        with_array("rest", lambda old: np.zeros(3)),
        with_array("caution", filled(0)),
        with_array("refuse", filled(np.nan)),
        with_array("refuse", filled(1e-9)),
    ],
)
def test_an_invalid_gate_is_refused_without_using_much_memory(
    copy: Path, change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    change(copy / "gate.npz")
    bundle = open_bundle(reseal(copy))
    tracemalloc.start()
    with pytest.raises(BundleError, match=r"gate\.npz does not hold"):
        Gate.load(bundle.gate_file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        with_array("points", filled(np.inf)),
        with_array("kinds", filled(4)),
        with_array("kinds", lambda old: old[:-1]),
        with_array("points", lambda old: old[:0]),
        with_array("basis", lambda old: old[:-1]),
        with_array("paths", lambda old: np.array(["../../etc/x.png"] * old.size)),
        with_array("paths", lambda old: np.array(["/etc/x.png"] * old.size)),
        with_array("paths", lambda old: old[:3]),
        with_array("paths", lambda old: np.zeros(old.size)),
    ],
)
def test_invalid_neighbours_are_refused(copy: Path, change: Callable[[Path], None]) -> None:
    change(copy / "neighbours.npz")
    bundle = open_bundle(reseal(copy))
    with pytest.raises(BundleError, match=r"neighbours\.npz does not hold"):
        Neighbours.load(bundle.neighbours_file)


def test_a_gate_with_another_number_of_features_is_refused(copy: Path) -> None:
    from xray_core.prediction.predictor import Predictor

    Gate(*np.ones((2, 3), np.float32), np.eye(3, dtype=np.float32), np.ones(3, np.float32),
         1.0, 1.0, 2.0).save(copy / "gate.npz")  # fmt: skip
    with pytest.raises(BundleError, match="do not fit one another"):
        Predictor.load(reseal(copy))
