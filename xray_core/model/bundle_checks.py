"""What the files of a bundle may be: checked before they are used or read into memory.

A bundle may come from a stranger. All of it is data (JSON, CSV, Markdown, PNG, arrays without
objects, weights without layers), so reading it runs no code. These checks make sure that reading
it also reaches no file outside its folder, takes no more memory than its size on disk suggests,
and gives numbers that are finite. No message repeats text from a bundle.
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
from typing import Any, Literal

import numpy as np

from xray_core.errors import BundleError, RecipeError
from xray_core.labels import LABELS
from xray_core.model.recipes import INPUT_SIZE, RECIPES, Recipe

MOST_ROWS = 250_000  # of a table; the largest public sets of chest X-rays have about as many
LONGEST_LINE = 8_192  # bytes of a table's line
MOST_COLUMNS = 64
MOST_FILES = 64
LARGEST_LAYER = 2**24  # values of one image's activations; the recipes' largest have 2**22

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # of a file's path below the bundle
_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .:+_-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_DEEPEST = 16  # levels of config.json
_LONGEST_TEXT = 4_096
_LARGEST_DIRECTORY = 16_384  # bytes of an .npz file's table of contents
_MOST_ITEMS = 20_000  # groups and arrays of a weights file; ResNet50 has some 600


def check_file(folder: Path, name: str, limit: int) -> None:
    """Check that `name` is a regular file of at most `limit` bytes, reached through no link.

    Raises:
        BundleError: it is not; the message names it.
    """
    here = folder
    for part in name.split("/"):
        here = here / part
        try:
            status = os.lstat(here)
        except (FileNotFoundError, NotADirectoryError):
            raise BundleError(
                f"The model {folder.name} is incomplete: {name} is missing."
            ) from None
        if stat.S_ISLNK(status.st_mode):
            raise BundleError(
                f"The model {folder.name} is refused: {name} is a link, and a model has to hold "
                "its files itself."
            )
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"The model {folder.name} is refused: {name} is not a regular file.")
    if status.st_size > limit:
        raise BundleError(
            f"The model {folder.name} is refused: {name} is larger than the {limit / 1e6:,.0f} MB "
            "that it may have."
        )


def parse_config(text: str) -> dict[str, Any]:
    """Return a `config.json`, a JSON object of finite numbers and plain text.

    Raises:
        ValueError: it is something else; the message says what, without repeating it.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it cannot be read as JSON") from None
    if not isinstance(config, dict):
        raise ValueError("it is not a JSON object")
    waiting: list[tuple[Any, int]] = [(config, 0)]
    while waiting:
        item, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        if isinstance(item, dict):
            waiting.extend((part, depth + 1) for pair in item.items() for part in pair)
        elif isinstance(item, list):
            waiting.extend((part, depth + 1) for part in item)
        elif isinstance(item, str):
            if len(item) > _LONGEST_TEXT or _CONTROL.search(item):
                raise ValueError("it has a text that is too long or has control characters")
        elif isinstance(item, (int, float)) and not abs(item) <= 2**53:  # NaN is not, either
            raise ValueError("it has a number that is not finite or too large")
    return config


def check_config(config: dict[str, Any]) -> None:
    """Check all of a `config.json` that others rely on, but for its calibration.

    Raises:
        ValueError: it does not hold; the message says what, without repeating it.
    """
    if not _matches(config.get("version"), _TEXT):
        raise ValueError("its version is not a short text of letters and digits")
    if config.get("labels") != list(LABELS):
        raise ValueError(f"its labels are not {' and '.join(LABELS)}")
    if config.get("input_size") != list(INPUT_SIZE):
        raise ValueError(f"its input size is not {INPUT_SIZE[0]} x {INPUT_SIZE[1]}")
    if not _matches(config.get("name"), _PART):
        raise ValueError("its name is not a name for a folder")
    for key in ("calibration", "recipe", "files", "metrics"):
        if not isinstance(config.get(key), dict):
            raise ValueError(f"it has no {key}")
    if not isinstance(config["metrics"].get("test"), dict):
        raise ValueError("it has no metrics of the test set")
    for key in ("gate", "dataset", "libraries", "training", "storage", "neighbours_report"):
        if not isinstance(config.get(key, {}), (dict, type(None))):
            raise ValueError(f"its entry {key} is not an object")
    limits = config.get("cautions", {})
    if not isinstance(limits, dict) or not all(_is_number(limit) for limit in limits.values()):
        raise ValueError("its limits of cautions are not numbers")
    files = config["files"]
    if len(files) > MOST_FILES:
        raise ValueError("it lists too many files")
    for name, digest in files.items():
        if not is_own_path(name):
            raise ValueError("it lists a file whose name leads outside the model's folder")
        if not _matches(digest, _DIGEST):
            raise ValueError("it lists a file without its SHA-256")


def is_own_path(name: str) -> bool:
    """Tell whether `name` is a plain relative path, so that it cannot lead out of its folder."""
    return all(_PART.fullmatch(part) for part in name.split("/")) and name.count("/") < 4


def stays_inside(path: str) -> bool:
    """Tell whether an image's path, of any characters, stays below the folder it starts from."""
    if not path or _CONTROL.search(path):
        return False
    if ".." not in path and ":" not in path and "\\" not in path and path[0] not in "/~":
        return True
    for pure in (PurePosixPath(path), PureWindowsPath(path)):
        if pure.drive or pure.root or ".." in pure.parts:
            return False
    return path[0] != "~"


def read_recipe(data: dict[str, Any]) -> Recipe:
    """Return the recipe of a bundle, with every field of the type and size that it may have.

    Raises:
        ValueError: a field is unknown or missing, or has a value that no network can be built of.
    """
    pattern = RECIPES["resnet50"].to_dict()
    if not _is_like(data, pattern):
        raise ValueError("its recipe has a field that is unknown or of the wrong type")
    if not _matches(data.get("name"), _PART) or "summary" not in data:
        raise ValueError("its recipe has no name or summary")
    try:
        recipe = Recipe.from_dict(data)
    except RecipeError:
        raise ValueError("its recipe is from another version") from None
    blocks = len(recipe.filters) <= 16 and all(1 <= number <= 65_536 for number in recipe.filters)
    sizes = 1 <= recipe.pool <= 224 and 0 <= recipe.dense <= 65_536 and 0 <= recipe.dropout < 1
    if not (blocks and sizes) or _largest_layer(recipe) > LARGEST_LAYER:
        raise ValueError("its recipe describes a network that is impossible or too large")
    return recipe


def check_weights(file: Path, recipe: Recipe) -> None:
    """Check an HDF5 file of weights before Keras reads it, and before the network is built.

    Every link in it is a hard one; every array is stored whole in the file itself, uncompressed
    and finite; and there are at least as many numbers as the network of `recipe` needs, so that
    the network takes no more memory than the file.

    Raises:
        ValueError: it is not so; the message says what.
    """
    import h5py

    values = stored = items = 0
    with h5py.File(file, "r") as whole:
        waiting: list[tuple[Any, int]] = [(whole, 0)]
        while waiting:
            group, depth = waiting.pop()
            for name in group:
                items += 1
                if items > _MOST_ITEMS or depth > _DEEPEST:
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
    if values < _fewest_weights(recipe):
        raise ValueError("they are fewer than the recipe's network has")


def read_arrays(file: str | os.PathLike[str], names: Collection[str], limit: int) -> dict[str, Any]:
    """Return the arrays called `names` of an .npz file that holds these and no others.

    Sizes are checked before anything is unpacked: `limit` is in bytes, of all arrays together.
    Arrays of numbers and texts only, and every number is finite.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is something else.
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
                return {entry.filename[:-4]: _array(archive, entry) for entry in entries}
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise what they like for damaged files
        raise ValueError(f"{Path(file).name} does not hold the arrays that it should.") from error


def check_table(file: Path, columns: Iterable[str]) -> None:
    """Check a CSV before it is read: its columns, the number of its rows, and their length.

    Raises:
        ValueError: it is not so; the message says what.
    """
    rows = 0
    with file.open("rb") as lines:
        header = lines.readline(LONGEST_LINE + 1)
        names = header.decode("utf-8").rstrip("\r\n").split(",")
        if len(names) > MOST_COLUMNS or len(set(names)) < len(names) or not {*columns} <= {*names}:
            raise ValueError("it does not have the columns that it should")
        while line := lines.readline(LONGEST_LINE + 1):
            rows += 1
            if len(line) > LONGEST_LINE or rows > MOST_ROWS:
                raise ValueError("it has a line that is too long, or too many of them")


def _matches(value: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_like(value: Any, pattern: Any) -> bool:
    """Tell whether a recipe's entry has the type that it has in another recipe."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in pattern
            and (_is_like(part, pattern[key]) or (key == "backbone" and part is None))
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
    """Side of a square image before each of the blocks from scratch, and after the last."""
    sides = [INPUT_SIZE[0]]
    for _ in recipe.filters:
        sides.append(sides[-1] // recipe.pool)
    return sides


def _largest_layer(recipe: Recipe) -> int:
    """Values of the largest activations of one image, blocks from scratch only."""
    if recipe.backbone is not None:
        return 0
    sides = _spatial_sides(recipe)
    return max(side**2 * count for side, count in zip(sides, recipe.filters, strict=False))


def _fewest_weights(recipe: Recipe) -> int:
    """Weights of a recipe's network, those of a pretrained backbone not counted.

    These are the weights whose number the recipe decides. A backbone has its own, which are few
    enough (25 million at most) to be built in any case.
    """
    weights = 0
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
    """Check that an HDF5 dataset is an array of numbers, whole in its own file."""
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
        raise ValueError("they have an array that is not stored as it is")


def _check_directory(file: Any) -> None:
    """Check that an .npz file ends in a small table of contents, which `zipfile` reads whole."""
    size = file.seek(0, os.SEEK_END)
    file.seek(-min(size, 42), os.SEEK_END)  # a ZIP64 locator (20), and the end record (22)
    end = file.read()
    record = end[-22:]
    if (
        len(record) < 22
        or not record.startswith(b"PK\5\6")
        or record[20:] != b"\0\0"  # no comment, so that this is the end record that zipfile finds
        or end[-42:-38] == b"PK\6\7"
        or int.from_bytes(record[12:16], "little") > _LARGEST_DIRECTORY
    ):
        raise ValueError("This is not an .npz file with a small table of contents.")


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
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
