"""The engines: the same outputs from TensorFlow and OpenVINO, for every recipe."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from foreign_bundle import reseal

from xray_core.errors import BundleError, MissingPackage
from xray_core.model.bundle import open_bundle
from xray_core.model.engine import choose_engine, compile_graph, import_openvino, trace
from xray_core.model.openvino_network import build_graph, read_weights
from xray_core.model.recipes import RECIPES, Recipe, find_recipe

SIDE = 96
CNN = replace(find_recipe("cnn"), filters=(4, 8), pool=4)
VARIANTS = {
    **{name: find_recipe(name) for name in RECIPES},
    "standardized": replace(CNN, preprocessing="standardize"),
    "caffe": replace(CNN, preprocessing="caffe", pooling="average"),
    "normalised": replace(CNN, dense=6, batch_norm=True, output="softmax"),
}


@pytest.fixture(scope="module", autouse=True)
def openvino() -> Any:
    if find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    return import_openvino()


def network_of(recipe: Recipe) -> Any:
    """Return a network with random weights, so that every layer changes the outputs."""
    from xray_core.model.architectures import build_network

    random = np.random.default_rng(0)
    network = build_network(recipe, input_size=(SIDE, SIDE))
    for layer in network.layers:
        weights = layer.get_weights()
        if len(weights) == 4:  # gamma, beta, mean and variance
            shapes = [weight.shape for weight in weights]
            layer.set_weights([random.uniform(0.3, 0.6, shape) for shape in shapes])
        elif weights:
            kernel, *bias = weights
            spread = 1 / np.sqrt(np.prod(kernel.shape[:-1]))
            layer.set_weights(
                [
                    random.normal(0, spread, kernel.shape),
                    *(random.normal(0, 0.1, b.shape) for b in bias),
                ]
            )
    return network


@pytest.mark.parametrize("recipe", VARIANTS.values(), ids=VARIANTS)
def test_both_engines_give_the_same_outputs(recipe: Recipe, tmp_path: Path) -> None:
    import keras

    from xray_core.model.architectures import last_spatial_layer

    network = network_of(recipe)
    network.save_weights(tmp_path / "model.weights.h5")
    graph = build_graph(recipe, read_weights(tmp_path / "model.weights.h5"), (SIDE, SIDE))
    names = (
        ["lungs"]
        if recipe.kind == "segmentation"
        else ["features", "logit", last_spatial_layer(network)]
    )
    images = np.random.default_rng(1).uniform(0, 255, (3, SIDE, SIDE, 1)).astype(np.float32)
    expected = trace(
        keras.Model(network.inputs, [network.get_layer(name).output for name in names])
    )(images)
    outputs = compile_graph(graph.model)(images)
    assert len(outputs) == len(expected)
    for output, values in zip(outputs, expected, strict=True):
        assert output.shape == values.shape
        assert values.std() > 1e-3  # the weights matter
        assert np.abs(output - values).max() <= 1e-5 * max(1.0, np.abs(values).max())


def test_the_outputs_of_an_image_do_not_depend_on_its_batch(micro_bundle: Path) -> None:
    forward = compile_graph(open_bundle(micro_bundle).load_graph().model)
    images = np.random.default_rng(0).uniform(0, 255, (7, 224, 224, 1)).astype(np.float32)
    batch = forward(images)
    alone = [forward(image[np.newaxis]) for image in images]
    for output, *rows in zip(batch, *alone, strict=True):
        assert np.allclose(output, np.concatenate(rows), rtol=1e-5, atol=1e-5)
        assert not np.allclose(output[0], output[1], rtol=1e-3)  # in the order of the images
    with pytest.raises(RuntimeError, match="shape"):
        forward(images[:, :100])
    assert all(np.array_equal(a, b) for a, b in zip(forward(images), batch, strict=True))


def test_several_threads_get_the_outputs_of_one(micro_bundle: Path) -> None:
    forward = compile_graph(open_bundle(micro_bundle).load_graph().model)
    random = np.random.default_rng(0)
    batches = [
        random.uniform(0, 255, (1 + k % 3, 224, 224, 1)).astype(np.float32) for k in range(12)
    ]
    alone = [forward(batch) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(forward, batches))
    for first, second in zip(alone, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_linear_head_is_that_of_the_network(micro_bundle: Path) -> None:
    bundle = open_bundle(micro_bundle)
    kernel = bundle.load_network().get_layer("logit").get_weights()[0]
    assert np.array_equal(bundle.load_graph().linear_head, kernel[:, 0])


def another_layer(file: h5py.File) -> None:
    group = file.create_group("layers/dense_7/vars")
    group.attrs["name"] = "another"
    group["0"] = np.zeros(3)


def missing_layer(file: h5py.File) -> None:
    del file["layers/conv2d_1"]


def more_filters(file: h5py.File) -> None:
    variables = file["layers/conv2d/vars"]
    kernel = variables["0"][()]
    del variables["0"]
    variables["0"] = np.repeat(kernel, 1000, axis=-1)


def nameless(file: h5py.File) -> None:
    del file["layers/conv2d/vars"].attrs["name"]


def not_finite(file: h5py.File) -> None:
    file["layers/conv2d/vars/0"][0] = np.nan


@pytest.mark.parametrize(
    "change", [another_layer, missing_layer, more_filters, nameless, not_finite]
)
def test_weights_that_do_not_fit_are_refused(
    micro_bundle: Path, tmp_path: Path, change: Callable[[h5py.File], None]
) -> None:
    import shutil

    folder = shutil.copytree(micro_bundle, tmp_path / "micro")
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        change(file)
    with pytest.raises(BundleError, match="weights of the model micro do not fit its recipe"):
        open_bundle(reseal(folder)).load_graph()


def test_auto_is_openvino_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_engine() == "openvino"
    assert choose_engine("tensorflow") == "tensorflow"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert choose_engine() == "tensorflow"
    with pytest.raises(MissingPackage, match="pip install openvino"):
        choose_engine("openvino")


def test_openvino_uses_no_more_threads_than_it_is_allowed(
    openvino: Any, micro_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    compile_model = openvino.Core.compile_model

    def keep(core: Any, *arguments: Any) -> Any:
        compiled.append(compile_model(core, *arguments))
        return compiled[-1]

    monkeypatch.setattr(openvino.Core, "compile_model", keep)
    graph = open_bundle(micro_bundle).load_graph().model
    usual = compile_model(openvino.Core(), graph, "CPU").get_property("INFERENCE_NUM_THREADS")
    for allowed in ("1", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", allowed)
        compile_graph(graph)
    threads = [one.get_property("INFERENCE_NUM_THREADS") for one in compiled]
    assert threads == [1, usual]
    assert not compiled[0].get_property("ENABLE_CPU_PINNING")


def test_an_unknown_engine_is_refused(micro_bundle: Path) -> None:
    from xray_core import Predictor

    with pytest.raises(ValueError, match=r"auto, tensorflow, openvino\. Received: 'torch'"):
        Predictor.load(micro_bundle, engine="torch")


def test_a_result_with_its_map_needs_no_tensorflow(
    lungs_classifier: Path, image_png: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / "image.png").write_bytes(image_png(1, True))
    code = (
        "import sys; from xray_core import Predictor; "
        "predictor = Predictor.load(sys.argv[1]); "
        "prediction = predictor.predict(sys.argv[2], explain='gradcam'); "
        "assert prediction.verdict != 'UNREADABLE'; "
        "list(predictor.predict_many([sys.argv[2]] * 2)); "
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    arguments = [sys.executable, "-c", code, str(lungs_classifier), str(tmp_path / "image.png")]
    subprocess.run(arguments, check=True)


def test_openvino_sends_no_telemetry(lungs_classifier: Path, tmp_path: Path) -> None:
    """A process that has a home folder and is no CI job, which OpenVINO leaves alone."""
    code = (
        "import sys; seen = []; "
        "sys.addaudithook(lambda event, _: event.startswith(('socket.', 'os.fork')) "
        "and seen.append(event)); "
        "from xray_core import Predictor; "
        "assert Predictor.load(sys.argv[1], engine='openvino').engine == 'openvino'; "
        "assert not seen, seen"
    )
    silent = ("CI", "TF_BUILD", "JENKINS_URL")
    environment = {key: value for key, value in os.environ.items() if key not in silent}
    arguments = [sys.executable, "-c", code, str(lungs_classifier)]
    subprocess.run(arguments, check=True, env={**environment, "HOME": str(tmp_path)})
    assert [path.name for path in tmp_path.iterdir()] == []
