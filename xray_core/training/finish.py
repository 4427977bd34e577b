"""All that follows the weights: calibration, gate, neighbours, predictions, examples, results.

One function makes a bundle, whether the weights come from a training that has just ended or from
a bundle whose remainder is rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from xray_core.dataset.averages import average_images, save_averages
from xray_core.dataset.index import FOLDS, build_index, fingerprint, limit_index
from xray_core.dataset.measure import measure_index
from xray_core.errors import BundleError, DatasetError
from xray_core.evaluation.tables import summary
from xray_core.model import bundle as bundles
from xray_core.model.architectures import layer_table
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.calibration import Calibration, fit_calibration
from xray_core.model.gate import fit_gate
from xray_core.model.neighbours import fit_neighbours, vote_report
from xray_core.model.recipes import INPUT_SIZE, LABELS, Recipe
from xray_core.prediction.explain import Explainer, border_share, on_image
from xray_core.prediction.labelled import predict_labelled
from xray_core.prediction.predictor import Predictor
from xray_core.training import data as pipeline
from xray_core.training.data import ImageSet, Loaded, image_batches, load_images, named
from xray_core.training.examples import write_examples
from xray_core.training.plan import check_classes
from xray_core.training.results import dataset_facts, write_results
from xray_core.training.robustness import measure_robustness

MAPPED_IMAGES = 200  # validation images whose maps say how much of a map usually lies at the border
SURE_QUANTILE = 0.99  # one image in a hundred gets the caution of being too sure
BORDER_QUANTILE = 0.95  # one image with pneumonia in twenty gets the caution
CALIBRATION_COPIES = 4  # shifted copies of each validation image that the calibration is fitted to


@dataclass(frozen=True)
class Provenance:
    """What only training knows of a network; finishing passes it on.

    Attributes:
        recipe: what the network was trained by.
        history: one row an epoch.
        facts: for `config.json`: seed, limit, versions, commit, date, epochs, seconds, ...
        storage: what rounding to half precision changed; None before it was measured.
    """

    recipe: Recipe
    history: pd.DataFrame
    facts: dict[str, Any]
    storage: dict[str, Any] | None = None


@dataclass(frozen=True)
class Outputs:
    """A network's answers for the images of one fold: features (N, D) and logit (N,), float32."""

    images: ImageSet
    features: np.ndarray
    logit: np.ndarray


def finish(
    network: keras.Model,
    made: Provenance,
    loaded: Loaded,
    folder: Path,
    target: Path,
    *,
    log: Callable[[str], None] = print,
) -> Bundle:
    """Make the bundle `target` from a trained network and the dataset it was trained on.

    The network, in float32, is left with the weights as they are stored. The test fold is
    predicted here, and only after everything was chosen.

    Args:
        loaded: the images of the index, decoded; `folder` is where their files are.
    """
    index, measured = loaded.index, measure_index(loaded.index, folder)
    with bundles.writing(target) as partial:
        validation_images, test_images = loaded.folds["validation"], loaded.folds["test"]
        both = _two_outputs(network)
        trained = network.get_weights()
        bundles.save_weights(network, partial / bundles.WEIGHTS)
        network.load_weights(partial / bundles.WEIGHTS)

        log("Predicting validation images and their shifted copies ...")
        varied = pipeline.add_shifted_copies(
            validation_images, CALIBRATION_COPIES, seed=made.facts["split_seed"] + 1
        )
        copies = _outputs(both, varied)
        originals = len(validation_images)  # they come first
        validation = Outputs(
            validation_images, copies.features[:originals], copies.logit[:originals]
        )
        calibration = fit_calibration(
            copies.logit,
            copies.images.label,
            trained_prior=_trained_prior(made.recipe, index),
        )
        log("Computing the features of the training images ...")
        training = _outputs(both, loaded.folds["train"])
        gate = fit_gate(training.features, training.images.label, validation.features)
        gate.save(partial / bundles.GATE)
        table = training.images.table
        neighbours = fit_neighbours(
            training.features, list(table["label"]), list(table["subtype"]), list(table["path"])
        )
        neighbours.save(partial / bundles.NEIGHBOURS)
        write_examples(
            partial / "examples", network, training.images, calibration, gate, neighbours
        )
        config: dict[str, Any] = {
            "name": target.name,
            "version": f"{made.facts['created']}-{bundles.sha256(partial / bundles.WEIGHTS)[:8]}",
            "recipe": made.recipe.to_dict(),
            "labels": list(LABELS),
            "input_size": list(INPUT_SIZE),
            "calibration": calibration.to_dict(),
            "gate": {"caution": gate.caution, "refuse": gate.refuse},
            "cautions": {
                "border_share": _border_limit(network, validation_images),
                "too_sure": _sure_limit(calibration.probability(validation.logit)),
            },
            "layers": layer_table(network),
            "dataset": dataset_facts(measured, loaded.unreadable),
            **made.facts,
        }

        log("Predicting the test images ...")
        test = _outputs(both, test_images)
        predictor = Predictor(Bundle(partial, config), network, gate, neighbours)
        predictions = pd.concat(
            [_predictions(predictor, outputs, folder) for outputs in (validation, test)],
            ignore_index=True,
        )
        predictions.to_csv(partial / bundles.PREDICTIONS, index=False)
        config["neighbours_report"] = vote_report(
            neighbours.nearest(validation.features),
            list(validation_images.table["label"]),
            list(predictions.loc[predictions["fold"] == "validation", "verdict"]),
        )
        config["storage"] = made.storage
        if made.storage is None:
            log("Predicting validation and test images with the weights before rounding ...")
            rounded = network.get_weights()
            network.set_weights(trained)
            before = [_outputs(both, images).logit for images in (validation_images, test_images)]
            network.set_weights(rounded)
            after = [validation.logit, test.logit]
            config["storage"] = _rounding(
                np.concatenate(before), np.concatenate(after), calibration
            )
        log("Predicting the test images, changed in several ways ...")
        config["robustness"] = measure_robustness(
            test_images, test.logit, lambda images: _outputs(both, images).logit, calibration
        )
        config["metrics"] = {"shifted_validation": _shifted_summary(copies, calibration)}
        measured.to_csv(partial / bundles.DATASET, index=False)
        save_averages(average_images(measured, folder), partial / bundles.AVERAGES)
        made.history.to_csv(partial / bundles.HISTORY, index=False)
        write_results(partial, config, predictions, made.history)
    return open_bundle(target)


def finish_again(
    bundle: Bundle,
    folder: Path,
    *,
    skip_unreadable: bool = False,
    log: Callable[[str], None] = print,
) -> Bundle:
    """Rebuild all that follows a bundle's weights, from the images it was trained on.

    Training and validation images that the training left out stay left out. A test image that
    could not be read then, and can be now, is taken in.

    Args:
        skip_unreadable: leave out further images that cannot be read now.

    Raises:
        DatasetError: images cannot be read.
        BundleError: the images in `folder`, or their folds, are not those.
    """
    config = bundle.config
    facts = {key: config[key] for key in ("created", "libraries", "seed", "git_commit", "limit")}
    # Until there was a seed of the split, the training's seed drew it, too.
    facts["split_seed"] = config.get("split_seed", config["seed"])
    facts["training"] = config["training"]
    index = build_index(folder, seed=facts["split_seed"])
    if facts["limit"] is not None:
        index = limit_index(index, facts["limit"], facts["split_seed"])
    recorded = config["dataset"].get("unreadable", [])
    left_out = index["path"].isin(recorded) & (index["fold"] != "test")
    loaded = load_images(
        index[~left_out],
        folder,
        skip_unreadable=skip_unreadable,
        known_unreadable=recorded,
    )
    if not _same_images(bundle.dataset(), loaded, recorded):
        raise BundleError(
            f"The images in {folder} are not those that {bundle.name} was trained on, so what "
            "follows its weights cannot be rebuilt from them."
        )
    check_classes(loaded.index)
    unreadable = sorted({*index["path"][left_out], *loaded.unreadable})
    loaded = replace(loaded, unreadable=tuple(unreadable))
    network = bundle.load_network()
    for layer, row in zip(network.layers, config["layers"], strict=True):
        layer.trainable = row["trained"]
    made = Provenance(bundle.recipe, bundle.history(), facts, config["storage"])
    return finish(network, made, loaded, folder, bundle.folder, log=log)


def _same_images(known: pd.DataFrame, loaded: Loaded, recorded: list[str]) -> bool:
    """Whether the images, but for those that could not be read then or now, are the known ones."""
    now = pd.concat([images.table for images in loaded.folds.values()])
    now = now[~now["path"].isin(recorded)]
    known = known[~known["path"].isin(loaded.unreadable)]
    return all(
        fingerprint(now[now["fold"] == fold]) == fingerprint(known[known["fold"] == fold])
        for fold in FOLDS
    )


def _two_outputs(network: keras.Model) -> keras.Model:
    """The network with features and log-odds as its outputs, built once: tracing it takes time."""
    return keras.Model(
        network.input, [network.get_layer("features").output, network.get_layer("logit").output]
    )


def _outputs(both: keras.Model, images: ImageSet) -> Outputs:
    features, logit = both.predict(image_batches(images), verbose=0)
    if not (np.isfinite(features).all() and np.isfinite(logit).all()):
        raise BundleError(
            "The network gives numbers that are not finite, so no model can be made of it: train "
            "it again with a lower learning rate."
        )
    return Outputs(images, features, logit[:, 0])


def _trained_prior(recipe: Recipe, index: pd.DataFrame) -> float:
    """The share of pneumonia that the loss has seen, weights counted in."""
    if recipe.imbalance != "none":
        return 0.5
    return float((index.loc[index["fold"] == "train", "label"] == LABELS[1]).mean())


def _predictions(predictor: Predictor, outputs: Outputs, folder: Path) -> pd.DataFrame:
    """The rows of `predictions.csv` for one fold: what the app would answer for these files.

    The log-odds of images that their pixels alone rule out come from the network all the same.

    Raises:
        DatasetError: a file was damaged since it was loaded.
    """
    table = predict_labelled(predictor, outputs.images.table, folder)
    lost = list(table.loc[table["verdict"] == "UNREADABLE", "file"])
    if lost:
        raise DatasetError(
            f"Images that could be read before cannot be read any more ({named(lost)}): put them "
            "back and run the same command again; after a training, with --resume."
        )
    unasked = table["logit"].isna()
    table.loc[unasked, "logit"] = outputs.logit[unasked].astype(np.float64).round(6)
    table["probability"] = predictor.calibration.probability(table["logit"]).round(6)
    return table


def _shifted_summary(copies: Outputs, calibration: Calibration) -> dict[str, Any]:
    """The metrics on validation images and their shifted copies, which all choices rest on."""
    probability = calibration.probability(copies.logit)
    table = copies.images.table.assign(
        probability=probability,
        verdict=[calibration.verdict(p) for p in probability],
        gate="passed",
    )
    return summary(table, calibration, "validation")


def _rounding(before: np.ndarray, after: np.ndarray, calibration: Calibration) -> dict[str, Any]:
    """What half-precision kernels changed, over all validation and test images."""
    p, q = calibration.probability(before), calibration.probability(after)
    changed = sum(
        calibration.verdict(a) != calibration.verdict(b) for a, b in zip(p, q, strict=True)
    )
    return {
        "kernels": "float16",
        "images": len(p),
        "largest_probability_change": float(np.abs(p - q).max()),
        "verdicts_changed": int(changed),
    }


def _sure_limit(probability: np.ndarray) -> float:
    """The confidence in either class that 99 of 100 validation images stay below."""
    return float(np.quantile(np.maximum(probability, 1 - probability), SURE_QUANTILE))


def _border_limit(network: keras.Model, images: ImageSet) -> float:
    """The share of a map at the border that most validation images with pneumonia stay below.

    Images with pneumonia alone say what is usual: on a normal image nothing speaks for pneumonia, so
    its map may light up anywhere.
    """
    explainer = Explainer(network)
    to_activations = keras.Model(network.input, network.get_layer(explainer.layer).output)
    sick = np.flatnonzero(images.label == 1)
    chosen = np.random.default_rng(0).permutation(sick)[:MAPPED_IMAGES]
    pixels = images.pixels[chosen].astype(np.float32)
    activations = to_activations.predict(pixels, verbose=0)
    shares = [
        border_share(on_image(explainer.coarse_map("gradcam", image[None], seen[None]), INPUT_SIZE))
        for image, seen in zip(pixels, activations, strict=True)
    ]
    return float(np.quantile(shares, BORDER_QUANTILE))
