"""Connecting to Ray, an optional package, on this computer or a cluster."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xray_core.errors import XrayError

_ANSWER_SECONDS = 10.0
_ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to Ray, and disconnect at the end unless this process was connected before.

    Parameters
    ----------
    address
        Of the cluster, as `ray.init` takes it; "local" starts Ray on this computer. Where this
        process is connected to Ray already, that cluster is used.

    Yields
    ------
    module
        The package `ray`.

    Raises
    ------
    XrayError
        Ray is not installed, or does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
        import ray.data
    except ImportError:
        raise XrayError(
            "Ray is not installed: python -m pip install -r requirements-ray.txt"
        ) from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield ray
        return
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    local: dict[str, Any] = {}
    if address == "local":
        local = {"include_dashboard": False}
        # Ray would give its workers the lowest priority but four; other commands have the usual.
        os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        _check_answer(address)
        ray.init(
            address,
            runtime_env={"env_vars": {"PYTHONPATH": path}},
            log_to_driver=False,
            logging_level=logging.ERROR,
            **local,
        )
    except Exception as error:  # Ray raises many kinds
        raise XrayError(
            f"Ray at {address} does not answer ({first_line(error)}): check the address, and that "
            "`ray status` works there."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def node_resources(ray: Any) -> list[dict[str, float]]:
    """Return what each computer of the cluster offers ("CPU", "GPU"), if it has a core.

    Raises
    ------
    XrayError
        None has.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    usable = [resources for resources in nodes if resources.get("CPU", 0) >= 1]
    if not usable:
        raise XrayError("Ray has no computer with a free core: add one to the cluster.")
    return usable


def first_line(error: BaseException) -> str:
    """Return what an error of Ray, or of a task on it, says, without its traceback."""
    cause = getattr(error, "cause", None)
    lines = str(cause if isinstance(cause, BaseException) else error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _check_answer(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT; Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
