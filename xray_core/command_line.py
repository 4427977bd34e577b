"""What `python train.py` and `python -m xray_core` share: messages and exit status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from xray_core.errors import XrayError


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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        run()
    except XrayError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped. {interrupted}", file=sys.stderr)
        return 130
    return 0
