"""A watcher as a process of its own, for tests that kill it: `pacs_watcher.py SETTINGS.json`.

Its predictor gives one result for every image and needs no network, so that it starts fast. Each
analysis is first noted in the file `begun`, by the hash of the pixels.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from xray_core.model.bundle import Bundle, open_bundle
from xray_core.pacs.client import PacsClient
from xray_core.pacs.settings import Server
from xray_core.pacs.state import WatchState
from xray_core.pacs.watch import Watcher
from xray_core.prediction.result import Prediction


class ConstantPredictor:
    def __init__(self, bundle: Bundle, begun: Path) -> None:
        self.bundle = bundle
        self.model = f"{bundle.name} {bundle.version}"
        self._begun = begun

    def predict(self, radiograph, *, explain=None):
        with self._begun.open("a") as file:
            file.write(hashlib.sha256(radiograph.pixels.tobytes()).hexdigest() + "\n")
        heatmap = np.zeros(radiograph.pixels.shape, np.float32)
        return Prediction(
            0.9, "PNEUMONIA", (), "A sentence.", heatmap=heatmap, gate="passed", model=self.model
        )


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    bundle = open_bundle(settings["bundle"])
    watcher = Watcher(
        PacsClient(Server(**settings["server"])),
        bundle,
        lambda: ConstantPredictor(bundle, Path(settings["begun"])),
        WatchState(Path(settings["state"]), settings["lease"]),
        days=3650,
        log=lambda line: print(line, flush=True),
    )
    watcher.run(0.2, once=settings["once"])


if __name__ == "__main__":
    main()
