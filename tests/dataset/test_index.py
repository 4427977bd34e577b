"""The index: who is in which fold, and what is stepped over or refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from drawn_images import write_image

from xray_core.dataset.index import (
    build_index,
    check_folds,
    find_dataset,
    fingerprint,
    limit_index,
    patient_key,
    subtype_of,
)
from xray_core.dataset.measure import dataset_table, measure_index
from xray_core.errors import DatasetError

ONE_EACH = {
    "train/NORMAL": ["IM-0001-0001.jpeg"],
    "train/PNEUMONIA": ["person1_virus_1.jpeg"],
    "test/NORMAL": ["IM-0002-0001.jpeg"],
    "test/PNEUMONIA": ["person2_virus_2.jpeg"],
}


@pytest.mark.parametrize(
    ("name", "patient", "subtype"),
    [
        ("person7_bacteria_20.jpeg", "bacteria-7", "bacteria"),
        ("person7_virus_20.jpeg", "virus-7", "virus"),
        ("train/PNEUMONIA/person1679_virus_2896_1.jpeg", "virus-1679", "virus"),
        ("IM-0115-0001.jpeg", "IM-0115", "none"),
        ("IM-0115-0001-0002.jpeg", "IM-0115", "none"),
        ("NORMAL2-IM-0115-0001.jpeg", "NORMAL2-IM-0115", "none"),
        ("train/NORMAL/scan 12.png", "train/NORMAL/scan 12.png", "none"),
    ],
)
def test_patient_is_prefix_and_number(name: str, patient: str, subtype: str) -> None:
    assert patient_key(name) == patient
    assert subtype_of(name) == subtype


def test_folds_pool_train_and_val_and_leave_test(kaggle_like: Path) -> None:
    index = build_index(kaggle_like)
    assert len(index) == 40 + 40 + 2 + 2 + 4 + 4
    assert (index["fold"] == "test").equals(index["split"] == "test")
    assert set(index.loc[index["fold"] == "validation", "label"]) == {"NORMAL", "PNEUMONIA"}
    assert set(index.loc[index["fold"] == "validation", "subtype"]) == {"none", "bacteria", "virus"}
    assert index.groupby("patient")["fold"].nunique().max() == 1
    # Ten per cent of 42 normal, 22 bacterial and 20 viral images, in patients of two images mostly.
    assert 6 <= (index["fold"] == "validation").sum() <= 10


def test_folds_follow_the_seed_and_nothing_else(kaggle_like: Path) -> None:
    first = build_index(kaggle_like, seed=0)
    assert first.equals(build_index(kaggle_like, seed=0))
    assert list(first["fold"]) != list(build_index(kaggle_like, seed=1)["fold"])
    assert list(first["path"]) == sorted(first["path"])


def test_validation_share_is_of_the_images(kaggle_like: Path) -> None:
    fold = build_index(kaggle_like, validation_share=0.5)["fold"]
    assert 36 <= (fold == "validation").sum() <= 42  # of 84
    assert (build_index(kaggle_like, validation_share=0)["fold"] != "validation").all()


def test_parts_of_a_cross_validation_hold_out_each_image_once_and_no_test_image(
    kaggle_like: Path,
) -> None:
    whole = build_index(kaggle_like)
    pool = whole[whole["split"] != "test"]
    held_out: list[str] = []
    for number in (1, 2, 3, 4):
        index = build_index(kaggle_like, held_out=(number, 4))
        assert list(index["path"]) == list(pool["path"])
        assert index.groupby("patient")["fold"].nunique().max() == 1
        part = index[index["fold"] == "test"]
        held_out += list(part["path"])
        # A quarter of 42 normal, 22 bacterial and 20 viral images, in patients of one or two.
        counts = part["subtype"].value_counts()
        assert 9 <= counts["none"] <= 12
        assert 4 <= counts["bacteria"] <= 7
        assert 4 <= counts["virus"] <= 6
        assert set(index.loc[index["fold"] == "validation", "label"]) == {"NORMAL", "PNEUMONIA"}
    assert sorted(held_out) == list(pool["path"])


def test_parts_keep_equal_files_together_and_follow_the_seed(kaggle_like: Path) -> None:
    for number in range(800, 812):
        copy = kaggle_like / f"train/NORMAL/IM-{number:04d}-0001.jpeg"
        copy.write_bytes((kaggle_like / "train/NORMAL/IM-0003-0001.jpeg").read_bytes())
    index = build_index(kaggle_like, held_out=(1, 2))
    copies = index[index["path"].str.contains(r"IM-08\d\d-|IM-0003-0001")]
    assert len(copies) == 13
    assert copies["fold"].nunique() == 1
    assert index.equals(build_index(kaggle_like, held_out=(1, 2)))
    other = build_index(kaggle_like, held_out=(1, 2), seed=1)
    assert list(index["fold"] == "test") != list(other["fold"] == "test")


def test_more_parts_than_patients_are_refused(kaggle_like: Path) -> None:
    with pytest.raises(DatasetError, match="23 folds need at least 23 patients of each class"):
        build_index(kaggle_like, held_out=(1, 23))  # 22 patients of each class


def test_equal_files_of_two_patients_stay_in_one_fold(kaggle_like: Path) -> None:
    index = build_index(kaggle_like)
    held_out = index[(index["fold"] == "validation") & (index["label"] == "NORMAL")]["path"].iloc[0]
    for number in range(800, 812):
        copy = kaggle_like / f"train/NORMAL/IM-{number:04d}-0001.jpeg"
        copy.write_bytes((kaggle_like / held_out).read_bytes())
    again = build_index(kaggle_like)
    copies = again[again["path"].str.contains(r"IM-08\d\d-") | (again["path"] == held_out)]
    assert len(copies) == 13
    assert copies["fold"].nunique() == 1


def test_empty_files_link_no_patients(kaggle_like: Path) -> None:
    before = build_index(kaggle_like)[["path", "fold"]]
    for fold in ("train", "validation"):
        for path in before.loc[before["fold"] == fold, "path"][::2]:
            (kaggle_like / path).write_bytes(b"")
    assert build_index(kaggle_like)[["path", "fold"]].equals(before)


def test_a_file_that_cannot_be_opened_is_left_for_whoever_reads_it(
    kaggle_like: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build_index(kaggle_like)
    pool = before[before["split"] == "train"]["path"]
    (kaggle_like / pool.iloc[1]).write_bytes((kaggle_like / pool.iloc[0]).read_bytes())

    def locked(path: str, mode: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("xray_core.dataset.index.open", locked, raising=False)
    assert list(build_index(kaggle_like)["path"]) == list(before["path"])


def test_names_of_any_pattern_are_patients_of_their_own(make_dataset: Callable[..., Path]) -> None:
    names = [f"{n}.png" for n in range(10)]
    root = make_dataset(
        {f"{split}/{c}": names for split in ("train", "test") for c in ("NORMAL", "PNEUMONIA")}
    )
    index = build_index(root)
    assert index["patient"].nunique() == 40
    assert (index["subtype"] == "none").all()
    assert (index["fold"] == "validation").sum() == 2


def test_stray_files_are_stepped_over(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    root = make_dataset(ONE_EACH)
    make_dataset(ONE_EACH, "chest_xray/chest_xray")
    make_dataset(ONE_EACH, "chest_xray/__MACOSX/chest_xray")
    for stray in (".DS_Store", "._IM-0001-0001.jpeg", "notes.txt", "Thumbs.db"):
        (root / "train/NORMAL" / stray).write_bytes(b"stray")
    (root / "train/NORMAL/folder.jpeg").mkdir()
    assert len(build_index(root)) == 4
    assert len(build_index(tmp_path)) == 4  # the parent, as an unpacked archive leaves it


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("train/NORMAL", "has no folder NORMAL"),
        ("test/PNEUMONIA", "has no folder PNEUMONIA"),
        ("test", "has no folder test"),
        ("train", "has no folder train"),
    ],
)
def test_missing_folders_are_reported_in_one_sentence(
    make_dataset: Callable[..., Path], left_out: str, words: str
) -> None:
    root = make_dataset({f: names for f, names in ONE_EACH.items() if not f.startswith(left_out)})
    with pytest.raises(DatasetError, match=words) as caught:
        build_index(root)
    assert str(caught.value).endswith(".")


def test_empty_class_folder_is_refused(make_dataset: Callable[..., Path]) -> None:
    root = make_dataset({**ONE_EACH, "train/NORMAL": []})
    (root / "train/NORMAL/.DS_Store").write_bytes(b"stray")
    with pytest.raises(DatasetError, match="contains no image"):
        build_index(root)


def test_shared_patient_is_an_error(make_dataset: Callable[..., Path]) -> None:
    root = make_dataset({**ONE_EACH, "test/PNEUMONIA": ["person1_virus_9.jpeg"]})
    with pytest.raises(DatasetError, match="virus-1"):
        build_index(root)
    assert len(build_index(root, check=False)) == 4


def test_check_folds_names_a_patient_in_two_folds() -> None:
    index = pd.DataFrame({"patient": ["a", "a", "b"], "fold": ["train", "validation", "train"]})
    with pytest.raises(DatasetError, match="first is a"):
        check_folds(index)
    check_folds(index.iloc[[0, 2]])


def test_dataset_is_found_by_argument_then_environment_then_place(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_dataset(ONE_EACH, "first"), make_dataset(ONE_EACH, "second")
    usual = make_dataset(ONE_EACH, "here/data/chest_xray")
    monkeypatch.chdir(tmp_path / "here")
    assert find_dataset(None).resolve() == usual
    monkeypatch.setenv("CHEST_XRAY_DIR", str(second))
    assert find_dataset(None) == second
    assert find_dataset(first) == first
    for wrong in ("nowhere", str(tmp_path / "here")):
        with pytest.raises(DatasetError, match="python -m xray_core download"):
            find_dataset(wrong)


def test_fingerprint_changes_with_a_file_and_not_with_the_folds(kaggle_like: Path) -> None:
    def current(seed: int = 0) -> str:
        return fingerprint(measure_index(build_index(kaggle_like, seed=seed), kaggle_like))

    before = current()
    assert before == current(seed=5)
    assert before == fingerprint(dataset_table(kaggle_like).sample(frac=1, random_state=0))
    write_image(kaggle_like / "train/NORMAL/IM-0000-0001.jpeg", 999, (30, 30))
    assert current() != before


def test_fingerprint_rests_on_content_where_size_and_time_are_kept(kaggle_like: Path) -> None:
    before = fingerprint(dataset_table(kaggle_like))
    image = kaggle_like / "train/NORMAL/IM-0000-0001.jpeg"
    data, status = image.read_bytes(), image.stat()
    image.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (image.stat().st_size, image.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert fingerprint(dataset_table(kaggle_like)) != before
    image.write_bytes(data)
    assert fingerprint(dataset_table(kaggle_like)) == before


def test_limited_draws_after_the_split(kaggle_like: Path) -> None:
    index = build_index(kaggle_like)
    few = limit_index(index, 3, seed=0)
    assert few.groupby(["fold", "label"]).size().max() == 3
    assert few.groupby(["fold", "label"]).ngroups == 6
    assert (
        few.merge(index, how="left", on=list(index.columns), indicator=True)["_merge"]
        .eq("both")
        .all()
    )
    assert few.equals(limit_index(index.sample(frac=1, random_state=0), 3, seed=0))
    assert list(few["path"]) != list(limit_index(index, 3, seed=1)["path"])
