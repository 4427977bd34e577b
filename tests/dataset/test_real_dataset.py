"""What is known of the Kaggle set, found again in the real files (CHEST_XRAY_DIR)."""

from pathlib import Path

import pandas as pd
import pytest

from xray_core.dataset.audit import audit
from xray_core.dataset.finding import Finding
from xray_core.dataset.index import build_index
from xray_core.dataset.measure import dataset_table

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return {"cache": tmp_path_factory.mktemp("cache")}


@pytest.fixture
def table(real_dataset: Path, kept: dict, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The measured table, measured once for all tests of this file."""
    monkeypatch.setenv("XRAY_CACHE", str(kept["cache"]))
    return dataset_table(real_dataset)


@pytest.fixture
def findings(table: pd.DataFrame, kept: dict) -> dict[str, Finding]:
    if "findings" not in kept:
        kept["findings"] = {finding.key: finding for finding in audit(table)}
    return kept["findings"]


def test_counts_of_the_real_set(real_dataset: Path) -> None:
    index = build_index(real_dataset)
    assert index.groupby(["split", "label"]).size().to_dict() == {
        ("train", "NORMAL"): 1341,
        ("train", "PNEUMONIA"): 3875,
        ("val", "NORMAL"): 8,
        ("val", "PNEUMONIA"): 8,
        ("test", "NORMAL"): 234,
        ("test", "PNEUMONIA"): 390,
    }
    sick = index[index["label"] == "PNEUMONIA"]
    assert sick.groupby(["split", "subtype"]).size().to_dict() == {
        ("train", "bacteria"): 2530,
        ("train", "virus"): 1345,
        ("val", "bacteria"): 8,
        ("test", "bacteria"): 242,
        ("test", "virus"): 148,
    }
    assert sick.loc[sick["split"] == "test", "patient"].nunique() == 203


def test_folds_of_the_real_set(real_dataset: Path) -> None:
    index = build_index(real_dataset)
    assert index.groupby("patient")["fold"].nunique().max() == 1
    pool = index[index["split"] != "test"]
    held_out = pool[pool["fold"] == "validation"]
    assert 0.09 <= len(held_out) / len(pool) <= 0.11
    for _, stratum in pool.groupby(["label", "subtype"]):
        assert 0.09 <= (stratum["fold"] == "validation").mean() <= 0.11


def test_no_patient_is_shared_but_264_bare_numbers_are(findings: dict[str, Finding]) -> None:
    assert findings["shared-patients"].severity == "checked"
    assert findings["naive-key"].number == 264


def test_copies_in_the_real_set(findings: dict[str, Finding]) -> None:
    copies = findings["exact-within"]
    assert copies.number == 62
    assert copies.rows["copies"].nunique() == 30
    assert not [key for key in findings if key.startswith("near")]
    assert not {"exact-across", "exact-conflict", "exact-folds"} & set(findings)


def test_no_copies_lie_in_two_folds_whatever_the_seed(
    real_dataset: Path, table: pd.DataFrame
) -> None:
    content = table.set_index("path")["sha256"]
    for seed in (1, 2, 3):
        index = build_index(real_dataset, seed=seed)
        assert index.groupby(index["path"].map(content))["fold"].nunique().max() == 1


def test_every_file_is_readable(table: pd.DataFrame) -> None:
    assert len(table) == 5856
    assert (table["problem"] == "").all()


def test_serious_findings_of_the_real_set(findings: dict[str, Finding]) -> None:
    # Size of the file and sharpness give the class away in these copies, as in the originals.
    assert findings["validation-val"].severity == "caution"
    assert findings["imbalance"].number == pytest.approx(3883 / 5232, abs=1e-4)
    assert findings["shortcut-bytes"].severity == "serious"
    assert next(iter(findings)).startswith("shortcut")
