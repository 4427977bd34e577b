"""Export of a trained model to a format that runs without this project.

`python -m xray_core export NAME --format openvino|onnx|litert|saved_model --out DIR` writes the
networks, `model.json` with calibration and thresholds, `examples.npz` with inputs and the logits
that TensorFlow gives for them, and a README. Every export is run with its own runtime and compared
with these logits.

The input check, the rule for images unlike the training images (which needs the distance that the
input check measures), the similar images and the maps are not part of an export.
"""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import MissingPackage, XrayError
from xray_core.model.bundle import Bundle
from xray_core.model.engine import import_openvino
from xray_core.model.lung_crop import LARGEST_TURN, TYPICAL_SLOPE
from xray_core.model.recipes import INPUT_SIZE
from xray_core.prediction.predictor import Predictor

FloatArray = NDArray[np.float32]
Run = Callable[[FloatArray], FloatArray]

TOLERANCE = 1e-3
"""Largest accepted difference of a logit from that of TensorFlow."""

_SUFFIXES = {"openvino": ".xml", "onnx": ".onnx", "litert": ".tflite", "saved_model": ""}
FORMATS = tuple(_SUFFIXES)
# The packages, as they are imported and as they are installed, that write and run each format.
_PACKAGES = {
    "openvino": {"openvino": "openvino"},
    "onnx": {"tf2onnx": "tf2onnx", "onnx": "onnx", "onnxruntime": "onnxruntime"},
    "litert": {"ai_edge_litert": "ai-edge-litert"},
    "saved_model": {},
}


class Export(NamedTuple):
    """A written export.

    Attributes
    ----------
    folder : Path
        Where it is.
    images : int
        Number of inputs that it was compared on.
    difference : float
        Largest absolute difference of a logit from that of TensorFlow.
    """

    folder: Path
    images: int
    difference: float


def export_model(folder: Path, format: str, out: Path) -> Export:
    """Export a classifier, run the export, and compare it with the network.

    Parameters
    ----------
    folder : Path
        The bundle of the model.
    format : str
        One of `FORMATS`.
    out : Path
        A folder that is empty or does not exist.

    Raises
    ------
    BundleError
        As `Predictor.load` does.
    MissingPackage
        A package that writes or runs the format is not installed.
    XrayError
        The folder is not empty or cannot be written to, or the exported network gives other
        logits.
    ValueError
        The format is unknown.
    """
    if format not in FORMATS:
        raise ValueError(f"The formats are {', '.join(FORMATS)}. Received: {format!r}")
    missing = [name for module, name in _PACKAGES[format].items() if find_spec(module) is None]
    if missing:
        raise MissingPackage(
            f"The format {format} needs packages that are not installed. Install them with `pip "
            f"install {' '.join(missing)}`."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise XrayError(f"The folder {out} is not empty. Choose another one for the export.")
        return _write(Predictor.load(folder, engine="tensorflow"), format, out)
    except OSError as error:
        raise XrayError(
            f"The export cannot be written to {out}: {error.strerror or 'the disk failed'}."
        ) from error


def _write(predictor: Predictor, format: str, out: Path) -> Export:
    bundle = predictor.bundle
    suffix = _SUFFIXES[format]
    inputs = _comparison_inputs(predictor)
    expected = predictor.logits(inputs)
    networks = {"classifier": (bundle.load_network, bundle.load_graph, "logit")}
    if bundle.lung_recipe is not None:
        networks["lungs"] = (bundle.load_lung_network, bundle.load_lung_graph, "lungs")
    for name, (load_network, load_graph, output) in networks.items():
        file = out / f"{name}{suffix}"
        if format == "openvino":
            _write_openvino(load_graph().model, output, file)
        else:
            _write_keras(load_network(), output, format, file)
    logits = RUNNERS[format](out / f"classifier{suffix}")(inputs).reshape(-1)
    difference = float(np.abs(logits - expected).max())
    if not difference <= TOLERANCE:
        raise XrayError(
            f"The export to {format} gives other logits than the model (difference "
            f"{difference:.2g}), so it must not be used. It is in {out}."
        )
    np.savez_compressed(out / "examples.npz", images=inputs.astype(np.uint8), logits=expected)
    description = _description(bundle, format, len(inputs), difference)
    (out / "model.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    (out / "README.md").write_text(_readme(bundle, format), encoding="utf-8")
    return Export(out, len(inputs), difference)


def _comparison_inputs(predictor: Predictor) -> FloatArray:
    """Return classifier inputs (N, 224, 224, 1): the bundle's examples, altered, and noise."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*INPUT_SIZE, 1)).astype(np.float32)]
    for path in predictor.bundle.examples().values():
        image = predictor.model_input(path)
        images += [image, image[:, ::-1], np.rint(image * 0.7)]
    return predictor.classifier_inputs(np.stack(images))


def _write_openvino(model: Any, output: str, file: Path) -> None:
    openvino = import_openvino()
    small = openvino.Model([model.output(output)], model.get_parameters(), model.friendly_name)
    openvino.save_model(small, file, compress_to_fp16=False)


def _write_keras(network: Any, output: str, format: str, file: Path) -> None:
    import keras

    network = keras.Model(network.input, network.get_layer(output).output)
    network(np.zeros((1, *INPUT_SIZE, 1), np.float32))  # Keras exports only what has run
    keras_format = "tf_saved_model" if format == "saved_model" else format
    with redirect_stdout(StringIO()):  # the converters print their progress
        network.export(str(file), format=keras_format, verbose=False)


def _run_openvino(file: Path) -> Run:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = import_openvino().Core().compile_model(file, "CPU", settings)
    return lambda images: np.array(compiled(images)[0])


def _run_onnx(file: Path) -> Run:
    session = import_module("onnxruntime").InferenceSession(
        str(file), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _run_litert(file: Path) -> Run:
    interpreter = import_module("ai_edge_litert.interpreter").Interpreter(str(file))
    image, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(images: FloatArray) -> FloatArray:
        interpreter.resize_tensor_input(image["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(output["index"]))

    return run


def _run_saved_model(file: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(file))
    return lambda images: loaded.serve(tf.constant(images)).numpy()


RUNNERS: dict[str, Callable[[Path], Run]] = {
    "openvino": _run_openvino,
    "onnx": _run_onnx,
    "litert": _run_litert,
    "saved_model": _run_saved_model,
}
"""Loads an exported network as a function: images (N, 224, 224, 1) -> its output."""


def _description(bundle: Bundle, format: str, images: int, difference: float) -> dict[str, Any]:
    recipe = bundle.recipe
    return {
        "model": bundle.name,
        "version": bundle.version,
        "format": format,
        "input": {
            "shape": ["N", *INPUT_SIZE, 1],
            "type": "float32",
            "values": "whole grey levels from 0 to 255, air dark and bone bright",
            "resize": "bilinear with a kernel that widens when it shrinks (Pillow BILINEAR); the "
            "aspect ratio is not kept",
            "preprocessing_in_the_network": recipe.preprocessing,
            "lung_margin": recipe.lung_margin,
        },
        "output": "logit: log-odds of pneumonia, not calibrated, shape [N, 1]",
        "lung_network": None
        if bundle.lung_recipe is None
        else "same input, the whole image; output: probability of lung for each pixel",
        "calibration": bundle.config["calibration"],
        "not_included": [
            "input check",
            "rule for images unlike the training images",
            "similar training images",
            "maps",
        ],
        "compared_with_tensorflow": {"images": images, "largest_logit_difference": difference},
    }


_RUN = {
    "openvino": """import openvino  # sends a usage event; `opt_in_out --opt_out` ends this

network = openvino.Core().compile_model(
    "classifier.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
)
logits = network(images)[0]""",
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("classifier.onnx", providers=["CPUExecutionProvider"])
logits = session.run(None, {session.get_inputs()[0].name: images})[0]""",
    "litert": """from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("classifier.tflite")
image, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
interpreter.resize_tensor_input(image["index"], images.shape)
interpreter.allocate_tensors()
interpreter.set_tensor(image["index"], images)
interpreter.invoke()
logits = interpreter.get_tensor(output["index"])""",
    "saved_model": """import tensorflow

network = tensorflow.saved_model.load("classifier")
logits = network.serve(tensorflow.constant(images)).numpy()""",
}


def _readme(bundle: Bundle, format: str) -> str:
    packages = " ".join(
        [
            "numpy",
            *(
                {"onnx": ["onnxruntime"], "saved_model": ["tensorflow"]}.get(
                    format, list(_PACKAGES[format].values())
                )
            ),
        ]
    )
    crop = (
        "The classifier gets the image straightened and cropped to the lungs, with a margin of "
        f"{bundle.recipe.lung_margin:.0%} of the lungs' box on each side. The network `lungs` "
        "finds the lungs in the whole image. The image is turned until the line between the "
        f"centroids of the two lung fields falls by {TYPICAL_SLOPE} degrees towards the right of "
        f"the image (unless that takes more than {LARGEST_TURN:.0f} degrees); neither turn nor "
        "crop is part of the export. The images of `examples.npz` are cropped. An image that is "
        "not cropped in the same way gets another "
        "logit."
        if bundle.recipe.lung_margin > 0
        else "The classifier gets the whole image, resized to 224 x 224 pixels."
    )
    return f"""# {bundle.name} {bundle.version}, format {format}

A network that estimates the probability of pneumonia on chest X-rays of children, exported for use
without the project that trained it. It is a demonstration, not a medical device. Read the model
card of the project before use.

The export has no input check: it gives a logit for any image, also for one that is not a chest
X-ray. It has no rule for images unlike the training images either: some results that the project
calls indeterminate are firm here.

{crop} `model.json` describes input, output and calibration.

## Use

Needs `pip install {packages}`. Run in this folder:

```python
import json

import numpy as np

examples = np.load("examples.npz")
images = examples["images"].astype(np.float32)  # (N, 224, 224, 1), grey levels from 0 to 255

{_RUN[format]}

assert np.abs(logits[:, 0] - examples["logits"]).max() < {TOLERANCE}

with open("model.json", encoding="utf-8") as file:
    calibration = json.load(file)["calibration"]
log_odds = logits[:, 0] / calibration["temperature"] + calibration["shift"]
low, high = calibration["uncertain"]
# The probabilities refer to a pre-test probability of calibration["prior"].
for probability in 1 / (1 + np.exp(-log_odds)):
    if low <= probability <= high:
        result = "Indeterminate"
    elif probability > calibration["decision_threshold"]:
        result = "Pneumonia suspected"
    else:
        result = "No pneumonia detected"
    print(f"{{probability:.1%}}: {{result}}")
```
"""
