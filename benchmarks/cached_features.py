"""Training time of a frozen recipe with and without cached features of the backbone.

    python benchmarks/cached_features.py --data data/chest_xray

Ten epochs of a frozen recipe on the whole training fold, once with the backbone in every epoch and
once with its features cached for one augmented view, in one process, one after the other. Prints
both times and their ratio.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from xray_core.command_line import run_command


def print_now(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--recipe", default="resnet50-frozen")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--limit", type=int, help="images per class and fold, for a trial")
    options = parser.parse_args()

    import keras

    from xray_core.dataset.index import build_index, find_dataset, limit_index
    from xray_core.model.architectures import build_network
    from xray_core.model.recipes import find_recipe
    from xray_core.training.data import load_images
    from xray_core.training.fit import fit

    folder = find_dataset(options.data)
    index = build_index(folder)
    if options.limit:
        index = limit_index(index, options.limit)
    folds = load_images(index, folder).folds
    training, validation = folds["train"], folds["validation"]
    base = replace(
        find_recipe(options.recipe), epochs=options.epochs, patience=options.epochs, shifted_views=0
    )
    keras.config.set_dtype_policy(options.precision)
    seconds = {}
    # The weights of the backbone do not affect the time.
    for views in (1, 0):
        recipe = replace(base, cached_views=views)
        network = build_network(recipe)
        with tempfile.TemporaryDirectory() as scratch:
            start = time.perf_counter()
            run = Path(scratch)
            fit(network, recipe, training, validation, run, seed=0, identity={}, log=print_now)
            seconds[views] = time.perf_counter() - start
    print(f"{recipe.name}, {len(training)} images, {recipe.epochs} epochs, {options.precision}")
    print(f"backbone in every epoch: {seconds[0]:.0f} s")
    print(f"features cached (K = 1): {seconds[1]:.0f} s")
    print(f"ratio:                   {seconds[0] / seconds[1]:.1f}")


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
