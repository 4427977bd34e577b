import numpy as np
import pytest

from xray_core.errors import BundleError
from xray_core.model.neighbours import Neighbours, count_contradictions, fit_neighbours


def clusters(width=40):
    """Return 30 images in three compact clusters that are far from each other."""
    random = np.random.default_rng(0)
    centres = random.normal(0, 10, size=(3, width))
    features = np.repeat(centres, 10, axis=0) + random.normal(0, 0.1, size=(30, width))
    labels = ["NORMAL"] * 10 + ["PNEUMONIA"] * 20
    subtypes = ["none"] * 10 + ["bacteria"] * 10 + ["virus"] * 9 + ["none"]
    return features.astype(np.float32), labels, subtypes, centres


def test_counts_are_of_the_nearest_images():
    features, labels, subtypes, centres = clusters()
    nearest = fit_neighbours(features, labels, subtypes).nearest(centres, k=10)
    assert [(n.normal, n.bacterial, n.viral, n.pneumonia) for n in nearest] == [
        (10, 0, 0, 0),
        (0, 10, 0, 0),
        (0, 0, 9, 1),
    ]
    assert [n.vote for n in nearest] == ["NORMAL", "PNEUMONIA", "PNEUMONIA"]


def test_the_nearest_image_comes_first_with_its_path():
    features, labels, subtypes, _ = clusters()
    paths = [f"train/{i}.jpeg" for i in range(30)]
    neighbours = fit_neighbours(features, labels, subtypes, paths)
    assert [n.paths[0] for n in neighbours.nearest(features[[4, 17]])] == [
        "train/4.jpeg",
        "train/17.jpeg",
    ]
    assert fit_neighbours(features, labels, subtypes).nearest(features[:1])[0].paths == ()


def test_all_training_images_count_if_there_are_fewer_than_k():
    features, labels, subtypes, _ = clusters()
    few = fit_neighbours(features[8:12], labels[8:12], subtypes[8:12]).nearest(features[:1], k=20)[
        0
    ]
    assert (few.normal, few.bacterial, few.viral, few.pneumonia) == (2, 2, 0, 0)
    assert few.vote == "PNEUMONIA"


def test_contradictions_are_counted():
    features, labels, subtypes, centres = clusters()
    twice = [np.repeat(column, 2, axis=0) for column in (features, labels, subtypes)]
    neighbours = fit_neighbours(twice[0], list(twice[1]), list(twice[2]))
    # The 20 nearest images of the three centres are normal, bacterial and viral.
    features = centres[[0, 0, 0, 1, 2, 1, 2]]
    labels = ["NORMAL", "NORMAL", "PNEUMONIA", "PNEUMONIA", "NORMAL", "NORMAL", "NORMAL"]
    verdicts = ["NORMAL", "PNEUMONIA", "PNEUMONIA", "PNEUMONIA", "NORMAL", "UNCERTAIN", "REFUSED"]
    assert count_contradictions(neighbours.nearest(features), labels, verdicts) == {
        "images": 5,
        "contradicted": 3,  # the second, third and fifth
        "network_right": 2,  # the third and fifth
        "agreed_right": 2,
    }


def test_without_verdicts_all_counts_are_zero():
    features, labels, subtypes, centres = clusters()
    neighbours = fit_neighbours(features, labels, subtypes)
    report = count_contradictions(neighbours.nearest(centres[:1]), ["NORMAL"], ["UNCERTAIN"])
    assert set(report.values()) == {0}


@pytest.mark.parametrize("width", [1024, 2048, 25_088])
def test_the_file_of_a_complete_training_set_is_under_three_megabytes(tmp_path, width):
    random = np.random.default_rng(0)
    count = 4_700
    images = Neighbours(
        mean=random.normal(size=width).astype(np.float32),
        scale=random.normal(size=width).astype(np.float32),
        basis=random.normal(size=(width, min(64, 2**19 // width))).astype(np.float16),
        points=random.normal(size=(count, min(64, 2**19 // width))).astype(np.float16),
        kinds=random.integers(0, 4, size=count).astype(np.uint8),
        paths=np.array([f"train/PNEUMONIA/person{i}_bacteria_{i}.jpeg" for i in range(count)]),
    )
    images.save(tmp_path / "neighbours.npz")
    assert (tmp_path / "neighbours.npz").stat().st_size < 3_000_000


def test_saved_neighbours_are_the_same(tmp_path):
    features, labels, subtypes, centres = clusters()
    images = fit_neighbours(features, labels, subtypes, [f"{i}.png" for i in range(30)])
    images.save(tmp_path / "neighbours.npz")
    assert Neighbours.load(tmp_path / "neighbours.npz").nearest(centres) == images.nearest(centres)


def test_a_file_that_is_not_neighbours_is_named(tmp_path):
    (tmp_path / "neighbours.npz").write_bytes(b"not arrays")
    with pytest.raises(BundleError, match=r"neighbours\.npz"):
        Neighbours.load(tmp_path / "neighbours.npz")


def test_each_image_needs_a_label():
    features, labels, subtypes, _ = clusters()
    with pytest.raises(ValueError, match="30 images, 29 labels"):
        fit_neighbours(features, labels[1:], subtypes)
