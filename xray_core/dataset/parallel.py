"""Work on many files in one process a core."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

_CHUNK = 64  # files handed to a process at once
_FEW = 256  # with fewer files starting the processes would take longer than the work

Result = TypeVar("Result")


def in_chunks(
    work: Callable[[Path, Sequence[str]], Result],
    root: Path,
    paths: Sequence[str],
    processes: int | None = None,
) -> Iterator[Result]:
    """Yield `work(root, some of paths)` until all paths are done, in any order."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    count = processes or os.cpu_count() or 1
    if len(paths) < _FEW or count == 1:
        yield from (work(root, chunk) for chunk in chunks)
        return
    # joblib's processes, unlike those of the standard library, do not run the main module again,
    # which under Streamlit is the page itself.
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=count, return_as="generator_unordered", batch_size=1)
    yield from parallel(delayed(work)(root, chunk) for chunk in chunks)
