"""The audit finds each planted fault, and reports nothing else on a clean set."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_images import write_image

from xray_core.dataset.audit import audit
from xray_core.dataset.duplicates import near_groups
from xray_core.dataset.finding import Finding, sort_by_severity
from xray_core.dataset.measure import dataset_table
from xray_core.labels import LABELS


def clean_table(images: int = 800, seed: int = 0) -> pd.DataFrame:
    """A measured table without a fault: balanced, one image per patient, no shortcut.

    Three quarters are training, with a validation fold of a quarter of them.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(images):
        label = LABELS[number % 2]
        split = "test" if number % 8 >= 6 else "train"
        fold = "test" if split == "test" else "validation" if number % 8 >= 4 else "train"
        sick = label == "PNEUMONIA"
        name = f"person{number}_virus_{number}" if sick else f"IM-{number:04d}-0001"
        rows.append(
            {
                "path": f"{split}/{label}/{name}.jpeg",
                "split": split,
                "fold": fold,
                "label": label,
                "subtype": "virus" if sick else "none",
                "patient": f"virus-{number}" if sick else f"IM-{number:04d}",
                "bytes": int(rng.integers(5000, 9000)),
                "width": int(rng.integers(900, 1500)),
                "height": int(rng.integers(700, 1300)),
                "mode": "L",
                "mean": rng.normal(120, 15),
                "spread": rng.normal(55, 8),
                "sharpness": rng.normal(120, 30),
                "border": rng.normal(80, 15),
                "sha256": rng.bytes(32).hex(),
                "perceptual_hash": rng.bytes(32).hex(),
                "problem": "",
            }
        )
    return pd.DataFrame(rows).astype({"width": "Int64", "height": "Int64"})


def bad(findings: list[Finding]) -> dict[str, str]:
    """Return the severity of every finding that is no passed check, by key."""
    return {f.key: f.severity for f in findings if f.severity != "checked"}


def the(findings: list[Finding], key: str) -> Finding:
    return next(finding for finding in findings if finding.key == key)


def copy_image(table: pd.DataFrame, source: int, target: int) -> None:
    """Make one image a byte-for-byte copy of another, keeping its name and place."""
    for column in ("sha256", "perceptual_hash", "bytes", "width", "height", "mean"):
        table.loc[target, column] = table.loc[source, column]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_reported_on_a_clean_set(seed: int) -> None:
    findings = audit(clean_table(seed=seed))
    assert bad(findings) == {}
    assert {f.key for f in findings} >= {"shared-patients", "duplicates", "imbalance", "shift"}


def test_shared_patient_is_found() -> None:
    table = clean_table()
    # Image 6 is in the test split, image 0 in training.
    table.loc[6, "patient"] = table.loc[0, "patient"]
    findings = audit(table)
    # Two images of one patient are also a fact of their own.
    assert bad(findings) == {"shared-patients": "serious", "images-per-patient": "note"}
    assert the(findings, "shared-patients").number == 1
    assert set(the(findings, "shared-patients").rows["path"]) == set(table.loc[[0, 6], "path"])
    assert findings[0].key == "shared-patients"


def test_duplicate_across_splits_is_found() -> None:
    table = clean_table()
    copy_image(table, 0, 6)
    findings = audit(table)
    assert bad(findings) == {"exact-across": "serious"}
    assert set(the(findings, "exact-across").rows["path"]) == set(table.loc[[0, 6], "path"])


def test_duplicate_across_our_folds_is_a_caution() -> None:
    table = clean_table()
    copy_image(table, 0, 4)
    assert bad(audit(table)) == {"exact-folds": "caution"}


def test_duplicate_within_a_fold_is_a_note() -> None:
    table = clean_table()
    copy_image(table, 0, 2)
    copy_image(table, 0, 8)
    findings = audit(table)
    assert bad(findings) == {"exact-within": "note"}
    assert the(findings, "exact-within").title == (
        "3 images are byte-for-byte copies within one fold (1 group)."
    )


def test_relabelled_copy_is_found() -> None:
    table = clean_table()
    copy_image(table, 0, 3)  # normal, and pneumonia, both in training
    findings = audit(table)
    assert bad(findings) == {"exact-conflict": "serious"}
    assert the(findings, "exact-conflict").number == 2


def test_near_copy_across_splits_is_found_up_to_its_reach() -> None:
    table = clean_table()

    def flipped(bits: int) -> str:
        value = int(table.loc[0, "perceptual_hash"], 16) ^ ((1 << bits) - 1)
        return f"{value:064x}"

    table.loc[6, "perceptual_hash"] = flipped(24)
    findings = audit(table)
    assert bad(findings) == {"near-across": "serious"}
    assert set(the(findings, "near-across").rows["path"]) == set(table.loc[[0, 6], "path"])
    table.loc[6, "perceptual_hash"] = flipped(25)
    assert bad(audit(table)) == {}
    table.loc[6, "perceptual_hash"] = flipped(256)  # the negative of an image is another image
    assert bad(audit(table)) == {}


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        (["width"], {"shortcut-width", "shortcut-aspect"}),
        (["width", "height"], {"shortcut-width", "shortcut-height"}),
    ],
)
def test_size_shortcut_is_found(columns: list[str], keys: set[str]) -> None:
    table = clean_table()
    sick = table["label"] == "PNEUMONIA"
    for column in columns:
        table[column] = (table[column] * 0.5).where(sick, table[column]).round().astype("Int64")
    findings = audit(table)
    assert set(bad(findings)) == keys
    assert the(findings, "shortcut-width").severity == "serious"
    assert the(findings, "shortcut-width").number > 0.95
    assert "lower in pneumonia" in the(findings, "shortcut-width").title


def test_weak_shortcut_is_a_caution() -> None:
    table = clean_table()
    # A shift of one standard deviation is an AUC of 0.76; the interval's lower end decides.
    table.loc[table["label"] == "NORMAL", "border"] -= 15
    findings = audit(table)
    assert bad(findings) == {"shortcut-border": "caution"}
    assert the(findings, "shortcut-border").number == pytest.approx(0.76, abs=0.03)


def test_colour_as_a_shortcut_is_found() -> None:
    table = clean_table()
    table.loc[table["label"] == "PNEUMONIA", "mode"] = "RGB"
    findings = audit(table)
    assert bad(findings) == {"shortcut-colour": "serious"}
    assert the(findings, "shortcut-colour").number == 1.0


def test_shifted_test_split_is_found() -> None:
    table = clean_table()
    table.loc[(table["split"] == "test") & (table["label"] == "NORMAL"), "mean"] += 20
    findings = audit(table)
    assert bad(findings) == {"shift": "caution"}
    assert the(findings, "shift").title.startswith("Brightness alone separates the NORMAL images")


def test_one_size_is_said_since_it_hides_size_shortcuts() -> None:
    table = clean_table().assign(width=224, height=224)
    assert bad(audit(table)) == {"one-size": "note"}


def test_imbalance_is_found_and_the_other_way_round() -> None:
    table = clean_table()
    fewer = table[(table["label"] == "PNEUMONIA") | (table.index % 6 == 0)]
    imbalance = the(audit(fewer), "imbalance")
    assert bad(audit(fewer)) == {"imbalance": "caution"}
    assert imbalance.number == pytest.approx(0.75, abs=0.01)
    assert "always outputs pneumonia" in imbalance.why
    fewer = table[(table["label"] == "NORMAL") | (table.index % 6 == 1)]
    assert "always outputs normal" in the(audit(fewer), "imbalance").why


def test_validation_of_sixteen_images_is_too_small() -> None:
    table = clean_table()
    table.loc[table.index[table["split"] == "train"][:16], "split"] = "val"
    findings = audit(table)
    assert bad(findings) == {"validation-val": "caution"}
    # 14 of 16 right: Clopper-Pearson 0.6165 to 0.9845 (R: binom.test(14, 16)).
    assert "14 of 16 patients" in the(findings, "validation-val").why
    assert the(findings, "validation-val").number == 0.368


def test_image_filed_under_the_other_class_is_found() -> None:
    table = clean_table()
    table.loc[0, "path"] = "train/NORMAL/person5000_bacteria_1.jpeg"
    table.loc[1, "path"] = "train/PNEUMONIA/NORMAL2-IM-5000-0001.jpeg"
    findings = audit(table)
    assert bad(findings) == {"contradicting-names": "serious"}
    assert the(findings, "contradicting-names").number == 2


def test_unreadable_files_are_listed_with_their_reason() -> None:
    table = clean_table()
    table.loc[0, ["problem", "sha256", "perceptual_hash", "mode"]] = [
        "The file is empty.",
        "",
        "",
        "",
    ]
    findings = audit(table)
    assert bad(findings) == {"unreadable": "caution"}
    assert list(the(findings, "unreadable").rows["problem"]) == ["The file is empty."]


def test_naive_key_is_reported_as_an_artefact() -> None:
    table = clean_table()
    # The same number under another prefix, on the other side of the test split.
    table.loc[1, ["path", "patient"]] = ["train/PNEUMONIA/person7_bacteria_1.jpeg", "bacteria-7"]
    findings = audit(table)  # image 7 is person7_virus_7 in the test split
    assert bad(findings) == {"naive-key": "note"}
    assert the(findings, "naive-key").number == 1
    assert the(findings, "naive-key").rows.iloc[0].to_dict() == {
        "number": "person 7",
        "test": "virus-7",
        "train or val": "bacteria-7",
    }


def test_table_without_measurements_is_audited_as_far_as_it_goes() -> None:
    columns = ["path", "split", "fold", "label", "subtype", "patient", "bytes"]
    keys = {finding.key for finding in audit(clean_table()[columns])}
    assert keys == {"shared-patients", "imbalance", "validation-fold"}


def test_findings_go_sort_by_severity() -> None:
    some = [Finding(key, key, "", 0, "", "") for key in ("note", "checked", "serious", "caution")]
    assert [f.key for f in sort_by_severity(some)] == ["serious", "caution", "note", "checked"]
    with pytest.raises(ValueError, match="awful"):
        Finding("x", "awful", "", 0, "", "")


def test_planted_copies_are_found_in_a_real_folder(kaggle_like: Path) -> None:
    sick = kaggle_like / "train/PNEUMONIA/person3_virus_7.jpeg"
    normal = kaggle_like / "train/NORMAL/IM-0004-0001.jpeg"
    (kaggle_like / "test/PNEUMONIA/person777_virus_1.jpeg").write_bytes(sick.read_bytes())
    (kaggle_like / "test/PNEUMONIA/person778_virus_1.jpeg").write_bytes(normal.read_bytes())
    write_image(kaggle_like / "train/NORMAL/IM-0700-0001.jpeg", 777)
    write_image(kaggle_like / "test/NORMAL/NORMAL2-IM-0701-0001.png", 777)  # the same, as PNG
    findings = {f.key: f for f in audit(dataset_table(kaggle_like))}
    assert set(findings["exact-across"].rows["path"]) == {
        "train/PNEUMONIA/person3_virus_7.jpeg",
        "test/PNEUMONIA/person777_virus_1.jpeg",
    }
    assert set(findings["exact-conflict"].rows["path"]) == {
        "train/NORMAL/IM-0004-0001.jpeg",
        "test/PNEUMONIA/person778_virus_1.jpeg",
    }
    assert set(findings["near-across"].rows["path"]) == {
        "train/NORMAL/IM-0700-0001.jpeg",
        "test/NORMAL/NORMAL2-IM-0701-0001.png",
    }


def test_many_copies_of_each_image_are_grouped_without_listing_their_pairs() -> None:
    images = clean_table(200)
    table = pd.concat([images] * 50, ignore_index=True)
    table["path"] = table["path"].str.replace(".jpeg", "-") + table.index.astype(str) + ".jpeg"
    assert near_groups(table).isna().all()  # equal bytes are no near copies
    # Half the copies of one image have other bytes, and one other bit of their hash.
    recompressed = table.index[table["perceptual_hash"] == table.loc[0, "perceptual_hash"]][:25]
    table.loc[recompressed, "sha256"] = "f" * 64
    flipped = int(table.loc[0, "perceptual_hash"], 16) ^ 1
    table.loc[recompressed, "perceptual_hash"] = f"{flipped:064x}"
    groups = near_groups(table).dropna()
    assert len(groups) == 50
    assert groups.nunique() == 1
