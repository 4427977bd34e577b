"""Untrusted bundles: refused with a sentence, or read as data only."""

import io
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from foreign_bundle import reseal

from xray_core.errors import BundleError
from xray_core.model import bundle_checks
from xray_core.model.bundle import list_bundles, open_bundle
from xray_core.model.bundle_writing import seal
from xray_core.model.gate import Gate
from xray_core.model.neighbours import Neighbours

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "![x](http://evil.example/x.png)<img src=http://evil.example/y.png>"
KERNEL = "layers/conv2d/vars/0"

Config = dict[str, Any]


@pytest.fixture
def copy(micro_bundle: Path, tmp_path: Path) -> Path:
    target = tmp_path / "models" / "micro"
    shutil.copytree(micro_bundle, target)
    return target


@pytest.fixture
def outside(copy: Path, tmp_path: Path) -> Path:
    """A folder beside the models, with copies of a bundle's files that are valid."""
    return Path(shutil.copytree(copy, tmp_path / "outside"))


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


# --- config.json


def put(*keys: str, value: Any) -> Callable[[Config], None]:
    """Return a change of a config that sets the entry under `keys` to `value`."""

    def change(config: Config) -> None:
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("labels", value=["NORMAL", "../../x"]), "labels are not"),
        (put("labels", value=["NORMAL", IMAGE]), "labels are not"),
        (put("labels", value=["PNEUMONIA", "NORMAL"]), "labels are not"),
        (put("input_size", value=[100_000, 100_000]), "input size is not 224 x 224"),
        (put("input_size", value=[-1, 224]), "input size is not"),
        (put("version", value=IMAGE), "version is not"),
        (put("version", value=["a"]), "version is not"),
        (put("name", value=IMAGE), "name is not"),
        (put("name", value=".."), "name is not"),
        (put("kind", value=IMAGE), "kind is not classifier or segmentation"),
        (put("kind", value=None), "kind is not"),
        (put("kind", value=["classifier"]), "kind is not"),
        (lambda config: config.pop("kind"), "kind is not"),
        (put("format", value=IMAGE), "has no format"),
        (put("format", value=True), "has no format"),
        (put("metrics", value=[]), "no metrics"),
        (put("metrics", value={}), "no metrics of the test set"),
        (put("cautions", value={"map_in_lungs": IMAGE}), "limits of cautions"),
        (put("cautions", value=3), "limits of cautions"),
        (put("unlike", value=IMAGE), "does not have its numbers"),
        (put("unlike", value={"beyond": 0.5, "low": 0.1, "high": 2}), "out of range"),
        (put("unlike", value={"beyond": IMAGE, "low": 0, "high": 1}), "does not have its num"),
        (put("dataset", value=[IMAGE]), "dataset is not an object"),
        (put("files", value={f"{i}.png": "0" * 64 for i in range(1000)}), "too many files"),
        (put("files", "../outside/config.json", value="0" * 64), "leads outside"),
        (put("files", "examples/../../x", value="0" * 64), "leads outside"),
        (put("files", "/etc/passwd", value="0" * 64), "leads outside"),
        (put("files", "C:\\x", value="0" * 64), "leads outside"),
        (put("files", "..", value="0" * 64), "leads outside"),
        (put("files", "", value="0" * 64), "leads outside"),
        (put("files", "a" * 5_000, value="0" * 64), "too long"),
        (put("files", "roc.png", value=3), "without its SHA-256"),
        (put("note", value="a" * 100_000), "too long"),
        (put("note", value="a\x1b[2J"), "control characters"),
        (put("note", value="a\ud800"), "control characters"),
        (put("note", value=10**300), "not finite or too large"),
        (put("recipe", value=[]), "no recipe"),
        (put("recipe", IMAGE, value=1), "unknown or of the wrong type"),
        (put("recipe", "output", value=IMAGE), "another version"),
        (put("recipe", "backbone", value=["resnet50"]), "of the wrong type"),
        (put("recipe", "filters", value=[10**9]), "impossible or too large"),
        (put("recipe", "filters", value=[4_000, 4]), "impossible or too large"),
        (put("recipe", "filters", value=[1] * 1_000), "impossible or too large"),
        (put("recipe", "filters", value=[0]), "impossible or too large"),
        (put("recipe", "filters", value=["8"]), "of the wrong type"),
        (put("recipe", "filters", value=[[8]]), "of the wrong type"),
        (put("recipe", "dense", value=10**12), "impossible or too large"),
        (put("recipe", "dense", value=-1), "impossible or too large"),
        (put("recipe", "dense", value=True), "of the wrong type"),
        (put("recipe", "dropout", value=1.5), "impossible or too large"),
        (put("recipe", "pool", value=0), "impossible or too large"),
        (put("recipe", "name", value="a/b"), "no name"),
        (put("recipe", "augmentation", value={"zoom": [1]}), "of the wrong type"),
        (put("recipe", "augmentation", value={IMAGE: 1}), "unknown or of the wrong type"),
        (put("calibration", value={}), "numbers that it should"),
        (put("calibration", IMAGE, value=1), "numbers that it should"),
        (put("calibration", "temperature", value="1"), "numbers that it should"),
        (put("calibration", "temperature", value=float("nan")), "not finite"),
        (put("calibration", "shift", value=float("-inf")), "not finite"),
        (put("calibration", "temperature", value=0), "out of range"),
        (put("notes", value="a\tb"), "notes"),
        (put("notes", value="a" * 20_001), "notes"),
        (put("notes", value=["a"]), "notes"),
        (put("calibration", "temperature", value=-1.0), "out of range"),
        (put("calibration", "prior", value=1), "out of range"),
        (put("calibration", "decision_threshold", value=2.0), "out of range"),
        (put("calibration", "uncertain", value=[0.6, 0.4]), "impossible order"),
        (put("calibration", "uncertain", value=[0.4]), "numbers that it should"),
        (put("calibration", "exclusion_threshold", value=-0.1), "impossible order"),
    ],
)
def test_an_invalid_config_is_refused(
    copy: Path, change: Callable[[Config], None], words: str
) -> None:
    assert words in refusal(reseal(copy, change))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"format": ' + "[" * 100_000, "cannot be read as JSON"),
        ('{"format": 1, "a": ' + "[" * 500 + "]" * 500 + "}", "nested too deeply"),
        ('{"format": 1, "a": 1e999}', "not finite"),
        ('{"format": 1, "a": NaN}', "not finite"),
        ("[]", "not a JSON object"),
        ("\ud800", "damaged config.json."),
    ],
)
def test_text_that_is_not_a_config_is_refused(copy: Path, text: str, words: str) -> None:
    (copy / "config.json").write_bytes(text.encode(errors="surrogatepass"))
    assert words in refusal(copy)


def test_nested_json_in_one_bundle_does_not_hide_the_others(copy: Path) -> None:
    shutil.copytree(copy, copy.with_name("other"))
    (copy / "config.json").write_text('{"format": ' + "[" * 100_000)
    listed = dict(list_bundles(copy.parent))
    assert list(listed) == ["micro", "other"]
    assert "damaged config.json" in str(listed["micro"])
    assert listed["other"] is None


def test_the_message_about_an_unreadable_file_has_no_path(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.model import bundle

    def no_permission(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(bundle, "sha256", no_permission)
    assert refusal(copy) == "The model micro cannot be read: Permission denied."
    assert list_bundles(copy.parent) == [("micro", refusal(copy))]


# --- links and files


@pytest.mark.parametrize(
    "name",
    ["config.json", "model.weights.h5", "gate.npz", "MODEL_CARD.md", "examples/normal.png"],
)
def test_a_link_to_a_file_outside_is_refused(copy: Path, outside: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).symlink_to(outside / name)
    assert f"{name} is a link" in refusal(copy)


def test_a_link_to_a_folder_is_refused(copy: Path, outside: Path) -> None:
    shutil.rmtree(copy / "examples")
    (copy / "examples").symlink_to(outside / "examples")
    assert "examples/normal.png is a link" in refusal(copy)


def test_a_named_pipe_is_refused_without_reading_it(copy: Path) -> None:
    (copy / "config.json").unlink()
    os.mkfifo(copy / "config.json")
    assert "not a regular file" in refusal(copy)


@pytest.mark.parametrize("name", ["averages.npz", "examples/normal.png"])
def test_an_optional_file_must_be_listed(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"unlisted")
    reseal(copy, lambda config: config["files"].pop(name, None))
    assert f"{name} was changed" in refusal(copy)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("config.json", 5_000_000),
        ("MODEL_CARD.md", 2_000_000),
        ("history.csv", 5_000_000),
        ("predictions.csv", 10**12),
        ("dataset.csv", 10**12),
        ("gate.npz", 10**12),
        ("neighbours.npz", 10**12),
        ("model.weights.h5", 10**12),
        ("examples/normal.png", 10**12),
    ],
)
def test_a_large_file_is_refused_before_it_is_read(copy: Path, name: str, size: int) -> None:
    # The terabyte files are sparse. Hashing one would take hours.
    os.truncate(copy / name, size)
    assert f"{name} is larger than" in refusal(copy)


# --- tables and texts


def edit(folder: Path, name: str, change: Callable[[str], str]) -> Path:
    file = folder / name
    file.write_text(change(file.read_text()))
    return reseal(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("predictions.csv", lambda text: text + "\n" * 300_000),
        ("predictions.csv", lambda text: text + "," * 100_000),
        ("predictions.csv", lambda text: ",".join(f"c{i}" for i in range(500)) + "\n" + text),
        ("predictions.csv", lambda text: text.replace("file,", "path,", 1)),
        ("dataset.csv", lambda text: text.replace("path,", "path,path,", 1)),
        ("dataset.csv", lambda text: text + "\n" * 300_000),
        ("history.csv", lambda text: text + "," * 100_000),
        ("history.csv", lambda text: ""),
    ],
)
def test_a_table_with_invalid_dimensions_is_refused(
    copy: Path, name: str, change: Callable[[str], str]
) -> None:
    assert f"damaged {name}" in refusal(edit(copy, name, change))


def replaced_in_row(column: str, value: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        header, first, *rest = text.split("\n")
        cells = dict(zip(header.split(","), first.split(","), strict=True)) | {column: value}
        return "\n".join([header, ",".join(cells.values()), *rest])

    return change


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("file", "/etc/passwd"),
        ("file", "../../../etc/passwd"),
        ("file", "..\\..\\x"),
        ("file", "C:/x"),
        ("file", "~root/x"),
        ("file", ""),
        ("label", IMAGE),
        ("fold", "train"),
        ("verdict", IMAGE),
        ("gate", "open"),
        ("probability", "nan"),
        ("probability", ""),
        ("probability", "inf"),
        ("probability", "1.5"),
        ("probability", IMAGE),
        ("logit", "-inf"),
        ("logit", IMAGE),
    ],
)
def test_invalid_predictions_are_refused(copy: Path, column: str, value: str) -> None:
    bundle = open_bundle(edit(copy, "predictions.csv", replaced_in_row(column, value)))
    with pytest.raises(BundleError, match=r"damaged predictions\.csv"):
        bundle.predictions()


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", IMAGE])
def test_a_history_must_have_finite_numbers(copy: Path, value: str) -> None:
    bundle = open_bundle(edit(copy, "history.csv", replaced_in_row("loss", value)))
    with pytest.raises(BundleError, match=r"damaged history\.csv"):
        bundle.history()


def test_additional_cells_do_not_shift_columns(copy: Path) -> None:
    def one_more(text: str) -> str:
        return "\n".join(
            f"{line},more" if number == 1 else line for number, line in enumerate(text.split("\n"))
        )

    first = open_bundle(edit(copy, "predictions.csv", one_more)).predictions().iloc[0]
    assert first["file"].endswith(".png")


def test_the_card_is_returned_as_text(copy: Path) -> None:
    card = f"# micro\n\n{IMAGE}\n"
    (copy / "MODEL_CARD.md").write_text(card)
    assert open_bundle(reseal(copy)).card() == card  # the page escapes it
    (copy / "MODEL_CARD.md").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match=r"damaged MODEL_CARD\.md"):
        open_bundle(reseal(copy)).card()


# --- arrays


def arrays_of(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as stored:
        return dict(stored)


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


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


# --- weights


def external_link(file: h5py.File, outside: Path) -> None:
    del file["layers"]
    file["layers"] = h5py.ExternalLink(str(outside / "model.weights.h5"), "/layers")


def external_link_to_an_array(file: h5py.File, outside: Path) -> None:
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink(str(outside / "model.weights.h5"), f"/{KERNEL}")


def soft_link(file: h5py.File, outside: Path) -> None:
    file.move("layers", "elsewhere")
    file["layers"] = h5py.SoftLink("/elsewhere")


def external_storage(file: h5py.File, outside: Path) -> None:
    old = file[KERNEL][()]
    (outside / "raw").write_bytes(old.tobytes())
    del file[KERNEL]
    file.create_dataset(
        KERNEL, old.shape, old.dtype, external=[(str(outside / "raw"), 0, old.nbytes)]
    )


def virtual_dataset(file: h5py.File, outside: Path) -> None:
    old = file[KERNEL][()]
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    layout[...] = h5py.VirtualSource(outside / "model.weights.h5", KERNEL, old.shape)
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def circular_group(file: h5py.File, outside: Path) -> None:
    file["group/again"] = file.require_group("group")


def compressed(file: h5py.File, outside: Path) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    file.create_dataset(KERNEL, shape, np.float32, chunks=True, compression="gzip")


def unwritten(file: h5py.File, outside: Path) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (2**40,), np.float32)


def not_numbers(file: h5py.File, outside: Path) -> None:
    del file[KERNEL]
    file[KERNEL] = ["text"]


def one_value(value: float) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, outside: Path) -> None:
        values = file[KERNEL][()]
        values.flat[0] = value
        file[KERNEL][...] = values

    return change


def repeated_array(file: h5py.File, outside: Path) -> None:
    file["again"] = file[KERNEL]
    for number in range(30_000 // file[KERNEL].nbytes * 40):
        file[f"again-{number}"] = file[KERNEL]


def missing_layer(file: h5py.File, outside: Path) -> None:
    file.move("layers/conv2d", "unknown")


def without_layers(file: h5py.File, outside: Path) -> None:
    file.move("layers", "unknown")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external_link, "a link to somewhere else"),
        (external_link_to_an_array, "a link to somewhere else"),
        (soft_link, "a link to somewhere else"),
        (external_storage, "numbers in another file"),
        (virtual_dataset, "numbers in another file"),
        (circular_group, "too many parts"),
        (compressed, "compressed or incomplete"),
        (unwritten, "compressed or incomplete"),
        (not_numbers, "something other than numbers"),
        (one_value(np.nan), "not finite"),
        (one_value(-np.inf), "not finite"),
        (repeated_array, "more numbers than their file holds"),
        (missing_layer, "do not fit its recipe."),
        (without_layers, "do not fit its recipe."),
    ],
)
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_invalid_weights_are_refused(
    copy: Path, outside: Path, change: Callable[[h5py.File, Path], None], words: str
) -> None:
    with h5py.File(copy / "model.weights.h5", "r+") as file:
        change(file, outside)
    bundle = open_bundle(reseal(copy))
    with pytest.raises(BundleError) as caught:
        bundle.load_network()
    assert words in str(caught.value)


def test_weights_that_are_not_hdf5_are_refused(copy: Path) -> None:
    (copy / "model.weights.h5").write_bytes(b"not weights")
    with pytest.raises(BundleError, match="do not fit its recipe"):
        open_bundle(reseal(copy)).load_network()


def test_no_network_is_built_that_is_larger_than_its_weights(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.model import architectures

    monkeypatch.setattr(architectures, "build_network", lambda *_: pytest.fail("It was built."))
    # 16 averaged features, then a hidden layer of 17 x 65,000 weights, in a file of a few hundred.
    reseal(copy, put("recipe", "dense", value=65_000))
    with pytest.raises(BundleError, match="fewer than the recipe's network has"):
        open_bundle(copy).load_network()


@pytest.mark.parametrize("recipe", ["cnn", "cnn-softmax", "resnet50", "vgg16-flatten"])
def test_the_minimum_number_of_weights_is_that_of_keras(recipe: str) -> None:
    from dataclasses import replace

    from xray_core.model.architectures import build_network
    from xray_core.model.recipes import RECIPES

    known = RECIPES[recipe]
    known = replace(known, dense=min(known.dense, 3), batch_norm=True)
    network = build_network(known)
    backbone = 0
    for layer in network.layers:
        if known.backbone is None or layer.name == "features":
            break
        backbone += layer.count_params()
    assert bundle_checks._minimum_weights(known) == network.count_params() - backbone


# --- segmentations


@pytest.fixture
def lungs(micro_lungs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(micro_lungs, tmp_path / "models" / "lungs"))


def segmentation_refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(folder, kind="segmentation")
    assert "evil.example" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("recipe", "kind", value="classifier"), "recipe is of another kind"),
        (put("recipe", "filters", value=[8] * 6), "from another version"),
        (put("recipe", "filters", value=[60_000, 4]), "impossible or too large"),
        (put("recipe", "filters", value=[4, 60_000]), "impossible or too large"),
        (put("recipe", "filters", value=[0, 4]), "impossible or too large"),
        (lambda config: config.pop("lungs"), "no limits of the lung fields"),
        (put("lungs", value=[IMAGE]), "no limits of the lung fields"),
        (put("lungs", "limits", value=IMAGE), "no limits of the lung fields"),
        (put("lungs", "limits", value={}), "not pairs of numbers"),
        (put("lungs", "limits", IMAGE, value=[0, 1]), "not pairs of numbers"),
        (put("lungs", "limits", "area", value=[0.5, 0.1]), "not pairs of numbers"),
        (put("lungs", "limits", "area", value=[0.5, IMAGE]), "not pairs of numbers"),
        (put("lungs", "limits", "area", value=[0.5, float("nan")]), "not finite"),
        (put("kind", value="classifier"), "labels are not"),
        (put("metrics", value={}), "no metrics of the test set"),
        (put("files", "../outside/config.json", value="0" * 64), "leads outside"),
    ],
)
def test_an_invalid_config_of_a_segmentation_is_refused(
    lungs: Path, change: Callable[[Config], None], words: str
) -> None:
    assert words in segmentation_refusal(reseal(lungs, change))


def test_a_classifier_is_not_made_a_segmentation_by_its_kind(copy: Path) -> None:
    reseal(copy, put("kind", value="segmentation"))
    assert "no limits of the lung fields" in segmentation_refusal(copy)


def test_a_link_in_a_segmentation_is_refused(lungs: Path, outside: Path) -> None:
    (lungs / "segmentation.csv").unlink()
    (lungs / "segmentation.csv").symlink_to(outside / "predictions.csv")
    assert "segmentation.csv is a link" in segmentation_refusal(lungs)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("file", "../../../etc/passwd"),
        ("file", ""),
        ("fold", "train"),
        ("label", IMAGE),
        ("dice", "1.5"),
        ("dice", "nan"),
        ("dice", IMAGE),
        ("iou", "-0.1"),
        ("area", "inf"),
        ("reference_area", ""),
    ],
)
def test_an_invalid_table_of_a_segmentation_is_refused(
    lungs: Path, column: str, value: str
) -> None:
    edit(lungs, "segmentation.csv", replaced_in_row(column, value))
    bundle = open_bundle(lungs, kind="segmentation")
    with pytest.raises(BundleError, match=r"damaged segmentation\.csv"):
        bundle.segmentation()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external_link, "a link to somewhere else"),
        (compressed, "compressed or incomplete"),
        (one_value(np.nan), "not finite"),
        (missing_layer, "do not fit its recipe."),
    ],
)
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_invalid_weights_of_a_segmentation_are_refused(
    lungs: Path, outside: Path, change: Callable[[h5py.File, Path], None], words: str
) -> None:
    with h5py.File(lungs / "model.weights.h5", "r+") as file:
        change(file, outside)
    bundle = open_bundle(reseal(lungs), kind="segmentation")
    with pytest.raises(BundleError) as caught:
        bundle.load_network()
    assert words in str(caught.value)


def test_no_segmentation_is_built_that_is_larger_than_its_weights(
    lungs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.model import architectures

    monkeypatch.setattr(architectures, "build_network", lambda *_: pytest.fail("It was built."))
    reseal(lungs, put("recipe", "filters", value=[4, 1_000]))
    with pytest.raises(BundleError, match="fewer than the recipe's network has"):
        open_bundle(lungs, kind="segmentation").load_network()


@pytest.mark.parametrize("filters", [(4,), (4, 8), (16, 32, 48, 64, 96)])
def test_the_minimum_number_of_weights_of_a_segmentation_is_that_of_keras(
    filters: tuple[int, ...],
) -> None:
    from dataclasses import replace

    from xray_core.model.architectures import build_network
    from xray_core.model.recipes import RECIPES

    recipe = replace(RECIPES["lungs"], filters=filters)
    assert bundle_checks._minimum_weights(recipe) == build_network(recipe).count_params()


# --- the lung network of a classifier


@pytest.fixture
def with_lungs(lungs_classifier: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lungs_classifier, tmp_path / "lungs" / "micro"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("lungs", value=[IMAGE]), "no recipe or no limits"),
        (put("lungs", value=None), "no recipe or no limits"),
        (put("lungs", "recipe", value=3), "no recipe or no limits"),
        (put("lungs", "limits", value=[]), "no recipe or no limits"),
        (put("lungs", "version", value=IMAGE), "version of its lung network"),
        (put("lungs", "recipe", IMAGE, value=1), "unknown or of the wrong type"),
        (put("lungs", "recipe", "filters", value=[10**9]), "impossible or too large"),
        (put("lungs", "recipe", "kind", value="classifier"), "is of another kind"),
        (put("lungs", "limits", "area", value=[0.1]), "not pairs of numbers"),
        (put("lungs", "limits", IMAGE, value=[0, 1]), "not pairs of numbers"),
        (put("lungs", "limits", "cut", value=[1, float("nan")]), "not finite"),
        (put("recipe", "kind", value="segmentation"), "is of another kind"),
        (lambda config: config.pop("lungs"), "do not go together"),
    ],
)
def test_an_invalid_entry_on_the_lung_network_is_refused(
    with_lungs: Path, change: Callable[[Config], None], words: str
) -> None:
    text = refusal(reseal(with_lungs, change))
    assert words in text
    assert IMAGE not in text


def test_the_lung_network_must_be_in_the_config_and_in_the_files(with_lungs: Path) -> None:
    (with_lungs / "lungs.weights.h5").unlink()
    reseal(with_lungs, lambda config: config["files"].pop("lungs.weights.h5"))
    assert "do not go together" in refusal(with_lungs)


def test_changed_weights_of_the_lung_network_are_refused(with_lungs: Path) -> None:
    with (with_lungs / "lungs.weights.h5").open("ab") as file:
        file.write(b"1")
    assert "lungs.weights.h5 was changed" in refusal(with_lungs)


@pytest.mark.parametrize(
    ("values", "words"),
    [(h5py.SoftLink("/y"), "a link to somewhere else"), ([np.nan], "not finite")],
)
def test_the_weights_of_the_lung_network_are_checked(
    with_lungs: Path, values: Any, words: str
) -> None:
    with h5py.File(with_lungs / "lungs.weights.h5", "r+") as file:
        file["x"] = values
    bundle = open_bundle(reseal(with_lungs))
    with pytest.raises(
        BundleError, match="weights of the lung network of the model micro"
    ) as caught:
        bundle.load_lungs()
    assert words in str(caught.value)


def test_no_lung_network_is_built_that_is_larger_than_its_weights(
    with_lungs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.model import architectures

    monkeypatch.setattr(architectures, "build_network", lambda *_: pytest.fail("It was built."))
    reseal(with_lungs, put("lungs", "recipe", "filters", value=[200]))
    with pytest.raises(BundleError, match="fewer than the recipe's network has"):
        open_bundle(with_lungs).load_lungs()


# --- files that are opened, and code that is run

OPENED = """
import os, sys
from pathlib import Path
sys.path.insert(0, os.environ["REPOSITORY"])
from xray_core.errors import BundleError
from xray_core.model.bundle import open_bundle
from xray_core.prediction.predictor import Predictor

def load_all(folder):
    bundle = open_bundle(folder, kind=None)
    if bundle.kind == "segmentation":
        bundle.load_network(), bundle.segmentation(), bundle.history(), bundle.card()
        return
    predictor = Predictor.load(folder)
    predictor.network  # which the engine may not need
    bundle.predictions(), bundle.dataset(), bundle.history(), bundle.card()
    for path in bundle.examples().values():
        predictor.predict(path)

base, benign, foreign = (os.path.realpath(path) for path in sys.argv[1:])
load_all(benign)  # imports all modules

seen, armed = [], True
RUN = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork",
       "socket.connect", "socket.getaddrinfo", "code.__new__", "ctypes.dlopen")

def watch(event, arguments):
    if not armed:
        return
    if event in RUN:
        seen.append(event)
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith(base) and not (path + "/").startswith(foreign + "/"):
            seen.append(event + " " + path)

sys.addaudithook(watch)
try:
    load_all(foreign)
    print("OPENED")
except BundleError as error:
    print("REFUSED", error)
armed = False
print("SEEN", sorted(set(seen)))
"""


def opened_and_run(tmp_path: Path, benign: Path, foreign: Path) -> list[str]:
    """Load all parts of a bundle in a process that records the files it opens and code it runs."""
    (tmp_path / "empty").mkdir()
    completed = subprocess.run(
        [sys.executable, "-c", OPENED, str(tmp_path), str(benign), str(foreign)],
        cwd=tmp_path / "empty",
        env={**os.environ, "REPOSITORY": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert list((tmp_path / "empty").iterdir()) == []
    return completed.stdout.splitlines()[-2:]


def lambda_in_the_weights(folder: Path, outside: Path) -> None:
    """A Lambda layer with code, in the HDF5 attribute that describes the layers of a model."""
    code = {"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None]}}
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "layers": [code]})
        file.attrs["keras_version"] = "2.0"


def linked_examples(folder: Path, outside: Path) -> None:
    shutil.rmtree(folder / "examples")
    (folder / "examples").symlink_to(outside / "examples")


def pickled_gate(folder: Path, outside: Path) -> None:
    with_objects(folder / "gate.npz")


def linked_weights(folder: Path, outside: Path) -> None:
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        external_link(file, outside)


def listed_outside(folder: Path, outside: Path) -> None:
    reseal(folder, put("files", "../../outside/MODEL_CARD.md", value="0" * 64))


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (lambda_in_the_weights, "OPENED"),
        (linked_examples, "REFUSED"),
        (pickled_gate, "REFUSED"),
        (linked_weights, "REFUSED"),
        (listed_outside, "REFUSED"),
    ],
)
def test_opening_runs_no_code_and_reads_nothing_outside(
    copy: Path,
    outside: Path,
    micro_bundle: Path,
    tmp_path: Path,
    change: Callable[[Path, Path], None],
    outcome: str,
) -> None:
    change(copy, outside)
    first, second = opened_and_run(tmp_path, micro_bundle, reseal(copy))
    assert first.startswith(outcome)
    assert second == "SEEN []"


@pytest.mark.parametrize(
    ("change", "outcome"), [(lambda_in_the_weights, "OPENED"), (linked_weights, "REFUSED")]
)
def test_opening_a_segmentation_runs_no_code_and_reads_nothing_outside(
    lungs: Path,
    outside: Path,
    micro_bundle: Path,
    tmp_path: Path,
    change: Callable[[Path, Path], None],
    outcome: str,
) -> None:
    change(lungs, outside)
    first, second = opened_and_run(tmp_path, micro_bundle, reseal(lungs))
    assert first.startswith(outcome)
    assert second == "SEEN []"


def test_a_sealed_bundle_passes_its_own_checks(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    del config["files"], config["format"]
    (copy / "config.json").unlink()
    seal(copy, config)
    assert open_bundle(copy).name == "micro"
