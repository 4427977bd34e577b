"""Screening on Ray: the same table as `prediction.screen`, made by many processes or computers.

The driver lists the files and Ray Data gives each worker the paths of one part of the table at a
time. A worker holds the model, reads the files itself, writes the part into the table's folder, and
returns its name; the driver lists it in the manifest. Neither pixels nor rows travel.

Ray may run a part again after a worker or a computer was lost. The part then has the same name, so
that the table has each row once.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xray_core.errors import XrayError
from xray_core.prediction.overlay import SIDE
from xray_core.prediction.reading import TIMEOUT_SECONDS, Readers
from xray_core.prediction.screen import Remaining, Summary, predict_rows, progress_bar
from xray_core.prediction.screen_tables import (
    ROWS_PER_PART,
    ParquetTable,
    Part,
    open_table,
    write_part,
)
from xray_core.prediction.sources import SourceFile, open_source
from xray_core.ray_cluster import connected, first_line, node_resources

if TYPE_CHECKING:
    import pyarrow as pa

    from xray_core.prediction.predictor import Predictor

Load = Callable[[str, "str | None", int], "Predictor"]

CORES_PER_WORKER = 4
PARTS_PER_ROUND = 1_000
"""Parts that Ray holds at a time: the paths of a million files, some 100 MB."""


def load_predictor(bundle: str, engine: str | None, cores: int) -> Predictor:
    """Load a model that uses at most a number of cores.

    Parameters
    ----------
    bundle, engine
        As for `Predictor.load`.
    cores
        Ray places workers by the cores that they state, and does not enforce these.
    """
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(cores)  # read when TensorFlow is imported
    os.environ["OMP_NUM_THREADS"] = str(cores)  # read by `model.engine` for OpenVINO
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from xray_core.prediction.predictor import Predictor

    named = {} if engine is None else {"engine": engine}
    return Predictor.load(bundle, **named)


def screen_on_ray(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    bundle: str | os.PathLike[str],
    *,
    address: str = "local",
    engine: str | None = None,
    maps: str | os.PathLike[str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    progress: bool = True,
    rows_per_part: int = ROWS_PER_PART,
    load: Load = load_predictor,
) -> Summary:
    """Predict every file of a source into a Parquet table, on Ray.

    Every worker must see the source, the table's folder and the bundle under the same path or URL
    as this process.

    Parameters
    ----------
    source
        As for `xray_core.prediction.sources.open_source`, but no archive.
    out
        The table, a .parquet folder. Files that it already lists are skipped; it may have been
        begun without Ray, and resumed without it.
    bundle
        The folder of the model.
    address
        Of the Ray cluster, as `ray.init` takes it; "local" starts Ray on this computer. Where this
        process is connected to Ray already, that cluster is used.
    engine
        As for `Predictor.load`; None for its default.
    maps
        Folder for the Grad-CAM overlays.
    timeout
        Seconds after which a file is given up.
    progress
        Whether to draw a progress bar.
    rows_per_part
        Number of files that a worker gets at a time: what is lost where a worker is.
    load
        How a worker loads the model.

    Raises
    ------
    XrayError
        As for `screen`; also if Ray is not installed, does not answer, or gives up.
    """
    begin = time.monotonic()
    table_path = Path(out).absolute()
    if table_path.suffix.lower() != ".parquet":
        raise XrayError(f"Ray cannot write {out}: name a table that ends in .parquet with --out.")
    map_folder = None if maps is None else Path(maps).absolute()
    files = open_source(source, exclude=[p for p in (table_path, map_folder) if p is not None])
    if not files.has_paths:
        raise XrayError(
            f"Ray does not read archives: unpack {files.text} first, or leave out --ray."
        )
    options = {
        "bundle": str(Path(bundle).absolute()),
        "engine": engine,
        "maps": None if map_folder is None else str(map_folder),
        "timeout": timeout,
        "table": str(table_path),
        "load": load,
    }
    added = 0
    with connected(address) as ray:
        cores, workers = _size(ray)
        model, engine_name = _describe_model(ray, options, cores)
        with open_table(table_path, model, engine_name) as table:
            assert isinstance(table, ParquetTable)
            remaining = Remaining(files, table)
            with progress_bar(table, remaining.count, progress) as bar:
                blocks = (
                    _block(table.next_part(), chunk) for chunk in _chunks(remaining, rows_per_part)
                )
                for part in _run(ray, blocks, options, cores, workers):
                    table.add_part(part)
                    bar.update(part.counts.total())
                    added += part.counts.total()
    return Summary(table.counts, added, remaining.repeated, time.monotonic() - begin)


def _size(ray: Any) -> tuple[int, int]:
    """Return the number of cores of a worker, and the number of workers."""
    cpus = [int(node["CPU"]) for node in node_resources(ray)]
    cores = min(CORES_PER_WORKER, *cpus)
    return cores, sum(count // cores for count in cpus)


def _describe_model(ray: Any, options: dict[str, Any], cores: int) -> tuple[str, str]:
    """Return name and version of the model, and its engine, as a worker loads them.

    A worker that lacks the model or a package is thus a sentence before the job begins.
    """

    def describe() -> tuple[str, str] | str:
        from xray_core.prediction.screen import engine_name

        try:
            predictor = options["load"](options["bundle"], options["engine"], cores)
        except XrayError as error:
            return str(error)
        return predictor.model, engine_name(predictor)

    try:
        described = ray.get(ray.remote(num_cpus=cores)(describe).remote())
    except Exception as error:
        raise XrayError(
            f"A worker of Ray cannot load the model ({first_line(error)}): install this project "
            "there, and make the folder of the model visible under the same path."
        ) from error
    if isinstance(described, str):
        raise XrayError(described)
    return described


def _chunks(files: Iterable[SourceFile], size: int) -> Iterator[list[SourceFile]]:
    remaining = iter(files)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _block(part: str, files: list[SourceFile]) -> pa.Table:
    """Return a part to make as a block of Ray Data, which is a task of one worker.

    Names of files are bytes, since they need not be valid text.
    """
    import pyarrow as pa

    paths = [file.path and (file.path if "://" in file.path else os.path.abspath(file.path))
             for file in files]  # fmt: skip
    columns = {
        "name": pa.array([os.fsencode(file.name) for file in files], pa.binary()),
        "path": pa.array([path and os.fsencode(path) for path in paths], pa.binary()),
        "problem": pa.array([file.problem for file in files], pa.string()),
    }
    return pa.table(columns).append_column("part", pa.array([part] * len(files), pa.string()))


def _run(
    ray: Any, blocks: Iterator[pa.Table], options: dict[str, Any], cores: int, workers: int
) -> Iterator[Part]:
    """Yield each part when it is written."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    while tables := list(islice(blocks, PARTS_PER_ROUND)):
        dataset = ray.data.from_arrow(tables).map_batches(
            PartScreener,
            fn_constructor_kwargs={**options, "cores": cores},
            batch_size=None,  # the block
            batch_format="pyarrow",
            num_cpus=cores,
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=min(workers, len(tables)), max_tasks_in_flight_per_actor=2
            ),
        )
        try:
            for row in dataset.iter_rows():
                yield Part(row["part"], Counter(json.loads(row["verdicts"])))
        except Exception as error:  # of Ray, or of a worker
            raise XrayError(
                f"Ray gave up ({first_line(error)}). The parts so far are kept; run the same "
                "command again to resume."
            ) from error


class PartScreener:
    """A worker: holds the model and makes one part of the table at a time.

    The parameters are those of `screen_on_ray`, with `table` for `out`.
    """

    def __init__(
        self,
        bundle: str,
        engine: str | None,
        maps: str | None,
        timeout: float,
        table: str,
        load: Load,
        cores: int,
    ) -> None:
        self._predictor = load(bundle, engine, cores)
        self._maps = None if maps is None else Path(maps)
        self._table = Path(table)
        # They end with this process, as their standard input does.
        self._readers = Readers(
            side=None if maps is None else SIDE, timeout=timeout, count=max(2, cores // 2)
        )

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write a part, and return its name and its number of rows by verdict."""
        import pyarrow as pa

        files = (
            SourceFile(os.fsdecode(name), path and os.fsdecode(path), None, problem)
            for name, path, problem in zip(
                *(block[column].to_pylist() for column in ("name", "path", "problem")), strict=True
            )
        )
        rows = list(predict_rows(files, self._predictor, self._readers, maps=self._maps))
        part = write_part(self._table, block["part"][0].as_py(), rows)
        return pa.table({"part": [part.name], "verdicts": [json.dumps(part.counts)]})
