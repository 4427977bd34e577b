from pathlib import Path
from xray_core.model.bundle import open_bundle


def test_a(trained_lungs: Path) -> None:
    b = open_bundle(trained_lungs / "lungs", kind="segmentation")
    print(b.card())
    print(b.history())
    print(b.segmentation())
    print(b.config["lungs"], b.config["storage"], b.config["dataset"])
    assert 0
