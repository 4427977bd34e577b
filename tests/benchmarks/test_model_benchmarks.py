"""The benchmarks of a model: what they cut, compare and count, and that each prints its table."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import (
    external,
    lungs_hidden,
    map_in_lungs,
    original_size,
    parts_of_chest,
    rotation,
)
from xray_core.dataset.index import build_index
from xray_core.model.calibration import Calibration
from xray_core.stats.delong import delong
from xray_core.training.hidden import BORDER_HIDDEN, HIDDEN

CALIBRATION = Calibration(
    temperature=1.0,
    shift=0.0,
    prior=0.5,
    decision_threshold=0.5,
    exclusion_threshold=0.1,
    uncertain=(0.4, 0.6),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, image: Callable[..., np.ndarray]) -> Path:
    """Twelve patients a class to train and validate on, four a class to test on."""
    root = tmp_path_factory.mktemp("chest_xray")
    number = 0
    for split, count in (("train", 12), ("test", 4)):
        for pneumonia, label in ((False, "NORMAL"), (True, "PNEUMONIA")):
            (root / split / label).mkdir(parents=True)
            for _ in range(count):
                number += 1
                name = f"person{number}_virus_{number}" if pneumonia else f"IM-{number:04d}-0001"
                pixels = Image.fromarray(image(number, pneumonia))
                pixels.save(root / split / label / f"{name}.png")
    return root


@pytest.fixture(scope="module")
def masks(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rectangles over the lungs of every image but one test image."""
    root = tmp_path_factory.mktemp("masks")
    drawn = np.zeros((224, 224), np.uint8)
    drawn[55:165, 35:95] = drawn[55:165, 130:190] = 255
    for path in sorted(build_index(data)["path"])[1:]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn).save((root / path).with_suffix(".png"))
    return root


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory, image: Callable[..., np.ndarray]) -> Path:
    root = tmp_path_factory.mktemp("external")
    rows = []
    for number in range(8):
        pneumonia = number % 2 == 1
        Image.fromarray(image(500 + number, pneumonia)).save(root / f"{number}.png")
        label = "PNEUMONIA" if pneumonia else "NORMAL"
        rows.append(("clinic", f"{number}.png", label, f"p{number // 2}"))
    table = pd.DataFrame(rows, columns=["set", "file", "label", "patient"])
    table.to_csv(root / "images.csv", index=False)
    return root


@pytest.fixture
def run(
    micro_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict]:
    """Run a benchmark with the small bundle and return its JSON."""

    def call(module: ModuleType, *options: str | Path) -> dict:
        arguments = ["benchmark.py", "--model", str(micro_bundle), "--json", *map(str, options)]
        monkeypatch.setattr(sys, "argv", arguments)
        module.main()
        result = json.loads(capsys.readouterr().out)
        assert result["command"].startswith("python benchmark.py --model")
        return result

    return call


def test_hidden_lungs_have_the_rows_of_the_card(run, data: Path, masks: Path) -> None:
    result = run(lungs_hidden, "--data", data, "--masks", masks, "--fold", "test")
    assert [row["images"] for row in result["rows"]] == ["whole images", *HIDDEN, BORDER_HIDDEN]
    assert result["note"] == "test: 7 images; without a mask and left out: 1."


def test_rotations_are_counted(run, data: Path) -> None:
    rows = run(rotation, "--data", data, "--fold", "test")["rows"]
    assert [row["number"] for row in rows] == [8, 8]


def test_a_changed_result_is_what_the_user_sees() -> None:
    def table(rows: list[tuple[str, float]]) -> pd.DataFrame:
        return pd.DataFrame(rows, columns=["verdict", "logit"])

    index = pd.DataFrame({"patient": list("abcd")})
    before = table([("NORMAL", -3), ("NORMAL", -3), ("PNEUMONIA", 3), ("REFUSED", np.nan)])
    after = table([("NORMAL", -3), ("REFUSED", -3), ("UNCERTAIN", 3), ("REFUSED", np.nan)])
    row = rotation.compare(before, after, index, CALIBRATION)
    assert row["other result"].value == 2 / 4
    assert row["refused"].value == 2 / 4
    assert row["network alone: other result"].value == 0
    after.loc[0, "logit"] = 3
    row = rotation.compare(before, after, index, CALIBRATION)
    assert row["network alone: crossed"].value == pytest.approx(1 / 3)


def test_the_original_size_is_compared_with_the_copies(run, data: Path, tmp_path: Path) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / label).mkdir()
        for path in sorted((data / "train" / label).iterdir())[:3]:
            shutil.copy(path, tmp_path / label / path.name)
    normal = sorted((tmp_path / "NORMAL").iterdir())
    shutil.copy(sorted((tmp_path / "PNEUMONIA").iterdir())[0], normal[0])
    rows = run(original_size, "--data", data, "--original-size", tmp_path)["rows"]
    assert [(row["pairs"], row["number"]) for row in rows] == [
        ("all", 6),
        ("NORMAL", 3),
        ("PNEUMONIA", 3),
    ]
    # Only the first normal image differs: it was replaced by one with pneumonia.
    both, normal_rows, pneumonia_rows = rows
    assert pneumonia_rows["mean absolute change"] == pytest.approx(0, abs=1e-6)
    assert pneumonia_rows["other results"] == pneumonia_rows["crossed the threshold"] == 0
    assert normal_rows["mean absolute change"] == normal_rows["mean change"] > 0.1
    assert both["mean change"] == pytest.approx(normal_rows["mean change"] / 2)
    assert both["crossed the threshold"] == normal_rows["crossed the threshold"] == 1


def test_parts_of_a_chest_are_counted_by_kind(run, data: Path, masks: Path) -> None:
    options = ["--data", data, "--masks", masks, "--fold", "train", "--count", "4"]
    rows = run(parts_of_chest, *options)["rows"]
    assert [row["kind"] for row in rows] == [*parts_of_chest.KINDS, "all"]
    assert [row["number"] for row in rows] == [4, 4, 4, 12]
    words = ("refused", "indeterminate", "pneumonia suspected", "no pneumonia detected")
    for row in rows:
        counts = [row[word] for word in words]
        assert sum(counts) == row["number"]
        share = sum(counts[:2]) / row["number"]
        assert row["refused or indeterminate"]["value"] == pytest.approx(share)


@pytest.fixture
def lungs() -> np.ndarray:
    mask = np.zeros((200, 200), bool)
    mask[40:140, 20:80] = mask[50:150, 120:180] = True
    return mask


PIXELS = np.arange(200 * 200, dtype=np.float32).reshape(200, 200)


@pytest.mark.parametrize("seed", range(4))
def test_a_single_lung_is_a_box_with_a_margin(seed: int, lungs: np.ndarray) -> None:
    cut = parts_of_chest.single_lung(PIXELS, lungs, np.random.default_rng(seed))
    assert cut is not None
    # 5% of a box of 100 x 60 are 5 rows and 3 columns, on each side.
    assert cut.shape == (110, 66)
    assert cut[0, 0] in (PIXELS[35, 17], PIXELS[45, 117])


def test_lungs_that_touch_are_no_single_lung(lungs: np.ndarray) -> None:
    lungs[90, 80:120] = True
    assert parts_of_chest.single_lung(PIXELS, lungs, np.random.default_rng(0)) is None


def test_the_abdomen_is_below_the_lungs(lungs: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    cut = parts_of_chest.abdomen(PIXELS, lungs, rng)
    assert cut is not None
    assert np.array_equal(cut, PIXELS[150:])
    assert parts_of_chest.abdomen(PIXELS[:175], lungs[:175], rng) is None  # 25 of 175 rows


@pytest.mark.parametrize("seed", range(20))
def test_a_part_has_15_to_40_percent_of_the_area(seed: int, lungs: np.ndarray) -> None:
    cut = parts_of_chest.part(PIXELS, lungs, np.random.default_rng(seed))
    assert cut is not None
    assert 0.145 <= cut.size / PIXELS.size <= 0.405
    assert 0.48 <= cut.shape[0] / cut.shape[1] <= 2.05


class Maps:
    """Stands in for a predictor: the paths are the maps that it returns."""

    def predict(self, source: np.ndarray | None, *, explain: str) -> SimpleNamespace:
        assert explain == "gradcam"
        return SimpleNamespace(heatmap=source)


def test_the_map_in_the_lungs_is_measured() -> None:
    left = np.zeros((224, 224), bool)
    left[:, :56] = True  # a quarter
    even, empty = np.ones((224, 224), np.float32), np.zeros((224, 224), np.float32)
    half = np.where(np.arange(448) < 224, 1, 0) * np.ones((448, 1), np.float32)
    maps = [even, half, left.astype(np.float32), empty, None, even]
    masks = np.stack([left] * 5 + [np.zeros_like(left)])
    assert map_in_lungs.measure(Maps(), maps, masks) == {
        "images": 3,
        "refused": 1,
        "no mask or empty map": 2,
        "median share of the map in the lungs": 0.5,
        "lower quartile": 0.375,
        "upper quartile": 0.75,
        "median area of the lungs": 0.25,
    }
    with pytest.raises(SystemExit, match="No image with pneumonia has both"):
        map_in_lungs.measure(Maps(), [None], masks[:1])


def test_the_share_inside_is_of_the_sum_of_the_map() -> None:
    heatmap = np.zeros((448, 448), np.float32)
    heatmap[:100, :100], heatmap[300:, 300:] = 1.0, 0.25
    mask = np.zeros((224, 224), bool)
    mask[:50, :50] = True
    expected = 100**2 / (100**2 + 0.25 * 148**2)
    assert map_in_lungs.share_inside(heatmap, mask) == pytest.approx(expected)


def test_other_hospitals_and_a_second_bundle(run, hospitals: Path, micro_bundle: Path) -> None:
    result = run(external, "--external", hospitals, "--against", micro_bundle)
    assert [(row["label"], row["images"]) for row in result["rows"]] == [
        ("NORMAL", 4),
        ("PNEUMONIA", 4),
    ]
    assert "difference +0.000, p = 1.000" in result["note"]


def test_two_models_are_compared_on_what_both_analyse() -> None:
    random = np.random.default_rng(0)
    label = np.tile(["NORMAL", "PNEUMONIA"], 10)
    a, b = (
        pd.DataFrame(
            {
                "label": label,
                "verdict": "NORMAL",
                "logit": random.normal(size=20) + (label == "PNEUMONIA"),
                "patient": np.arange(20).astype(str),
            }
        )
        for _ in range(2)
    )
    a.loc[0, "verdict"], b.loc[5, "verdict"], a.loc[7, "label"] = "REFUSED", "UNREADABLE", ""
    used = [i for i in range(20) if i not in (0, 5, 7)]
    areas, _ = delong(label[used] == "PNEUMONIA", np.stack([a["logit"][used], b["logit"][used]]))
    text = external._compare(a, b, "another")
    assert f"on the 17 images that both analyse, ROC AUC {areas[0]:.3f}" in text
    assert f"against {areas[1]:.3f} of another" in text
