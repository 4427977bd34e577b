"""Access checks for folders and images on the server's disk.

Text from a visitor is used as a path only through these functions.
"""

import os
from ipaddress import ip_address
from pathlib import Path

import streamlit as st
from streamlit import config

from ui.common.public import is_public, shows_dataset
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
    """Tell whether the visitor uses the computer that runs the app; never on a public host.

    The server must listen on a loopback address, and host and origin of the visit must be loopback
    addresses too. A reverse proxy on the same computer keeps the host, or adds one of _FORWARDED.
    """
    headers = st.context.headers
    hosts = [f"//{host}" for host in headers.get_all("host")] + headers.get_all("origin")
    return (
        not is_public()
        and _is_loopback(config.get_option("server.address"))
        and all(_is_loopback(host_name(host)) for host in hosts)
        and not any(name in headers for name in _FORWARDED)
    )


def may_choose() -> bool:
    """Tell whether this visitor may choose any folder."""
    return bool(_roots()) or is_local()


def find_shown_dataset(folder: Path | None = None) -> Path:
    """Return the folder of the dataset, as `find_dataset`, if its images may be shown here.

    Raises DatasetError.
    """
    if not shows_dataset():
        raise DatasetError("The images of the dataset are not shown on this server.")
    return find_dataset(folder)


def choose_folder(text: str) -> Path:
    """Return the folder that a visitor's text names, links resolved.

    If the operator lists folders, it must lie in one of them. Otherwise any folder may be named on
    the server's own computer, and none from elsewhere.

    Raises DatasetError for a folder that may not be opened, with the same message whether or not it
    exists, and for an allowed path that is not a folder.
    """
    try:
        folder = Path(text).expanduser().resolve()
    except (OSError, ValueError, RuntimeError):  # too long, NUL, unknown user or a loop of links
        raise DatasetError(REFUSED) from None
    if not _may_open(folder):
        raise DatasetError(REFUSED)
    try:
        is_folder = folder.is_dir()
    except OSError:
        is_folder = False
    if not is_folder:
        raise DatasetError("There is no such folder.")
    return folder


def image_below(folder: Path | None, name: str) -> Path | None:
    """Return the file that a table names below `folder`, links resolved.

    None if it does not exist, or lies outside the folder by an absolute path, `..` or a link.
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
    """Tell whether a visitor may see an image: of the dataset, or of an allowed folder."""
    try:
        dataset = find_shown_dataset().resolve()
        if path.resolve().is_relative_to(dataset):
            return True
    except (DatasetError, OSError):
        pass
    return _may_open(path.resolve())


def _may_open(path: Path) -> bool:
    roots = _roots()
    return any(path.is_relative_to(root) for root in roots) if roots else is_local()


def _roots() -> list[Path]:
    named = [] if is_public() else os.environ.get(VARIABLE, "").split(os.pathsep)
    return [Path(name).expanduser().resolve() for name in named if name.strip()]


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
