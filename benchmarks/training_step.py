"""The training step of a recipe, with its images, against the same step on one fixed batch.

    python benchmarks/training_step.py --data data/chest_xray [--recipe resnet50]

The images are decoded, augmented and batched as in a training; the fixed batch is the first of
them. The two alternate, so that other load on the machine affects both. Prints the median images
per second of each, the ratio of every round, and the median of these ratios. The precision is the
recipe's, chosen by measurement if it is "auto"; the weights of the backbone do not affect the time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from xray_core.command_line import run_command


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--models", default="models", help="folder of the lung network")
    parser.add_argument("--recipe", default="resnet50")
    parser.add_argument("--steps", type=int, default=10, help="steps in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=400, help="images of each class and fold")
    options = parser.parse_args()

    import keras
    import tensorflow as tf

    from xray_core.dataset.index import build_index, find_dataset, limit_index
    from xray_core.model.architectures import build_network
    from xray_core.model.engine import trace
    from xray_core.model.lungs import LungSegmenter
    from xray_core.model.recipes import find_recipe
    from xray_core.training.data import add_lung_masks, load_images
    from xray_core.training.optimizers import build_optimizer, set_stem_trainable
    from xray_core.training.plan import find_lungs
    from xray_core.training.precision import choose_precision, precision
    from xray_core.training.trainers import build_trainer

    recipe = find_recipe(options.recipe)
    tf.config.experimental.enable_op_determinism()  # as in a training
    keras.utils.set_random_seed(0)
    folder = find_dataset(options.data)
    folds = load_images(limit_index(build_index(folder), options.limit), folder).folds
    training, segmenter = folds["train"], None
    bundle = find_lungs(Path(options.models), "lungs", recipe)
    if recipe.trains_on_lungs and bundle is not None:
        segmenter = LungSegmenter(trace(bundle.load_network()), bundle.lung_limits)
        training = add_lung_masks(training, segmenter)
    chosen = choose_precision(recipe)
    with precision(chosen):
        network = build_network(recipe)
    trainer = build_trainer(
        network, recipe, training, folds["validation"], segmenter=segmenter, seed=0, split_seed=0
    )
    optimizer = build_optimizer(recipe, trainer.model, options.steps)
    set_stem_trainable(trainer.model, recipe, trainable=not recipe.stem_epochs)
    trainer.compile(optimizer)

    fixed = trainer.batches(1).take(1).cache().repeat()

    def seconds(dataset: tf.data.Dataset, steps: int) -> float:
        start = time.perf_counter()
        trainer.model.fit(dataset, steps_per_epoch=steps, shuffle=False, verbose=0)
        return time.perf_counter() - start

    seconds(fixed, 2)  # compiles, and fills the cache
    rates: dict[str, list[float]] = {"fixed batch": [], "training": []}
    for number in range(1, options.rounds + 1):
        varied = trainer.batches(number).repeat()
        for name, dataset in (("fixed batch", fixed), ("training", varied)):
            images = options.steps * recipe.batch_size
            rates[name].append(images / seconds(dataset, options.steps))
    for name, values in rates.items():
        print(f"{name + ':':12} {statistics.median(values):5.1f} images/s")
    ratios = [a / b for a, b in zip(rates["training"], rates["fixed batch"], strict=True)]
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"ratio:       {statistics.median(ratios):5.2f} ({recipe.name}, {chosen}; rounds {each})")


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
