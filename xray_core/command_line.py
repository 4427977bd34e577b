"""What the commands share: a quiet start of TensorFlow, messages and exit status."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from xray_core.errors import XrayError

_CHATTER = re.compile(rb"[IW]\d{4} |WARNING: All log messages before absl::InitializeLog")


def silence_tensorflow() -> None:
    """Leave out what TensorFlow prints about its build and the absence of a GPU.

    To be called before TensorFlow is imported. TF_CPP_MIN_LOG_LEVEL silences the messages after the
    import. Those during the import are not subject to it (TensorFlow issue 100442), so what is
    printed to standard error then is kept, and printed without them afterwards.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if "tensorflow" not in sys.modules and not any(isinstance(f, _Quiet) for f in sys.meta_path):
        sys.meta_path.insert(0, _Quiet())


class _Quiet(MetaPathFinder):
    """Has the first import of TensorFlow run under `_without_chatter`."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_quietly(module: ModuleType) -> None:
            with _without_chatter():
                run(module)

        spec.loader.exec_module = run_quietly  # type: ignore[method-assign]
        return spec


@contextmanager
def _without_chatter() -> Iterator[None]:
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            kept.seek(0)
            for line in kept:
                if not _CHATTER.match(line):
                    os.write(2, line)


def run_command(run: Callable[[], None], *, interrupted: str) -> int:
    """Run a command without TensorFlow's start messages, and with errors as one sentence.

    Parameters
    ----------
    run : callable
        The command.
    interrupted : str
        The message after Ctrl-C: what is kept and how to resume.

    Returns
    -------
    int
        The exit status: 0, 1 after an `XrayError`, 130 if interrupted.
    """
    silence_tensorflow()
    try:
        run()
    except XrayError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped. {interrupted}", file=sys.stderr)
        return 130
    return 0
