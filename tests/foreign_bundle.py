"""Changes of a bundle that keep its hashes valid, for tests of untrusted bundles."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xray_core.model.bundle import sha256


def reseal(folder: Path, change: Callable[[dict[str, Any]], object] = lambda config: None) -> Path:
    """Write the current hashes of a bundle's files, then `change` its config.

    If the bundle is refused afterwards, the reason is not a hash that does not match.
    """
    file = folder / "config.json"
    config = json.loads(file.read_text())
    for name in config["files"]:
        if os.path.isfile(folder / name):
            config["files"][name] = sha256(folder / name)
    change(config)
    file.write_text(json.dumps(config))
    return folder
