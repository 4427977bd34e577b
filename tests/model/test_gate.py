import numpy as np
import pytest

from xray_core.errors import BundleError
from xray_core.model.gate import Gate, fit_gate


def images(count, width=32, seed=0):
    """Return features like those of a network: positive, of unequal scale, correlated."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(width, width))
    scale = np.linspace(0.1, 3.0, width)
    return (random.normal(size=(count, width)) @ mixing * scale + 5.0).astype(np.float32)


def test_the_distance_is_mahalanobis_with_many_images():
    # Independent features with SD 2 and 1: (4, 0) is 2 SD from the mean, and (0, 3) is 3 SD.
    random = np.random.default_rng(0)
    train = random.normal(size=(200_000, 2)) * [2.0, 1.0]
    gate = fit_gate(train, train[:100])
    distance = gate.squared_distance(np.array([[4.0, 0.0], [0.0, 3.0], [0.0, 0.0]]))
    assert distance == pytest.approx([4.0 / 2, 9.0 / 2, 0.0], abs=0.03)


def test_images_like_the_training_images_pass_and_others_are_refused():
    gate = fit_gate(images(600), images(200, seed=1))
    fresh = [gate.outcome(d) for d in gate.squared_distance(images(500, seed=2))]
    assert fresh.count("refused") == 0
    assert fresh.count("caution") <= 25
    other = images(50, seed=3)[:, ::-1]
    assert {gate.outcome(d) for d in gate.squared_distance(other)} == {"refused"}


def test_thresholds_come_from_validation():
    train, validation = images(600), images(200, seed=1)
    gate = fit_gate(train, validation)
    above = (gate.squared_distance(validation) > gate.caution).sum()
    assert above == 2  # 1% of 200
    assert gate.refuse == pytest.approx(2 * gate.caution)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(0.5, "passed"), (1.0, "passed"), (1.5, "caution"), (2.0, "caution"), (2.5, "refused")],
)
def test_outcomes_change_at_the_thresholds(factor, expected):
    gate = fit_gate(images(100), images(50, seed=1))
    assert gate.outcome(factor * gate.caution) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_distance_that_is_not_finite_is_refused(value):
    assert fit_gate(images(100), images(50, seed=1)).outcome(value) == "refused"


@pytest.mark.parametrize(
    ("train", "validation", "width"), [(24, 12, 1024), (2, 0, 8), (24, 4, 5000)]
)
def test_a_gate_of_few_images_refuses_noise(train, validation, width):
    def smooth(count, seed):
        random = np.random.default_rng(seed)
        return (random.normal(size=(count, 2)) @ np.ones((2, width)) + 3.0).astype(np.float32)

    gate = fit_gate(smooth(train, 0), smooth(validation, 1))
    assert 0 < gate.caution < gate.refuse < np.inf
    noise = np.random.default_rng(2).normal(3.0, 30.0, size=(5, width))
    assert {gate.outcome(d) for d in gate.squared_distance(noise)} == {"refused"}


def test_a_feature_that_is_constant_in_training_counts_if_it_changes():
    train, validation = images(300), images(100, seed=1)
    train[:, 4] = validation[:, 4] = 0.0
    gate = fit_gate(train, validation)
    changed = images(1, seed=2)
    changed[:, 4] = 50.0
    assert gate.outcome(gate.squared_distance(changed)[0]) == "refused"


def test_directions_outside_the_basis_count():
    # The training images span 250 directions, the basis has 209. The probe is outside both.
    random = np.random.default_rng(0)
    train = random.normal(size=(300, 250)) @ random.normal(size=(250, 5000))
    gate = fit_gate(train, train[:50])
    assert gate.basis.shape == (5000, 209)
    outside = 20 * random.normal(size=(1, 5000))
    assert gate.squared_distance(outside)[0] > 10 * gate.refuse


def test_a_saved_gate_is_the_same(tmp_path):
    gate = fit_gate(images(300), images(100, seed=1))
    gate.save(tmp_path / "gate.npz")
    loaded = Gate.load(tmp_path / "gate.npz")
    probe = images(20, seed=5)
    assert np.array_equal(loaded.squared_distance(probe), gate.squared_distance(probe))
    assert (loaded.caution, loaded.refuse) == (gate.caution, gate.refuse)


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_a_file_that_is_not_a_gate_is_named(tmp_path, content):
    path = tmp_path / "gate.npz"
    if content is None:
        np.savez(path, mean=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"gate\.npz"):
        Gate.load(path)


def test_another_number_of_features_is_an_error():
    with pytest.raises(ValueError, match=r"\(N, 32\).*\(4, 31\)"):
        fit_gate(images(50), images(20)).squared_distance(np.zeros((4, 31)))


@pytest.mark.parametrize("fold", [0, 1])
def test_features_that_are_not_finite_are_refused(fold):
    features = [images(50), images(20, seed=1)]
    features[fold][3, 3] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        fit_gate(features[0], features[1])
