"""Measuring images: right numbers, kept between runs, refreshed for changed files alone."""

import os
from pathlib import Path

import numpy as np
import pytest
from drawn_images import write_image
from PIL import Image

from xray_core.dataset import measure
from xray_core.dataset.averages import (
    average_images,
    encode_averages,
    read_averages,
    save_averages,
)
from xray_core.dataset.cache import cache_folder, read_measured
from xray_core.dataset.index import build_index
from xray_core.dataset.measure import dataset_table, measure_index
from xray_core.dataset.properties import measure_files


def test_measurements_of_a_image_worked_out_by_hand(tmp_path: Path) -> None:
    # 40 x 20 pixels (width x height): left half 100, right half 200, and a black frame of 5%:
    # one row above and below, two columns left and right.
    image = np.zeros((20, 40), np.uint8)
    image[1:-1, 2:20] = 100
    image[1:-1, 20:-2] = 200
    Image.fromarray(image).save(tmp_path / "image.png")
    row = measure_files(tmp_path, ["image.png"])[0]
    assert (row["width"], row["height"], row["mode"], row["problem"]) == (40, 20, "L", "")
    # 18 x 18 pixels of each half, 800 in all: (324 x 100 + 324 x 200) / 800
    assert row["mean"] == 121.5
    # (324 x 10,000 + 324 x 40,000) / 800 - 121.5 ** 2 = 5487.75, and its root
    assert row["spread"] == 74.079
    assert row["border"] == 0
    assert len(row["perceptual_hash"]) == 64


def test_a_flat_image_has_no_spread_and_no_sharpness(tmp_path: Path) -> None:
    Image.new("RGB", (30, 30), (90, 90, 90)).save(tmp_path / "flat.png")
    row = measure_files(tmp_path, ["flat.png"])[0]
    assert (row["mean"], row["spread"], row["sharpness"], row["border"]) == (90, 0, 0, 90)
    assert row["mode"] == "RGB"


def test_sharpness_of_a_single_bright_pixel(tmp_path: Path) -> None:
    image = np.zeros((10, 10), np.uint8)
    image[5, 5] = 10
    Image.fromarray(image).save(tmp_path / "dot.png")
    # The Laplacian is -40 at the pixel and 10 at its four neighbours: (1600 + 400) / 100.
    assert measure_files(tmp_path, ["dot.png"])[0]["sharpness"] == 20


def test_unreadable_file_is_a_row_with_a_reason(kaggle_like: Path) -> None:
    (kaggle_like / "train/NORMAL/IM-0003-0001.jpeg").write_bytes(b"no picture at all")
    table = dataset_table(kaggle_like).set_index("path")
    broken = table.loc["train/NORMAL/IM-0003-0001.jpeg"]
    assert broken["problem"].endswith(".")
    assert np.isnan(broken["mean"])
    assert (table["problem"] != "").sum() == 1
    assert len(table) == 92


def test_only_changed_files_are_measured_again(
    kaggle_like: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dataset_table(kaggle_like)
    measured: list[str] = []
    real = measure.measure_files
    monkeypatch.setattr(
        measure, "measure_files", lambda root, paths: measured.extend(paths) or real(root, paths)
    )
    assert dataset_table(kaggle_like).equals(first)
    assert measured == []

    write_image(kaggle_like / "train/NORMAL/IM-0003-0001.jpeg", 4242)
    write_image(kaggle_like / "train/NORMAL/IM-0900-0001.jpeg", 4243)
    (kaggle_like / "val/NORMAL/NORMAL2-IM-0001-0001.jpeg").unlink()
    changed = dataset_table(kaggle_like)
    assert sorted(measured) == ["train/NORMAL/IM-0003-0001.jpeg", "train/NORMAL/IM-0900-0001.jpeg"]
    assert len(changed) == len(first)
    one = ["path", "sha256"]
    untouched = changed[one].merge(first[one], on=one)
    assert len(untouched) == len(first) - 2  # the changed one and the removed one


def test_a_changed_time_alone_is_noticed(kaggle_like: Path) -> None:
    dataset_table(kaggle_like)
    image = kaggle_like / "train/NORMAL/IM-0003-0001.jpeg"
    before = image.read_bytes()
    image.write_bytes(before[::-1])  # the same size, no picture any more
    os.utime(image, ns=(1, 1))
    table = dataset_table(kaggle_like).set_index("path")
    assert table.loc["train/NORMAL/IM-0003-0001.jpeg", "problem"]


def test_cache_lies_outside_the_dataset_and_may_be_damaged(kaggle_like: Path, cache: Path) -> None:
    before = set(kaggle_like.rglob("*"))
    first = dataset_table(kaggle_like)
    assert set(kaggle_like.rglob("*")) == before
    assert cache_folder() == cache
    files = list(cache.iterdir())
    assert len(files) == 2
    for file in files:
        file.write_bytes(b"\0\xff not a table")
    assert dataset_table(kaggle_like).equals(first)


def test_cache_that_cannot_be_written_is_no_error(
    kaggle_like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_text("in the way")
    monkeypatch.setenv("XRAY_CACHE", str(tmp_path / "a file" / "cache"))
    assert len(dataset_table(kaggle_like)) == 92


def test_progress_counts_to_the_end(kaggle_like: Path) -> None:
    seen: list[tuple[int, int]] = []
    measure_index(
        build_index(kaggle_like),
        kaggle_like,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(64, 92), (92, 92)]


def test_several_processes_measure_the_same(kaggle_like: Path, monkeypatch) -> None:
    monkeypatch.setattr("xray_core.dataset.measure._FEW", 0)
    index = build_index(kaggle_like)
    one = measure_index(index, kaggle_like, processes=1)
    monkeypatch.setenv("XRAY_CACHE", str(kaggle_like.parent / "another"))
    assert measure_index(index, kaggle_like, processes=2).equals(one)


def test_table_survives_a_file_with_its_types(kaggle_like: Path, tmp_path: Path) -> None:
    table = dataset_table(kaggle_like)
    table.to_csv(tmp_path / "dataset.csv", index=False)
    assert read_measured(tmp_path / "dataset.csv").equals(table)


def test_averages_of_two_images_a_class(make_dataset, tmp_path: Path) -> None:
    root = make_dataset(
        {f"{s}/{c}": [] for s in ("train", "test") for c in ("NORMAL", "PNEUMONIA")}
    )
    for place, grey in {
        "train/NORMAL/a.png": 10,
        "test/NORMAL/b.png": 20,
        "train/PNEUMONIA/c.png": 100,
        "test/PNEUMONIA/d.png": 140,
    }.items():
        Image.new("L", (224, 224), grey).save(root / place)
    averages = average_images(dataset_table(root), root)
    assert averages.images == {"NORMAL": 2, "PNEUMONIA": 2}
    assert np.allclose(averages.mean["NORMAL"], 15)
    assert np.allclose(averages.spread["PNEUMONIA"], 20)
    assert np.allclose(averages.difference, 105)
    again = average_images(dataset_table(root), root)  # from the cache
    assert encode_averages(again) == encode_averages(averages)
    save_averages(averages, tmp_path / "averages.npz")
    assert not (tmp_path / "averages.npz").exists()  # two images would be shown


def test_an_edit_that_keeps_size_and_time_gives_new_averages(make_dataset) -> None:
    root = make_dataset(
        {f"{s}/{c}": [] for s in ("train", "test") for c in ("NORMAL", "PNEUMONIA")}
    )
    for split in ("train", "test"):
        for label, grey in (("NORMAL", 10), ("PNEUMONIA", 100)):
            Image.new("L", (224, 224), grey).save(root / split / label / "a.png")
    image = root / "train" / "NORMAL" / "a.png"
    before, status = image.read_bytes(), image.stat()
    assert np.allclose(average_images(dataset_table(root), root).mean["NORMAL"], 10)

    Image.new("L", (224, 224), 20).save(image)
    assert image.stat().st_size == len(before)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert np.allclose(average_images(dataset_table(root), root).mean["NORMAL"], 15)


def test_a_image_exchanged_for_another_of_its_size_and_time_is_measured_again(
    kaggle_like: Path,
) -> None:
    image = kaggle_like / "train/NORMAL/IM-0003-0001.jpeg"
    before = dataset_table(kaggle_like).set_index("path").loc["train/NORMAL/IM-0003-0001.jpeg"]
    status = image.stat()
    other = image.with_name(".other")
    other.write_bytes(image.read_bytes()[::-1])
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(image)
    after = dataset_table(kaggle_like).set_index("path").loc["train/NORMAL/IM-0003-0001.jpeg"]
    assert after["bytes"] == before["bytes"]
    assert after["sha256"] != before["sha256"]


@pytest.mark.parametrize("kind", ["text", "another shape", "objects", "not finite"])
def test_a_file_of_other_arrays_is_no_averages(tmp_path: Path, kind: str) -> None:
    whole = {f"{name} {label}": np.zeros((224, 224), np.uint16) for name in ("mean", "spread")
             for label in ("NORMAL", "PNEUMONIA")}  # fmt: skip
    whole |= {"images NORMAL": np.array(200), "images PNEUMONIA": np.array(200)}
    file = tmp_path / "averages.npz"
    np.savez_compressed(file, **whole)
    assert read_averages(file).images == {"NORMAL": 200, "PNEUMONIA": 200}
    if kind == "text":
        file.write_bytes(b"no arrays")
    elif kind == "another shape":
        np.savez(file, **whole | {"mean NORMAL": np.zeros((2, 2), np.uint16)})
    elif kind == "objects":
        np.savez(file, allow_pickle=True, **whole | {"images NORMAL": np.array([{}], object)})
    else:
        np.savez(file, **whole | {"mean NORMAL": np.full((224, 224), np.nan)})
    with pytest.raises(ValueError, match="averages"):
        read_averages(file)


def test_images_without_a_patient_in_a_kept_table_are_patients_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "dataset.csv"
    file.write_text("path,split,patient\na.png,test,\nb.png,test,  \nc.png,test,p\nd.png,test,p\n")
    assert read_measured(file)["patient"].tolist() == ["a.png", "b.png", "p", "p"]
