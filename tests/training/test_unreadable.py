"""Images that cannot be read: reported before the first epoch, named, and left out when asked."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xray_core.errors import BundleError, DatasetError
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.recipes import find_recipe
from xray_core.training import data as pipeline
from xray_core.training import run
from xray_core.training.finish import finish_again
from xray_core.training.plan import Plan, plan_training
from xray_core.training.run import train


class Stopped(Exception):
    pass


@pytest.fixture
def folder(dataset: Path, tmp_path: Path) -> Path:
    """A copy of the dataset to damage."""
    return Path(shutil.copytree(dataset, tmp_path / "set"))


@pytest.fixture
def plan(folder: Path, tmp_path: Path) -> Callable[..., Plan]:
    """`plan(**options)`: a training of two short epochs on the copy."""

    def planned(**options: Any) -> Plan:
        return plan_training(
            find_recipe("cnn"),
            settings=["filters=(4, 4)", "pool=4", "dense=4", "pooling=average"],
            epochs=2,
            data=str(folder),
            models=tmp_path / "models",
            name="tiny",
            lungs="none",
            **options,
        )

    return planned


def files_of(plan: Plan, fold: str) -> list[str]:
    return list(plan.index.loc[plan.index["fold"] == fold, "path"])


def damage(folder: Path, path: str) -> bytes:
    """Cut a file off after its first bytes; returns what it held."""
    whole = (folder / path).read_bytes()
    (folder / path).write_bytes(whole[:100])
    return whole


def stop_after_one_epoch(plan: Plan) -> None:
    def log(line: str) -> None:
        if line.startswith("Epoch 1/"):
            raise Stopped

    with pytest.raises(Stopped):
        train(plan, log=log)


def never(*_: object, **__: object) -> None:
    raise AssertionError("The training began.")


@pytest.mark.parametrize("fold", ["train", "validation", "test"])
def test_an_unreadable_image_of_any_fold_is_named_before_training_begins(
    fold: str, folder: Path, plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "build_network", never)
    path = files_of(plan(), fold)[0]
    damage(folder, path)
    with pytest.raises(DatasetError) as refusal:
        train(plan())
    assert str(refusal.value).startswith(f"1 image of {folder} cannot be read ({path}): ")
    assert "--skip-unreadable" in str(refusal.value)
    assert not plan().run_folder.exists()


def test_the_command_refuses_an_unreadable_test_image_in_one_line(
    folder: Path, plan: Callable[..., Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import train as command

    damage(folder, files_of(plan(), "test")[0])
    models = tmp_path / "models"
    arguments = ["--recipe", "cnn", "--data", str(folder), "--models", str(models)]
    assert command.main([*arguments, "--lungs", "none"]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert files_of(plan(), "test")[0] in message
    assert list(models.glob(".cnn.training*")) == []


def test_ten_unreadable_images_are_named_and_the_rest_counted(
    folder: Path, plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "build_network", never)
    paths = sorted(files_of(plan(), "train")[:11] + files_of(plan(), "test")[:1])
    for path in paths:
        damage(folder, path)
    with pytest.raises(DatasetError) as refusal:
        train(plan())
    message = str(refusal.value)
    assert message.startswith("12 images of ")
    assert f"({', '.join(sorted(paths)[:10])}, and 2 more)" in message
    assert "\n" not in message


def test_every_image_is_decoded_once_before_and_during_the_epochs(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[str] = Counter()
    read = pipeline.read_image
    monkeypatch.setattr(
        pipeline, "read_image", lambda path: decoded.update([str(path)]) or read(path)
    )

    def finish(*_: object, **__: object) -> None:
        raise Stopped

    monkeypatch.setattr(run, "finish", finish)
    with pytest.raises(Stopped):
        train(plan())
    assert set(decoded.values()) == {1}
    assert len(decoded) == len(plan().index)


def test_a_fold_without_a_readable_image_of_a_class_is_refused(
    folder: Path, plan: Callable[..., Plan]
) -> None:
    for path in files_of(plan(), "test"):
        if "NORMAL" in path:
            damage(folder, path)
    with pytest.raises(DatasetError, match="test fold contains no readable NORMAL image"):
        train(plan(skip_unreadable=True))


@pytest.fixture
def left_out(folder: Path, plan: Callable[..., Plan]) -> dict[str, bytes]:
    """A training and a test image that are damaged, with what they held."""
    paths = [files_of(plan(), fold)[0] for fold in ("train", "test")]
    return {path: damage(folder, path) for path in paths}


def test_unreadable_images_are_left_out_and_recorded(
    folder: Path, plan: Callable[..., Plan], left_out: dict[str, bytes]
) -> None:
    images = len(plan().index)
    bundle = train(plan(skip_unreadable=True))
    assert bundle.config["dataset"]["unreadable"] == sorted(left_out)
    assert bundle.config["dataset"]["images"] == images - 2
    assert not set(left_out) & set(bundle.dataset()["path"])
    assert all(f"`{path}`" in bundle.card() for path in left_out)
    assert "could not be read (2)" in bundle.card()
    _finish_damaged_mended_and_further_damaged(bundle, folder, left_out)


def _finish_damaged_mended_and_further_damaged(
    bundle: Bundle, folder: Path, left_out: dict[str, bytes]
) -> None:
    """What `finish` makes of the images, as they are, mended, and with another one damaged."""
    again = finish_again(bundle, folder, lungs="none")
    assert again.predictions().equals(bundle.predictions())
    assert again.config["dataset"] == bundle.config["dataset"]

    test, training = sorted(left_out)
    for path, whole in left_out.items():
        (folder / path).write_bytes(whole)
    mended = finish_again(bundle, folder, lungs="none")
    assert mended.config["dataset"]["unreadable"] == [training]
    assert test in set(mended.predictions()["file"])
    assert training not in set(mended.dataset()["path"])

    other = bundle.predictions().query("fold == 'validation'")["file"].iloc[0]
    damage(folder, other)
    with pytest.raises(DatasetError, match="cannot be read"):
        finish_again(mended, folder, lungs="none")
    without = finish_again(mended, folder, lungs="none", skip_unreadable=True)
    assert without.config["dataset"]["unreadable"] == sorted([training, other])
    assert other not in set(without.predictions()["file"])


def test_a_resumed_run_keeps_leaving_out_what_it_began_without(
    folder: Path, plan: Callable[..., Plan], left_out: dict[str, bytes]
) -> None:
    stop_after_one_epoch(plan(skip_unreadable=True))
    for path, whole in left_out.items():
        (folder / path).write_bytes(whole)
    bundle = train(plan(resume=True))
    assert len(bundle.history()) == 2
    test, training = sorted(left_out)
    assert bundle.config["dataset"]["unreadable"] == [training]
    assert test in set(bundle.predictions()["file"])


def test_a_run_is_resumed_after_a_test_image_was_replaced(
    folder: Path, plan: Callable[..., Plan]
) -> None:
    stop_after_one_epoch(plan())
    mended, other = files_of(plan(), "test")[:2]
    shutil.copyfile(folder / other, folder / mended)
    bundle = train(plan(resume=True))
    assert len(bundle.history()) == 2
    assert open_bundle(bundle.folder).config["dataset"]["unreadable"] == []


def test_an_image_damaged_during_the_epochs_ends_no_training(
    folder: Path, plan: Callable[..., Plan]
) -> None:
    path = files_of(plan(), "test")[0]
    whole: list[bytes] = []

    def log(line: str) -> None:
        if line.startswith("Epoch 2/"):
            whole.append(damage(folder, path))

    with pytest.raises(DatasetError, match="can no longer be read"):
        train(plan(), log=log)
    (folder / path).write_bytes(whole[0])
    bundle = train(plan(resume=True))
    assert len(bundle.history()) == 2
    assert path in set(bundle.predictions()["file"])


@pytest.mark.parametrize("fold", ["train", "validation"])
def test_a_run_is_not_resumed_with_other_images_to_train_or_choose_on(
    fold: str, folder: Path, plan: Callable[..., Plan]
) -> None:
    stop_after_one_epoch(plan())
    damage(folder, files_of(plan(), fold)[0])
    with pytest.raises(BundleError, match="started with another set of images"):
        train(plan(resume=True, skip_unreadable=True))


def test_a_run_is_not_resumed_with_another_split(plan: Callable[..., Plan]) -> None:
    stop_after_one_epoch(plan())
    with pytest.raises(BundleError, match="started with another split seed"):
        train(plan(resume=True, split_seed=1))
