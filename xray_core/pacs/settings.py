"""The PACS servers that the operator has configured, from a file or the environment.

Nothing that a visitor enters reaches these settings: a visitor can only choose one of the names.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xray_core.errors import PacsError

SECRETS = Path(".streamlit/secrets.toml")
FROM_ENVIRONMENT = "environment"
"""The name of the server that `XRAY_PACS_URL` configures."""
UNNAMED = "pacs"
"""The name of the server in the section `[pacs]` itself."""

MISSING_PACKAGES = "needs further packages: python -m pip install -r requirements-pacs.txt"
"""The rest of the sentence where an optional package is absent."""

_VARIABLES = {
    "url": "XRAY_PACS_URL",
    "user": "XRAY_PACS_USER",
    "password": "XRAY_PACS_PASSWORD",
    "token": "XRAY_PACS_TOKEN",
    "ca": "XRAY_PACS_CA",
    "client_certificate": "XRAY_PACS_CLIENT_CERTIFICATE",
    "client_key": "XRAY_PACS_CLIENT_KEY",
    "timeout": "XRAY_PACS_TIMEOUT",
    "transfer_timeout": "XRAY_PACS_TRANSFER_TIMEOUT",
}
_SECONDS = ("timeout", "transfer_timeout")
_FILES = ("ca", "client_certificate", "client_key")
_SWITCHES = ("write", "show_identity", "remote")
_TRUE = ("1", "true", "yes")


@dataclass(frozen=True)
class Server:
    """A PACS with a DICOMweb service.

    Parameters
    ----------
    name : str
        The name in the settings, which messages use.
    url : str
        Root of the DICOMweb service, such as "https://pacs.example.org/dicom-web".
    user, password : str, optional
        For HTTP basic authentication.
    token : str, optional
        Bearer token, instead of user and password.
    ca : str, optional
        File of certificate authorities (PEM) for the server's certificate, instead of those that
        come with Python's requests.
    client_certificate, client_key : str, optional
        Files (PEM) with which this program identifies itself; the key may be in the certificate's
        file.
    timeout : float
        Seconds without any data after which a request fails.
    transfer_timeout : float
        Seconds after which the transfer of one response fails, even if data still arrive.
    write : bool
        Whether results may be stored.
    show_identity : bool
        Whether patient names and numbers may be shown.
    remote : bool
        Whether visitors of the app who use another computer may use the PACS.
    """

    name: str
    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    timeout: float = 30.0
    transfer_timeout: float = 300.0
    write: bool = False
    show_identity: bool = False
    remote: bool = False

    @property
    def title(self) -> str:
        """The server in a sentence: "PACS" with the name that the operator gave it, if any."""
        return "PACS" if self.name in (FROM_ENVIRONMENT, UNNAMED) else f"PACS {self.name}"

    @property
    def is_unencrypted(self) -> bool:
        """Whether images and passwords travel to another computer without encryption."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and not _is_this_computer(parts.hostname or "")


def read_servers(
    environment: Mapping[str, str] | None = None, secrets: Path = SECRETS
) -> dict[str, Server]:
    """Return the configured servers by name, in the order of the file; {} if there are none.

    If `XRAY_PACS_URL` is set, the environment configures the only server and the file is not read.
    Otherwise the section `[pacs]` of the file configures one server, and each section
    `[pacs.NAME]` another. Results are stored only if `XRAY_PACS_WRITE` is 1 in the environment; a
    server in the file can forbid it with `write = false`.

    Parameters
    ----------
    environment : mapping, optional
        By default that of the process.
    secrets : path
        Streamlit's file of secrets.

    Returns
    -------
    dict of str to Server

    Raises
    ------
    PacsError
        A setting is invalid. The message names the setting and never its value.
    """
    variables = os.environ if environment is None else environment
    may_write = variables.get("XRAY_PACS_WRITE", "").strip() == "1"
    allowed = {
        "show_identity": variables.get("XRAY_PACS_SHOW_IDENTITY", "").strip() == "1",
        "remote": variables.get("XRAY_PACS_REMOTE", "").strip() == "1",
    }
    if variables.get("XRAY_PACS_URL"):
        settings: dict[str, Any] = {
            name: variables[variable]
            for name, variable in _VARIABLES.items()
            if variables.get(variable)
        }
        server = _server(FROM_ENVIRONMENT, settings | allowed, may_write)
        return {server.name: server}
    section = _read_section(secrets)
    own = {key: value for key, value in section.items() if not isinstance(value, dict)}
    named = {key: value for key, value in section.items() if isinstance(value, dict)}
    sections = ({UNNAMED: own} if own else {}) | named
    return {
        name: _server(name, allowed | settings, may_write) for name, settings in sections.items()
    }


def find_server(name: str | None = None, servers: Mapping[str, Server] | None = None) -> Server:
    """Return a configured server.

    Parameters
    ----------
    name : str, optional
        By default the first server.
    servers : mapping, optional
        By default those of `read_servers`.

    Raises
    ------
    PacsError
        No server is configured, or none has this name.
    """
    servers = read_servers() if servers is None else servers
    if not servers:
        raise PacsError(
            "No PACS is configured. Set XRAY_PACS_URL, or write a section [pacs] into "
            f"{SECRETS.as_posix()}; docs/pacs.md describes both."
        )
    if name is None:
        return next(iter(servers.values()))
    if name not in servers:
        raise PacsError(f"No PACS has this name. Configured: {', '.join(servers)}.")
    return servers[name]


def _read_section(secrets: Path) -> dict[str, Any]:
    try:
        section = tomllib.loads(secrets.read_text(encoding="utf-8")).get("pacs", {})
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise PacsError(f"{secrets} cannot be read.") from None
    except tomllib.TOMLDecodeError:  # its message may quote a password
        raise PacsError(f"{secrets} is not a valid TOML file.") from None
    if not isinstance(section, dict):
        raise PacsError(f"In {secrets}, pacs must be a section: [pacs].")
    return section


def _server(name: str, settings: Mapping[str, Any], may_write: bool) -> Server:
    where = "the environment" if name == FROM_ENVIRONMENT else f"the section of {name}"
    unknown = set(settings) - set(_VARIABLES) - set(_SWITCHES)
    if unknown:
        raise PacsError(f"The PACS settings in {where} have no field {sorted(unknown)[0]}.")
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if key in _SWITCHES:
            values[key] = value is True or str(value).strip().lower() in _TRUE
        elif key in _SECONDS:
            values[key] = _seconds(key, value, where)
        elif isinstance(value, str) and value and value.isprintable():
            values[key] = value
        else:
            raise PacsError(f"The PACS setting {key} in {where} must be a text of one line.")
    _check_url(values.get("url"), where)
    for key in _FILES:
        if key in values:
            path = Path(values[key]).expanduser()
            if not path.is_file():
                raise PacsError(f"The PACS setting {key} in {where} does not name a file.")
            values[key] = str(path)
    if ("user" in values) != ("password" in values):
        raise PacsError(f"The PACS settings user and password in {where} need each other.")
    if "token" in values and "user" in values:
        raise PacsError(f"The PACS settings in {where} have a token and a password: give one.")
    if "client_key" in values and "client_certificate" not in values:
        raise PacsError(f"The PACS setting client_key in {where} needs client_certificate.")
    values["url"] = values["url"].rstrip("/")
    values["write"] = may_write and values.get("write", True)
    return Server(name=name, **values)


def _check_url(url: str | None, where: str) -> None:
    if url is None:
        raise PacsError(f"The PACS settings in {where} have no url.")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is not a number
        valid = False
    else:
        if valid and (parts.username or parts.password or parts.query or parts.fragment):
            raise PacsError(
                f"The PACS setting url in {where} must not contain a password or a query; user and "
                "password have their own settings."
            )
    if not valid:
        raise PacsError(
            f"The PACS setting url in {where} must be the root of a DICOMweb service, such as "
            "https://pacs.example.org/dicom-web."
        )


def _seconds(key: str, value: object, where: str) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise PacsError(f"The PACS setting {key} in {where} must be a number of seconds above 0.")
    return seconds


def _is_this_computer(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
