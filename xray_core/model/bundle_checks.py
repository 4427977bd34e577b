"""Checks of the files of a bundle, before they are used or read into memory.

A bundle may come from an untrusted source. All of it is data (JSON, CSV, Markdown, PNG, arrays
without objects, weights without layers), so reading it runs no code. These checks ensure that
reading it also reaches no file outside its folder, takes no more memory than its size on disk
suggests, and gives finite numbers. No message repeats text from a bundle.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal, get_args

import numpy as np

from xray_core.errors import BundleError, RecipeError
from xray_core.labels import LABELS
from xray_core.model.recipes import INPUT_SIZE, RECIPES, Recipe

Kind = Literal["classifier", "segmentation"]
"""Task of the network in a bundle."""

MAX_ROWS = 250_000  # of a table; the largest public sets of chest X-rays have about as many
MAX_COLUMNS = 64
MAX_LINE_BYTES = 8_192  # of a table
MAX_FILES = 64  # of a bundle
MAX_ACTIVATIONS = 2**24  # values of one layer for one image; at most 2**22 in the named recipes

_PATH_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .:+_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_MAX_DEPTH = 16  # levels of config.json, and of the groups of a weights file
_MAX_TEXT = 4_096  # characters of a text in config.json
_MAX_NOTES = 20_000  # characters of the notes, the one text of several lines
_MAX_DIRECTORY_BYTES = 16_384  # of an .npz file's table of contents
_MAX_WEIGHT_ITEMS = 20_000  # groups and arrays of a weights file; ResNet50 has about 600


def check_file(folder: Path, name: str, limit: int) -> None:
    """Check that a file of a bundle is a regular file, not too large, and not behind a link.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.
    name : str
        Path of the file below `folder`, with forward slashes.
    limit : int
        Maximum size in bytes.

    Raises
    ------
    BundleError
        It is missing, a link, of another type or too large; the message names the file.
    """
    path = folder
    for part in name.split("/"):
        path = path / part
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise BundleError(
                f"The model {folder.name} is incomplete: {name} is missing."
            ) from None
        if stat.S_ISLNK(status.st_mode):
            raise BundleError(
                f"The model {folder.name} is refused: {name} is a link, and a model must contain "
                "its files."
            )
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"The model {folder.name} is refused: {name} is not a regular file.")
    if status.st_size > limit:
        raise BundleError(
            f"The model {folder.name} is refused: {name} is larger than the maximum of "
            f"{limit / 1e6:,.0f} MB."
        )


def parse_config(text: str) -> dict[str, Any]:
    """Parse the text of a `config.json`: a JSON object of finite numbers and plain text.

    Parameters
    ----------
    text : str
        Content of the file.

    Returns
    -------
    dict
        The parsed object; its keys are not checked here.

    Raises
    ------
    ValueError
        It is something else; the message gives the reason as part of a sentence.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it cannot be read as JSON") from None
    if not isinstance(config, dict):
        raise ValueError("it is not a JSON object")
    notes = config.get("notes", "")
    if not isinstance(notes, str) or len(notes) > _MAX_NOTES or _has_control_character(notes):
        raise ValueError("its notes are too long or have control characters")
    checked = {key: value for key, value in config.items() if key != "notes"}
    waiting: list[tuple[Any, int]] = [(checked, 0)]
    while waiting:
        item, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if isinstance(item, dict):
            waiting.extend((part, depth + 1) for pair in item.items() for part in pair)
        elif isinstance(item, list):
            waiting.extend((part, depth + 1) for part in item)
        elif isinstance(item, str):
            if len(item) > _MAX_TEXT or _CONTROL_CHARACTER.search(item):
                raise ValueError("it has a text that is too long or has control characters")
        elif isinstance(item, (int, float)) and not abs(item) <= 2**53:  # also true for NaN
            raise ValueError("it has a number that is not finite or too large")
    return config


def check_config(config: dict[str, Any]) -> None:
    """Check the entries of a `config.json` of the current format that other modules rely on.

    `Calibration.from_dict`, `LungLimits.from_dict` and `read_recipe` check the entries
    `calibration`, `lungs.limits` and `recipe`.

    Parameters
    ----------
    config : dict
        A parsed `config.json`.

    Raises
    ------
    ValueError
        An entry is missing or wrong; the message gives the reason as part of a sentence.
    """
    kinds = get_args(Kind)
    if config.get("kind") not in kinds:
        raise ValueError(f"its kind is not {' or '.join(kinds)}")
    if not _matches(config.get("version"), _VERSION):
        raise ValueError("its version is not a short text of letters and digits")
    classifier = config["kind"] == "classifier"
    if classifier and config.get("labels") != list(LABELS):
        raise ValueError(f"its labels are not {' and '.join(LABELS)}")
    if config.get("input_size") != list(INPUT_SIZE):
        raise ValueError(f"its input size is not {INPUT_SIZE[0]} x {INPUT_SIZE[1]}")
    if not _matches(config.get("name"), _PATH_PART):
        raise ValueError("its name is not valid as the name of a folder")
    for key in (*(["calibration"] if classifier else []), "recipe", "files", "metrics"):
        if not isinstance(config.get(key), dict):
            raise ValueError(f"it has no {key}")
    lungs = config.get("lungs")
    if not classifier and not (isinstance(lungs, dict) and isinstance(lungs.get("limits"), dict)):
        raise ValueError("it has no limits of the lung fields")
    if not isinstance(config["metrics"].get("test"), dict):
        raise ValueError("it has no metrics of the test set")
    for key in (
        "gate",
        "dataset",
        "libraries",
        "training",
        "storage",
        "engines",
        "neighbours_report",
    ):
        if not isinstance(config.get(key, {}), (dict, type(None))):
            raise ValueError(f"its entry {key} is not an object")
    if config["kind"] == "classifier" and "lungs" in config:
        _check_lungs(config["lungs"])
    limits = config.get("cautions", {})
    if not isinstance(limits, dict) or not all(_is_number(limit) for limit in limits.values()):
        raise ValueError("its limits of cautions are not numbers")
    files = config["files"]
    if len(files) > MAX_FILES:
        raise ValueError("it lists too many files")
    for name, digest in files.items():
        if not _is_bundle_path(name):
            raise ValueError("it lists a file whose name leads outside the model's folder")
        if not _matches(digest, _SHA256):
            raise ValueError("it lists a file without its SHA-256")


def _check_lungs(lungs: Any) -> None:
    """Check the entry on a classifier's copy of the lung network, except recipe and limits."""
    if not isinstance(lungs, dict) or not all(
        isinstance(lungs.get(key), dict) for key in ("recipe", "limits")
    ):
        raise ValueError("its lung network has no recipe or no limits")
    if not _matches(lungs.get("version"), _VERSION):
        raise ValueError(
            "the version of its lung network is not a short text of letters and digits"
        )


def _has_control_character(lines: str) -> bool:
    return bool(_CONTROL_CHARACTER.search(lines.replace("\n", "")))


def _is_bundle_path(name: str) -> bool:
    return all(_PATH_PART.fullmatch(part) for part in name.split("/")) and name.count("/") < 4


def is_relative_path(path: str) -> bool:
    """Return whether the path of an image is relative and stays below its starting folder.

    Any characters except control characters are allowed. Both POSIX and Windows rules apply.
    """
    if not path or _CONTROL_CHARACTER.search(path):
        return False
    if ".." not in path and ":" not in path and "\\" not in path and path[0] not in "/~":
        return True
    for pure in (PurePosixPath(path), PureWindowsPath(path)):
        if pure.drive or pure.root or ".." in pure.parts:
            return False
    return path[0] != "~"


def read_recipe(data: dict[str, Any]) -> Recipe:
    """Read the recipe of a bundle, and check the type and size of every field.

    Parameters
    ----------
    data : dict
        The entry `recipe` of a `config.json`.

    Returns
    -------
    Recipe
        A recipe that a network can be built from.

    Raises
    ------
    ValueError
        A field is unknown, missing, or has a value that no network can be built from.
    """
    if not _has_types_of(data, RECIPES["resnet50"].to_dict()):
        raise ValueError("its recipe has a field that is unknown or of the wrong type")
    if not _matches(data.get("name"), _PATH_PART) or "summary" not in data:
        raise ValueError("its recipe has no name or summary")
    try:
        recipe = Recipe.from_dict(data)
    except RecipeError:
        raise ValueError("its recipe is from another version") from None
    if not (
        len(recipe.filters) <= 16
        and all(1 <= number <= 65_536 for number in recipe.filters)
        and 1 <= recipe.pool <= 224
        and 0 <= recipe.dense <= 65_536
        and 0 <= recipe.dropout < 1
        and _largest_activations(recipe) <= MAX_ACTIVATIONS
    ):
        raise ValueError("its recipe describes a network that is impossible or too large")
    return recipe


def check_weights(file: Path, recipe: Recipe) -> None:
    """Check an HDF5 file of weights before Keras reads it, and before the network is built.

    All links must be hard links. All arrays must be finite and stored in the file itself,
    uncompressed. There must be at least as many values as the network of the recipe has weights,
    so that the network takes no more memory than the file.

    Parameters
    ----------
    file : Path
        The HDF5 file.
    recipe : Recipe
        Recipe of the network.

    Raises
    ------
    ValueError
        The file is different; the message gives the reason as part of a sentence.
    """
    import h5py

    values = stored = items = 0
    with h5py.File(file, "r") as root:
        waiting: list[tuple[Any, int]] = [(root, 0)]
        while waiting:
            group, depth = waiting.pop()
            for name in group:
                items += 1
                if items > _MAX_WEIGHT_ITEMS or depth > _MAX_DEPTH:
                    raise ValueError("they have too many parts")
                if group.get(name, getclass=True, getlink=True) is not h5py.HardLink:
                    raise ValueError("they have a link to somewhere else")
                item = group[name]
                if isinstance(item, h5py.Group):
                    waiting.append((item, depth + 1))
                    continue
                _check_array(item)
                values, stored = values + item.size, stored + item.nbytes
                if stored > file.stat().st_size:
                    raise ValueError("they claim more numbers than their file holds")
                if not np.isfinite(item[()]).all():
                    raise ValueError("they have a number that is not finite")
    if values < _minimum_weights(recipe):
        raise ValueError("they are fewer than the recipe's network has")


def read_arrays(file: str | os.PathLike[str], names: Collection[str], limit: int) -> dict[str, Any]:
    """Read an .npz file that holds the named arrays and no others.

    Sizes are checked before anything is unpacked. The arrays hold finite numbers or texts.

    Parameters
    ----------
    file : str or PathLike
        The .npz file.
    names : collection of str
        Names of the arrays.
    limit : int
        Maximum size of all arrays together, unpacked, in bytes.

    Returns
    -------
    dict of str to ndarray
        The arrays by name.

    Raises
    ------
    OSError
        The file is missing or cannot be read.
    ValueError
        The file holds something else.
    """
    try:
        with open(file, "rb") as raw:
            _check_directory(raw)
            with zipfile.ZipFile(raw) as archive:
                entries = archive.infolist()
                if sorted(entry.filename for entry in entries) != sorted(f"{n}.npy" for n in names):
                    raise ValueError("It holds other arrays.")
                if sum(entry.file_size for entry in entries) > limit:
                    raise ValueError("Its arrays are too large.")
                return {entry.filename[:-4]: _read_array(archive, entry) for entry in entries}
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many types of exceptions
        raise ValueError(f"{Path(file).name} does not hold the arrays that it should.") from error


def check_table(file: Path, columns: Iterable[str]) -> None:
    """Check a CSV file before it is read: its columns, the number of rows and their length.

    Parameters
    ----------
    file : Path
        The CSV file, in UTF-8.
    columns : iterable of str
        Columns that it must have; it may have others.

    Raises
    ------
    ValueError
        A column is missing or repeated, or the table is too large.
    """
    rows = 0
    with file.open("rb") as lines:
        header = lines.readline(MAX_LINE_BYTES + 1)
        names = header.decode("utf-8").rstrip("\r\n").split(",")
        if len(names) > MAX_COLUMNS or len(set(names)) < len(names) or not {*columns} <= {*names}:
            raise ValueError("it does not have the columns that it should")
        while line := lines.readline(MAX_LINE_BYTES + 1):
            rows += 1
            if len(line) > MAX_LINE_BYTES or rows > MAX_ROWS:
                raise ValueError("it has a line that is too long, or too many of them")


def _matches(value: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _has_types_of(value: Any, pattern: Any) -> bool:
    """Return whether a value from a recipe has the same type as in the recipe `pattern`."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in pattern
            and (_has_types_of(part, pattern[key]) or (key == "backbone" and part is None))
            for key, part in value.items()
        )
    if pattern == ():  # filters
        return isinstance(value, list) and all(type(part) is int for part in value)
    if isinstance(pattern, tuple):
        return (
            isinstance(value, list)
            and len(value) == len(pattern)
            and all(_is_number(part) for part in value)
        )
    return _is_number(value) if isinstance(pattern, float) else type(value) is type(pattern)


def _spatial_sides(recipe: Recipe) -> list[int]:
    """Return the side of the input of each convolution block, and of the last block's output."""
    sides = [INPUT_SIZE[0]]
    for _ in recipe.filters:
        sides.append(sides[-1] // recipe.pool)
    return sides


def _largest_activations(recipe: Recipe) -> int:
    if recipe.backbone is not None:
        return 0
    if recipe.kind == "segmentation":
        # The activations of each resolution, joined with those of the next coarser one.
        joined = zip(recipe.filters, (*recipe.filters[1:], 0), strict=True)
        sides = [INPUT_SIZE[0] // 2**number for number in range(1, len(recipe.filters) + 1)]
        return max(side**2 * sum(counts) for side, counts in zip(sides, joined, strict=True))
    sides = _spatial_sides(recipe)
    return max(side**2 * count for side, count in zip(sides, recipe.filters, strict=False))


def _minimum_weights(recipe: Recipe) -> int:
    """Count the weights of a recipe's network without those of a pretrained backbone.

    The recipe determines only these. A backbone has at most 25 million, few enough for any memory.
    """
    weights = 0
    if recipe.kind == "segmentation":
        down = [(1, recipe.filters[0]), *zip(recipe.filters, recipe.filters[1:], strict=False)]
        twice = [pair for coarser, count in down for pair in ((coarser, count), (count, count))]
        up = [(count + coarser, count) for count, coarser in down[1:]]
        # Each convolution has no bias, and is followed by batch normalisation.
        convolutions = sum((9 * channels + 4) * count for channels, count in (*twice, *up))
        return convolutions + 9 * recipe.filters[0] + 1
    if recipe.backbone is None:
        channels, side = 1, _spatial_sides(recipe)[-1]
        for count in recipe.filters:
            weights += (9 * channels + 1) * count
            channels = count
    else:
        channels, side = {
            ("resnet50", "conv4"): (1024, 14),
            ("resnet50", "conv5"): (2048, 7),
        }.get((recipe.backbone, recipe.last_stage), (512, 7))
    width = channels * (side**2 if recipe.pooling == "flatten" else 1)
    if recipe.dense:
        weights += (width + 1) * recipe.dense
        width = recipe.dense
    if recipe.batch_norm:
        weights += 4 * width
    return weights + (width + 1) * (2 if recipe.output == "softmax" else 1)


def _check_array(item: Any) -> None:
    """Check that an HDF5 dataset is an array of numbers, stored completely in its own file."""
    import h5py

    if not isinstance(item, h5py.Dataset) or item.shape is None or item.dtype.kind not in "fiu":
        raise ValueError("they hold something other than numbers")
    layout = item.id.get_create_plist().get_layout()
    if item.external or item.is_virtual:
        raise ValueError("they have numbers in another file")
    if (
        layout not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS)
        or item.id.get_storage_size() != item.nbytes
    ):
        raise ValueError("they have an array that is compressed or incomplete")


def _check_directory(file: Any) -> None:
    """Check that the table of contents of an .npz file is small, as `zipfile` reads all of it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(-min(size, 42), os.SEEK_END)  # a ZIP64 locator (20), and the end record (22)
    end = file.read()
    record = end[-22:]
    if (
        len(record) < 22
        or not record.startswith(b"PK\5\6")
        or record[20:] != b"\0\0"  # without a comment, this is the end record that zipfile finds
        or end[-42:-38] == b"PK\6\7"
        or int.from_bytes(record[12:16], "little") > _MAX_DIRECTORY_BYTES
    ):
        raise ValueError("This is not an .npz file with a small table of contents.")


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("An array is compressed in an unusual way.")
    with archive.open(entry) as member:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, by_column, kind = np.lib.format.read_array_header_1_0(member)
        else:
            shape, by_column, kind = np.lib.format.read_array_header_2_0(member)
        if kind.hasobject or kind.kind not in "fiuU":
            raise ValueError("An array holds something other than numbers or texts.")
        if min(shape, default=0) < 0 or (
            math.prod(shape) * kind.itemsize != entry.file_size - member.tell()
        ):
            raise ValueError("An array's size is not the one that the file declares.")
        order: Literal["F", "C"] = "F" if by_column else "C"
        values = np.ndarray(shape, kind, buffer=member.read(), order=order)
    if kind.kind == "f" and not np.isfinite(values).all():
        raise ValueError("A number is not finite.")
    return values
