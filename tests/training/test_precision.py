"""The choice of the training precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import pytest

from xray_core.model.recipes import RECIPES
from xray_core.training import precision, run
from xray_core.training.plan import plan_training
from xray_core.training.precision import BFLOAT16, FLOAT32, choose_precision, measure_precisions

AUTO = replace(RECIPES["cnn-softmax"], precision="auto")


@pytest.mark.parametrize(
    ("float32", "bfloat16", "chosen"),
    [(0.2, 0.1, BFLOAT16), (0.2, 0.19, FLOAT32), (0.2, 0.8, FLOAT32)],
)
def test_bfloat16_is_chosen_where_it_is_clearly_faster(
    float32: float, bfloat16: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {FLOAT32: float32, BFLOAT16: bfloat16}
    monkeypatch.setattr(precision, "measure_precisions", lambda: measured)
    lines: list[str] = []
    assert choose_precision(AUTO, log=lines.append) == chosen
    assert len(lines) == 1
    assert f"{float32 / bfloat16:.1f} times" in lines[0]
    assert chosen in lines[0]


def test_a_named_precision_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "measure_precisions", lambda: pytest.fail("measured"))
    for named in (FLOAT32, BFLOAT16):
        assert choose_precision(replace(AUTO, precision=named), log=pytest.fail) == named


def test_the_measurement_leaves_the_precision_of_new_layers_as_it_was() -> None:
    before = keras.config.dtype_policy()
    seconds = measure_precisions()
    assert set(seconds) == {FLOAT32, BFLOAT16}
    assert all(0 < value < float("inf") for value in seconds.values())
    assert keras.config.dtype_policy() == before


def test_a_resumed_run_keeps_its_precision_and_the_bundle_states_it(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([BFLOAT16, FLOAT32])
    monkeypatch.setattr(run, "choose_precision", lambda recipe, log: next(answers))

    def plan(*, resume: bool = False) -> object:
        return plan_training(
            AUTO,
            data=str(dataset),
            models=tmp_path / "models",
            epochs=2,
            limit=4,
            lungs="none",
            resume=resume,
        )

    def stop(line: str) -> None:
        if line.startswith("Epoch 1/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(plan(), log=stop)
    bundle = run.train(plan(resume=True))
    assert bundle.config["training"]["precision"] == BFLOAT16
    assert bundle.config["recipe"]["precision"] == "auto"
    assert next(answers) == FLOAT32  # was not asked again
    assert {layer.compute_dtype for layer in bundle.load_network().layers} == {"float32"}
