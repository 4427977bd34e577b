"""What int8 or bfloat16 would change in the results of a model, and how much faster it would be.

    python benchmarks/lower_precision.py int8    # needs `pip install nncf`
    python benchmarks/lower_precision.py bf16    # needs a processor that computes in bfloat16

The classifier is run by OpenVINO in single precision and in the other precision, on the inputs of
the validation images and of two shifted copies of each; int8 is calibrated on 300 of the unaltered
ones. Prints the share of other results (pneumonia, indeterminate, no pneumonia), the AUC of both,
and the ratio of their images per second. A precision is adopted only if at most 0.2% of the results
change and the AUC changes by less than .001. The test images are not used.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from xray_core.command_line import run_command

CALIBRATED_ON = 300
COPIES = 2
BATCH = 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("precision", choices=["int8", "bf16"])
    parser.add_argument("--model", default="models/resnet50")
    parser.add_argument("--data")
    options = parser.parse_args()

    from sklearn.metrics import roc_auc_score

    from xray_core.dataset.index import build_index, find_dataset
    from xray_core.model.bundle import open_bundle
    from xray_core.training.data import add_shifted_copies, load_images, model_inputs

    bundle = open_bundle(Path(options.model))
    folder = find_dataset(options.data)
    index = build_index(folder)
    validation = load_images(index[index["fold"] == "validation"], folder).folds["validation"]
    varied = add_shifted_copies(validation, COPIES, seed=0)
    inputs = model_inputs(varied, bundle.load_lungs("openvino"), bundle.recipe)
    pixels, label = inputs.pixels.astype(np.float32), inputs.label
    originals = len(validation)

    graph = bundle.load_graph().model
    single, seconds = _logits(_compiled(graph, "f32"), pixels)
    if options.precision == "int8":
        other_graph, hint = _quantized(graph, pixels[:originals]), "f32"
    else:
        other_graph, hint = graph, "bf16"
    other, other_seconds = _logits(_compiled(other_graph, hint), pixels)

    calibration = bundle.calibration
    results = [
        np.array([calibration.verdict(p) for p in calibration.probability(logit)])
        for logit in (single, other)
    ]
    print(f"{bundle.name} {bundle.version}, {len(pixels)} images, {options.precision}")
    print(f"other results: {(results[0] != results[1]).mean():.2%}")
    for name, part in (
        ("unaltered", slice(originals)),
        ("shifted copies", slice(originals, None)),
    ):
        before, after = (roc_auc_score(label[part], logit[part]) for logit in (single, other))
        print(f"AUC, {name}: {before:.4f}, {after:.4f}")
    print(f"largest difference of a logit: {np.abs(single - other).max():.3f}")
    print(f"images per second, against single precision: {seconds / other_seconds:.2f}")


def _compiled(graph: Any, hint: str) -> Any:
    from xray_core.model.engine import import_openvino

    core = import_openvino().Core()
    if hint == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        sys.exit("This processor does not compute in bfloat16.")
    return core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": hint})


def _quantized(graph: Any, pixels: np.ndarray) -> Any:
    from xray_core.model.engine import import_openvino

    import_openvino()  # before NNCF imports it
    try:
        import nncf
    except ImportError:
        sys.exit("int8 needs the package NNCF: pip install nncf")
    rows = np.random.default_rng(0).permutation(len(pixels))[:CALIBRATED_ON]
    return nncf.quantize(
        graph.clone(),
        nncf.Dataset([pixels[row : row + 1] for row in rows]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=CALIBRATED_ON,
    )


def _logits(compiled: Any, pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """Log-odds (N,) of inputs (N, 224, 224, 1), and the seconds that they took."""
    request = compiled.create_infer_request()
    logits = []
    start = time.perf_counter()
    for row in range(0, len(pixels), BATCH):
        request.infer([pixels[row : row + BATCH]])
        logits.append(request.output_tensors[1].data[:, 0].copy())
    return np.concatenate(logits), time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
