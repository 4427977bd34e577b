"""Folders of labelled images as people have them."""

from pathlib import Path

import pytest
from drawn_images import KAGGLE_LIKE, write_dataset

from xray_core.dataset.index import index_labelled
from xray_core.errors import DatasetError

CLASSES = {"NORMAL": ["IM-0001-0001.jpeg", "b.png"], "PNEUMONIA": ["person3_virus_7.JPG"]}


def below(*names: str) -> dict[str, list[str]]:
    return {f"{name}/{label}": files for name in names for label, files in CLASSES.items()}


@pytest.mark.parametrize("given", [".", "chest_xray", "chest_xray/chest_xray"])
def test_a_dataset_is_found_at_its_folder_and_at_its_parents(tmp_path: Path, given: str) -> None:
    write_dataset(tmp_path / "chest_xray" / "chest_xray", KAGGLE_LIKE)
    root, index = index_labelled(tmp_path / given)
    assert len(index) == 8
    assert set(index["fold"]) == {"test"}
    assert all((root / path).is_file() for path in index["path"])


def test_a_folder_with_only_a_test_split_is_accepted(tmp_path: Path) -> None:
    write_dataset(tmp_path, below("test"))
    root, index = index_labelled(tmp_path)
    assert root == tmp_path
    assert index.to_dict("list") == {
        "path": [
            "test/NORMAL/IM-0001-0001.jpeg",
            "test/NORMAL/b.png",
            "test/PNEUMONIA/person3_virus_7.JPG",
        ],
        "fold": ["test"] * 3,
        "label": ["NORMAL", "NORMAL", "PNEUMONIA"],
        "subtype": ["none", "none", "virus"],
        "patient": ["IM-0001", "test/NORMAL/b.png", "virus-3"],
    }


def test_class_folders_without_splits_are_accepted(tmp_path: Path) -> None:
    write_dataset(tmp_path, CLASSES)
    (tmp_path / "NORMAL" / ".hidden.png").write_bytes(b"")
    (tmp_path / "NORMAL" / "notes.txt").write_bytes(b"")
    root, index = index_labelled(tmp_path)
    assert index["fold"].unique().tolist() == ["own"]
    assert [str(root / path) for path in index["path"]] == sorted(
        str(tmp_path / label / name) for label, names in CLASSES.items() for name in names
    )


def test_without_a_test_split_the_others_are_used(tmp_path: Path) -> None:
    write_dataset(tmp_path, below("train", "val"))
    assert index_labelled(tmp_path)[1]["fold"].value_counts().to_dict() == {"train": 3, "val": 3}


def test_two_images_of_one_name_are_two_patients(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"NORMAL": ["1.png"], "PNEUMONIA": ["1.png"]})
    assert index_labelled(tmp_path)[1]["patient"].nunique() == 2


@pytest.mark.parametrize("name", ["NORMAL", "other/NORMAL"])
def test_a_folder_without_labelled_images_is_refused_without_its_name(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match="NORMAL and PNEUMONIA") as caught:
            index_labelled(folder)
        assert str(tmp_path) not in str(caught.value)
