"""Predicting many images into a table with one row per file; resumable."""

from __future__ import annotations

import os
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from xray_core.errors import XrayError
from xray_core.prediction.overlay import SIDE, write_overlay
from xray_core.prediction.predictor import Predictor
from xray_core.prediction.reading import TIMEOUT_SECONDS, Readers
from xray_core.prediction.reading_worker import Reading
from xray_core.prediction.result import Prediction
from xray_core.prediction.screen_tables import (
    COLUMNS,
    RESULT_COLUMNS,
    Row,
    ScreenTable,
    digest,
    open_table,
    result_cells,
)
from xray_core.prediction.sources import FileSource, SourceFile, open_source
from xray_core.spreadsheet import cell

__all__ = [
    "COLUMNS",
    "RESULT_COLUMNS",
    "Remaining",
    "Summary",
    "cell",
    "predict_rows",
    "result_cells",
    "screen",
]

BATCH_SIZE = 32


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes
    ----------
    counts
        Number of rows of the table by verdict, with those of earlier runs.
    added
        Number of rows of this run.
    repeated
        Number of files that the source names again; they have one row.
    seconds
        Duration of this run.
    """

    counts: Counter[str]
    added: int
    repeated: int
    seconds: float

    @property
    def sentence(self) -> str:
        """All numbers in one line."""
        counts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(self.counts.items()))
        again = f", {self.repeated:,} named again and skipped" if self.repeated else ""
        rate = self.added / self.seconds if self.seconds else 0.0
        return (
            f"{self.counts.total():,} rows: {counts}. This run: {self.added:,} images in "
            f"{self.seconds:,.0f} s, {rate:,.1f} per second{again}."
        )


def screen(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    predictor: Predictor,
    *,
    maps: str | os.PathLike[str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    progress: bool = True,
    batch_size: int = BATCH_SIZE,
) -> Summary:
    """Predict every file of a source into a table, in the order of completion.

    A file that cannot be read, that crashes its decoder or that does not arrive in time gets a row
    with the reason. Memory holds three batches of model inputs and 8 bytes per file.

    Parameters
    ----------
    source
        As for `xray_core.prediction.sources.open_source`.
    out
        The table, with the columns COLUMNS: a .csv file, or a .parquet folder. Files that it
        already lists are skipped.
    predictor
        The model.
    maps
        Folder for the Grad-CAM overlays, SHA256.jpg. Images are then predicted one at a time.
    timeout
        Seconds after which a file is given up.
    progress
        Whether to draw a progress bar.
    batch_size
        Number of images in one forward pass.

    Raises
    ------
    XrayError
        There are no files at `source`, `out` cannot be written, or `out` was started by another
        model, another engine or another program.
    """
    begin = time.monotonic()
    table_path, map_folder = Path(out), None if maps is None else Path(maps)
    files = open_source(source, exclude=[p for p in (table_path, map_folder) if p is not None])
    engine = engine_name(predictor)
    added = 0
    with open_table(table_path, predictor.model, engine) as table:
        remaining = Remaining(files, table)
        with (
            progress_bar(table, remaining.count, progress) as bar,
            Readers(side=None if map_folder is None else SIDE, timeout=timeout) as readers,
        ):
            for row in predict_rows(
                iter(remaining), predictor, readers, maps=map_folder, batch_size=batch_size
            ):
                table.append(row)
                bar.update()
                added += 1
    return Summary(table.counts, added, remaining.repeated, time.monotonic() - begin)


def engine_name(predictor: Predictor) -> str:
    """Return what runs the networks of a predictor, for the table."""
    return str(getattr(predictor, "engine", "tensorflow"))


class Remaining:
    """The files of a source that a table does not list, each once.

    Attributes
    ----------
    count
        Their number.
    repeated
        Number of files that are named again.

    Raises
    ------
    XrayError
        The source has no files, or cannot be read.
    """

    def __init__(self, source: FileSource, table: ScreenTable) -> None:
        self._source = source
        self._table = table
        names = array("Q")
        is_empty = True
        for file in source.list_files():
            is_empty = False
            if (name := cell(file.name)) not in table:
                names.append(digest(name))
        if is_empty:
            raise XrayError(f"There are no files in {source.text}: check its name.")
        values = np.sort(np.frombuffer(names, np.uint64))
        again = values[1:][values[1:] == values[:-1]]
        self._again = frozenset(again.tolist())
        self.repeated = again.size
        self.count = values.size - again.size

    def __iter__(self) -> Iterator[SourceFile]:
        seen: set[int] = set()
        for file in self._source.list_files():
            if (name := cell(file.name)) in self._table:
                continue
            if self._again and (value := digest(name)) in self._again:
                if value in seen:
                    continue
                seen.add(value)
            yield file


def progress_bar(table: ScreenTable, remaining: int, visible: bool) -> tqdm:
    """Return a bar with rate and time left, which begins at the rows of earlier runs."""
    done = table.counts.total()
    return tqdm(
        total=done + remaining, initial=done, unit="image", smoothing=0.05, disable=not visible
    )


def predict_rows(
    files: Iterator[SourceFile],
    predictor: Predictor,
    readers: Readers,
    *,
    maps: Path | None = None,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Row]:
    """Yield the row of each file, in the order of completion.

    Parameters
    ----------
    files
        The files.
    predictor
        The model.
    readers
        They read the next files while the network runs.
    maps
        Folder for the overlays.
    batch_size
        Number of images in one forward pass.
    """
    readings = readers.read(files, ahead=2 * batch_size)
    engine = engine_name(predictor)
    predictions = (
        _predict(readings, predictor, batch_size)
        if maps is None
        else _predict_with_maps(readings, predictor, maps)
    )
    for file, reading, prediction in predictions:
        yield [cell(file.name), reading.sha256, *result_cells(prediction), engine]


_Readings = Iterator[tuple[SourceFile, Reading]]
_Predictions = Iterator[tuple[SourceFile, Reading, Prediction]]


def _predict(readings: _Readings, predictor: Predictor, batch_size: int) -> _Predictions:
    """Predict batch by batch; the readers fill the next batch while the network runs."""
    while batch := list(islice(readings, batch_size)):
        prepared: list[Any] = []  # these pass through the predictor's own reading
        for _, reading in batch:
            if not isinstance(reading.prepared, str):
                prepared.append(reading.prepared)
        predictions = iter(predictor.predict_many(prepared, batch_size=batch_size))
        for file, reading in batch:
            if isinstance(reading.prepared, str):
                yield file, reading, _unreadable(reading.prepared, predictor)
            else:
                yield file, reading, next(predictions)


def _predict_with_maps(readings: _Readings, predictor: Predictor, maps: Path) -> _Predictions:
    for file, reading in readings:
        prepared, picture = reading.prepared, reading.picture
        if isinstance(prepared, str) or picture is None:
            yield file, reading, _unreadable(str(prepared), predictor)
            continue
        # The map is needed at the size of the picture alone.
        prediction = predictor.predict(prepared._replace(shape=picture.shape), explain="gradcam")
        if prediction.heatmap is not None:
            try:
                write_overlay(maps, reading.sha256, picture, prediction.heatmap)
            except OSError as error:
                raise XrayError(
                    f"No overlay can be written to {maps}: {error.strerror}. The rows so far are "
                    "kept; run the same command again to resume."
                ) from error
        yield file, reading, prediction


def _unreadable(reason: str, predictor: Predictor) -> Prediction:
    return Prediction(None, "UNREADABLE", (reason,), model=predictor.model)
