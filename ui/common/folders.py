"""Which folders of this computer a visitor may choose, and which images a table may name.

Text from a visitor names a path only through these functions.
"""

import os
from ipaddress import ip_address
from pathlib import Path

import streamlit as st
from streamlit import config

from ui.common.server import host_name
from xray_core.dataset.index import find_dataset
from xray_core.errors import DatasetError

VARIABLE = "XRAY_FOLDERS"
REFUSED = (
    "This folder cannot be opened here. The operator of this app lists the folders that may be "
    f"opened in the environment variable {VARIABLE}."
)
NO_CHOICE = (
    "Folders can be chosen only on the computer that runs this app, or below the folders that its "
    f"operator lists in the environment variable {VARIABLE}."
)
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def is_local() -> bool:
    """Tell whether the visitor sits at the computer that runs the app.

    The server must listen on a loopback address, and neither host nor origin of the visit may be
    another. A reverse proxy on the same computer passes on, or announces, who it speaks for.
    """
    headers = st.context.headers
    hosts = [f"//{host}" for host in headers.get_all("host")] + headers.get_all("origin")
    return (
        _is_loopback(config.get_option("server.address"))
        and all(_is_loopback(host_name(host)) for host in hosts)
        and not any(name in headers for name in _FORWARDED)
    )


def may_choose() -> bool:
    """Tell whether this visitor may name a folder at all."""
    return bool(_roots()) or is_local()


def choose_folder(text: str) -> Path:
    """Return the folder that a visitor's text names, links resolved.

    Where the operator lists folders, it lies in one of them; else any may be named on this
    computer, and none from elsewhere.

    Raises:
        DatasetError: it may not be opened, in the same words whether or not it exists; or, where
            it might be, it is no folder.
    """
    try:
        folder = Path(text).expanduser().resolve()
    except (OSError, ValueError, RuntimeError):  # too long, NUL, unknown user or a loop of links
        raise DatasetError(REFUSED) from None
    if not _may_open(folder):
        raise DatasetError(REFUSED)
    try:
        found = folder.is_dir()
    except OSError:
        found = False
    if not found:
        raise DatasetError("There is no such folder.")
    return folder


def image_below(folder: Path | None, name: str) -> Path | None:
    """Return the file that a table names below `folder`, links resolved.

    None where there is none, or where the name leads out of the folder: an absolute path, `..`
    or a link.
    """
    if folder is None:
        return None
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None


def may_show(path: Path) -> bool:
    """Tell whether a visitor may see an image: one of the dataset, or of a folder to choose."""
    try:
        dataset = find_dataset(None).resolve()
        if path.resolve().is_relative_to(dataset):
            return True
    except (DatasetError, OSError):
        pass
    return _may_open(path.resolve())


def _may_open(path: Path) -> bool:
    roots = _roots()
    return any(path.is_relative_to(root) for root in roots) if roots else is_local()


def _roots() -> list[Path]:
    named = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [Path(name).expanduser().resolve() for name in named if name.strip()]


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
