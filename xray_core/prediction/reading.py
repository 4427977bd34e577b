"""Read many files at once, each in a supervised process.

A file that crashes its decoder, or that does not arrive in time, becomes a `Reading` with a reason.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from xray_core.errors import XrayError
from xray_core.prediction.reading_worker import READY, Reading, Request
from xray_core.prediction.sources import SourceFile

TIMEOUT_SECONDS = 60.0
CRASHED = "The program that decodes images crashed on this file twice, so it was not analysed."

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "from xray_core.prediction.reading_worker import serve; serve()"
_START_SECONDS = 300.0  # imports from a slow disk
_Answer = tuple[SourceFile, Reading]


def stalled(seconds: float) -> str:
    """Return the reason of a file that did not arrive in time."""
    return (
        f"The file could not be read within {seconds:g} seconds. Check its file system, and screen "
        "it again."
    )


def count_readers() -> int:
    """Return how many processes read: half of the cores, at least two and at most eight."""
    return max(2, min(8, (os.cpu_count() or 1) // 2))


class ReaderProcess:
    """One process that reads one file at a time; started again after it has died or hung.

    Parameters
    ----------
    timeout
        Seconds after which a file is given up.
    program
        What the processes run, Python code that ends in `reading_worker.serve()`.
    """

    def __init__(self, timeout: float, program: str = _PROGRAM) -> None:
        self._timeout = timeout
        self._program = program
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[Any] = queue.Queue()

    def read(self, request: Request) -> Reading:
        """Read a file; a crash or a delay is the reason of a `Reading`.

        After a crash the file is tried once more, as the process may have been ended from outside.
        """
        for _ in range(2):
            answers, process = self._start()
            try:
                assert process.stdin is not None
                pickle.dump(request, process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()
                reading = answers.get(timeout=self._timeout)
            except OSError:  # it ended before it got the request
                reading = None
            except queue.Empty:
                self._stop()
                return Reading("", stalled(self._timeout))
            if reading is not None:
                return reading
            self._stop()
            if self._closed:
                break
        return Reading("", CRASHED)

    def close(self) -> None:
        """End the process; a read that waits for it ends as well."""
        self._closed = True
        self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # the system may be unable to end it
            process.wait(timeout=1)
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # what was not sent
            process.stdin.close()

    def _start(self) -> tuple[queue.Queue[Any], subprocess.Popen[bytes]]:
        if self._process is None:
            path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
            process = self._process = subprocess.Popen(
                (sys.executable, "-P", "-c", self._program),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the command, which then ends this process
            )
            self._answers = queue.Queue()
            # A read from a pipe has no time limit on every system; a thread that waits for it has.
            threading.Thread(target=_receive, args=(process, self._answers), daemon=True).start()
            try:
                ready = self._answers.get(timeout=_START_SECONDS) == READY
            except queue.Empty:
                ready = False
            if not (ready or self._closed):
                self._stop()
                raise XrayError(
                    "The program that reads images cannot be started. Check that this computer has "
                    "memory left and that its Python can import xray_core."
                )
        return self._answers, self._process


def _receive(process: subprocess.Popen[bytes], answers: queue.Queue[Any]) -> None:
    """Put each answer of a process into a queue, and None after the last."""
    assert process.stdout is not None
    with process.stdout as stream:
        try:
            while True:
                answers.put(pickle.load(stream))
        except Exception:  # the end of the pipe, also in the middle of an answer
            answers.put(None)


class Readers:
    """Several reader processes; a context manager that ends them.

    Parameters
    ----------
    side
        Longest side in pixels of `Reading.picture`; None for none.
    count
        Number of processes.
    timeout
        Seconds after which a file is given up.
    program
        What the processes run, Python code that ends in `reading_worker.serve()`.
    """

    def __init__(
        self,
        *,
        side: int | None = None,
        count: int | None = None,
        timeout: float = TIMEOUT_SECONDS,
        program: str = _PROGRAM,
    ) -> None:
        self._side = side
        self._processes = [ReaderProcess(timeout, program) for _ in range(count or count_readers())]

    def __enter__(self) -> Readers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.close()

    def read(self, files: Iterator[SourceFile], ahead: int) -> Iterator[_Answer]:
        """Read files in the order of completion.

        Parameters
        ----------
        files
            The files; the next is taken when a process is free.
        ahead
            Number of results that are kept until they are taken.

        Yields
        ------
        tuple of SourceFile and Reading
            One per file. An exception of `files` is raised after the results of the files before.
        """
        results: queue.Queue[_Answer | BaseException | None] = queue.Queue(ahead)
        stopped = threading.Event()
        turn = threading.Lock()

        def put(result: _Answer | BaseException | None) -> None:
            while not stopped.is_set():
                with contextlib.suppress(queue.Full):
                    results.put(result, timeout=0.1)
                    return

        def work(process: ReaderProcess) -> None:
            try:
                while not stopped.is_set():
                    with turn:  # a file of an archive is read in its turn
                        file = next(files, None)
                        request = None if file is None else _request(file, self._side)
                    if file is None:
                        break
                    if isinstance(request, Request):
                        put((file, process.read(request)))
                    elif request is not None:
                        put((file, request))
            except BaseException as error:
                put(error)
            put(None)

        threads = [
            threading.Thread(target=work, args=(process,), daemon=True)
            for process in self._processes
        ]
        for thread in threads:
            thread.start()
        failure = None
        working = len(threads)
        try:
            while working:
                result = results.get()
                if result is None:
                    working -= 1
                elif isinstance(result, BaseException):
                    failure = result
                else:
                    yield result
            if failure is not None:
                raise failure
        finally:
            stopped.set()


def _request(file: SourceFile, side: int | None) -> Request | Reading:
    """Return what to read, or why there is nothing to read."""
    if file.problem is not None:
        return Reading("", file.problem)
    if file.load is None:
        return Request(file.path, None, side)
    content = file.load()
    if content.data is None:
        return Reading("", content.problem or "This file cannot be read.")
    return Request(None, content.data, side)
