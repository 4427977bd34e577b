"""UIDs: those that come from outside are checked, and those of results are derived.

A result has the same UID whenever the same model analyses the same image, so that storing it again
adds nothing to a PACS. The root is 2.25: the rest of the UID is a UUID as a decimal number (PS3.5,
annex B.2). The UUID is named (version 5, RFC 9562, section 5.5) within `NAMESPACE`.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid

from xray_core.model.bundle import Bundle

ROOT = "2.25"
NAMESPACE = uuid.UUID("f92691c8-7e9e-4ad9-b119-0c415a108f27")
"""Names UUIDs of this project's results; chosen at random once."""
FORMAT = 1
"""Changes if the content of results changes, so that they get new UIDs."""

_UID = re.compile(r"\d+(\.\d+)+", re.ASCII)


def is_uid(text: str) -> bool:
    """Return True for a UID of numbers and dots, at most 64 characters (PS3.5, section 9.1).

    Numbers with a leading zero are not allowed by the standard and are in use.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def derived_uid(kind: str, source: str, model: str) -> str:
    """Return the UID of what a model makes of a source.

    Parameters
    ----------
    kind : str
        What is made, such as "report".
    source : str
        The UID of the image with its variant, or for a series that of the study.
    model : str
        Hash of the model.

    Returns
    -------
    str
        2.25 and a decimal number, at most 44 characters.
    """
    name = f"{FORMAT}/{kind}/{source}/{model}"
    return f"{ROOT}.{uuid.uuid5(NAMESPACE, name).int}"


def result_uids(
    study: str, instance: str, bundle: Bundle, variant: str = ""
) -> dict[str, tuple[str, str]]:
    """Return series and instance UID of both results of an image, by kind.

    Parameters
    ----------
    study, instance : str
        Study and SOP Instance UID of the image.
    bundle : Bundle
        The model.
    variant : str
        How the image was read or adjusted; "" for the image as it is stored.

    Returns
    -------
    dict of str to (str, str)
        For "report" and "capture".
    """
    model = model_hash(bundle)
    source = f"{instance}/{variant}" if variant else instance
    return {
        kind: (derived_uid(f"{kind} series", study, model), derived_uid(kind, source, model))
        for kind in ("report", "capture")
    }


def model_hash(bundle: Bundle) -> str:
    """Return a hash of the whole model: its config holds the hashes of all its files."""
    return hashlib.sha256(json.dumps(bundle.config, sort_keys=True).encode()).hexdigest()
