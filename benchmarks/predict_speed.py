"""What a prediction costs beside the network's own forward pass, as ratios within one run.

    python benchmarks/predict_speed.py --model models/resnet50 --data data/chest_xray

1. `Predictor.predict` of one image (read, check, resize, pass, gate, neighbours) against the bare
   classifier, compiled by TensorFlow, on the same image already resized.
2. The lungs of one image (lung network, mask, its measurements, crop) against the same bare
   classifier: what the lungs add to a prediction. At most 25 ms are accepted.
3. `Predictor.predict_many` over the files against `model.predict` of TensorFlow on their resized
   images, in batches of 32.
4. A new process that loads the model and predicts one file, with its Grad-CAM map.
`--engine` names the engine of the predictor. The two calls of each pair alternate, so that other
load on the machine affects both.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from xray_core import Predictor
from xray_core.command_line import run_command
from xray_core.dataset.index import build_index, find_dataset
from xray_core.model.lung_crop import classifier_input

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(ROOT / "models/resnet50"))
    parser.add_argument("--data")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--engine", default="auto", help="auto, tensorflow or openvino")
    arguments = parser.parse_args()

    predictor = Predictor.load(arguments.model, engine=arguments.engine)
    print(f"{predictor.model}, engine {predictor.engine}")
    folder = find_dataset(arguments.data)
    index = build_index(folder)
    index = index[index["fold"] == "test"].sample(arguments.images, random_state=0)
    paths = [folder / path for path in index["path"]]
    # Only images that pass the input check, as others need further forward passes.
    many = list(predictor.predict_many(paths))
    predictions = zip(paths, many, strict=True)
    paths = [path for path, prediction in predictions if prediction.gate == "passed"]
    images = np.stack([predictor.model_input(path) for path in paths])

    import tensorflow as tf

    keras_model = predictor.network  # loaded here: not while it is traced
    network = tf.function(
        lambda batch: keras_model(batch, training=False),
        input_signature=[tf.TensorSpec((None, 224, 224, 1), tf.float32)],
    )
    one = tf.constant(images[:1])
    bare, whole = _turns(
        lambda: network(one).numpy(), lambda: predictor.predict(paths[0]), arguments.rounds
    )
    print(f"one image: network {bare * 1e3:.1f} ms, predict {whole * 1e3:.1f} ms")
    print(f"  predict / network = {whole / bare:.2f}")

    if predictor.lungs is not None:
        bare, lungs = _turns(
            lambda: network(one).numpy(),
            lambda: _find_lungs(predictor, images[:1]),
            arguments.rounds,
        )
        print(f"one image: network {bare * 1e3:.1f} ms, its lungs {lungs * 1e3:.1f} ms")
        print(f"  lungs / network = {lungs / bare:.2f}")

    bare, whole = _turns(
        lambda: keras_model.predict(images, batch_size=32, verbose=0),
        lambda: list(predictor.predict_many(paths)),
        max(2, arguments.rounds // 10),
    )
    count = len(paths)
    print(
        f"{count} images: model.predict {count / bare:.1f} images/s, "
        f"predict_many {count / whole:.1f} images/s"
    )
    print(f"  predict_many / model.predict = {bare / whole:.2f} of its throughput")

    code = (
        "import sys; from xray_core import Predictor; "
        "Predictor.load(sys.argv[1], engine=sys.argv[2]).predict(sys.argv[3], explain='gradcam')"
    )
    given = [str(Path(arguments.model).resolve()), predictor.engine, str(paths[0].resolve())]
    empty, first = _turns(
        lambda: subprocess.run([sys.executable, "-c", "import numpy"], cwd=ROOT, check=True),
        lambda: subprocess.run([sys.executable, "-c", code, *given], cwd=ROOT, check=True),
        3,
    )
    print(f"a new process: import numpy {empty:.2f} s, the first result {first:.2f} s")


def _find_lungs(predictor: Predictor, images: np.ndarray) -> None:
    """Do all that the lungs add to the prediction of one image (1, 224, 224, 1)."""
    (mask,) = predictor.lungs.masks(images)
    predictor.lungs.has_plausible_lungs(mask)
    classifier_input(images[0], mask, predictor.bundle.recipe)


def _turns(
    first: Callable[[], object], second: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Median seconds of two calls in alternation, after one warm-up call of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for call, taken in zip((first, second), seconds, strict=True):
            start = time.perf_counter()
            call()
            if turn:
                taken.append(time.perf_counter() - start)
    return float(np.median(seconds[0])), float(np.median(seconds[1]))


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
