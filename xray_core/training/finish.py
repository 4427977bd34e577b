"""Finishing a bundle: calibration, input check, neighbours, predictions, examples, results.

All this needs the network and the dataset. The same function finishes a new training and rebuilds
an existing bundle from its weights. What follows from stored predictions is in `results.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from xray_core.dataset.averages import average_images, save_averages
from xray_core.dataset.external import read_external
from xray_core.dataset.index import FOLDS, build_index, fingerprint, limit_index
from xray_core.dataset.measure import measure_index
from xray_core.errors import BundleError, DatasetError
from xray_core.evaluation.tables import summary
from xray_core.labels import LABELS, NORMAL, PNEUMONIA
from xray_core.model import bundle as bundles
from xray_core.model import bundle_writing
from xray_core.model.architectures import describe_layers
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.calibration import Calibration, fit_calibration
from xray_core.model.engine import choose_engine, compile_graph
from xray_core.model.gate import fit_gate
from xray_core.model.lungs import LungSegmenter
from xray_core.model.neighbours import count_contradictions, fit_neighbours
from xray_core.model.recipes import INPUT_SIZE, Recipe
from xray_core.model.unlike import fit_unlike_rule
from xray_core.model.upright import fit_upright_check
from xray_core.prediction import wording
from xray_core.prediction.labelled import predict_labelled
from xray_core.prediction.predictor import Predictor
from xray_core.training import data as pipeline
from xray_core.training.batches import image_batches
from xray_core.training.data import ImageSet, Loaded, list_paths, load_images, model_inputs
from xray_core.training.examples import write_examples
from xray_core.training.external import measure_external
from xray_core.training.outputs import Outputs, run_network, two_output_model
from xray_core.training.plan import LUNGS, check_classes, find_lungs
from xray_core.training.results import dataset_facts, write_results
from xray_core.training.robustness import (
    LungMasks,
    change_images,
    measure_changes,
    measure_hidden,
    random_tilt,
    read_masks,
    turn_upside_down,
)

SURE_QUANTILE = 0.99  # one validation image in 100 gets the caution for extreme probabilities
MAP_QUANTILE = 0.05  # at most one validation image with pneumonia in 20 gets the caution on maps
CALIBRATION_COPIES = 4  # shifted copies of each validation image for fitting the calibration
COPIES = 1500  # training images, at most, of which copies are made for the input check
LARGEST_TILT = 12.0  # degrees, of the tilted copies


@dataclass(frozen=True)
class Provenance:
    """How a network was trained.

    Attributes
    ----------
    recipe : Recipe
        The recipe.
    history : pandas.DataFrame
        One row per epoch.
    facts : dict
        For `config.json`: seeds, limit, versions, commit, date, epochs, seconds, notes.
    storage : dict or None
        Effect of rounding the weights to half precision; None if not measured yet.
    """

    recipe: Recipe
    history: pd.DataFrame
    facts: dict[str, Any]
    storage: dict[str, Any] | None = None


def finish(
    network: keras.Model,
    provenance: Provenance,
    loaded: Loaded,
    folder: Path,
    target: Path,
    *,
    lungs: Bundle | None = None,
    masks: Path | None = None,
    external: Path | None = None,
    log: Callable[[str], None] = print,
) -> Bundle:
    """Write a bundle from a trained network and the dataset that it was trained on.

    The test fold is predicted only after calibration, thresholds and input check are fixed.

    Parameters
    ----------
    network : keras.Model
        The trained network in float32; it ends with the weights as stored.
    provenance : Provenance
        How it was trained.
    loaded : Loaded
        The decoded images.
    folder : pathlib.Path
        The dataset's folder.
    target : pathlib.Path
        The bundle's folder; an existing bundle is replaced.
    lungs : Bundle or None
        The lung network, a bundle of the kind "segmentation". The new bundle gets a copy of it.
        None only if the recipe has no `lung_margin`.
    masks : pathlib.Path, optional
        Folder of lung masks that people drew, for the test images with hidden parts; without it,
        the lung network predicts them.
    external : pathlib.Path, optional
        Folder of images from other hospitals; see `xray_core.dataset.external`.
    log : callable
        Receives one line of text per step.

    Returns
    -------
    Bundle

    Raises
    ------
    BundleError
        An output of the network is not finite.
    DatasetError
        A file can no longer be read.
    """
    index, measured = loaded.index, measure_index(loaded.index, folder)
    # First of all, so that a fault in these folders costs no time.
    drawn = None if masks is None else read_masks(masks, loaded.folds["test"].table)
    if external is not None:
        read_external(external)
    with bundle_writing.writing(target) as partial:
        validation_images, test_images = loaded.folds["validation"], loaded.folds["test"]
        two_outputs = two_output_model(network)
        recipe, split_seed = provenance.recipe, provenance.facts["split_seed"]
        config: dict[str, Any] = {"kind": recipe.kind, "recipe": _plain(recipe)}
        if lungs is not None:
            config["lungs"] = bundle_writing.embed_lungs(lungs, partial)
        segmenter = _open_lungs(target.name, partial, config)

        def outputs(images: ImageSet) -> Outputs:
            return run_network(two_outputs, images, model_inputs(images, segmenter, recipe))

        trained = network.get_weights()
        bundle_writing.save_weights(network, partial / bundles.WEIGHTS)
        network.load_weights(partial / bundles.WEIGHTS)

        log("Predicting validation images and their shifted copies ...")
        varied = pipeline.add_shifted_copies(
            validation_images, CALIBRATION_COPIES, seed=split_seed + 1
        )
        copies = outputs(varied)
        originals = len(validation_images)  # they come first
        validation = Outputs(
            validation_images, copies.features[:originals], copies.logit[:originals]
        )
        calibration = fit_calibration(
            copies.logit,
            copies.images.label,
            trained_prior=_trained_prior(recipe, index),
        )
        log("Computing the features of the training images ...")
        training = outputs(loaded.folds["train"])
        copied = _some(loaded.folds["train"], COPIES)
        tilted = outputs(change_images(copied, random_tilt(LARGEST_TILT, split_seed)))
        # A tilt leaves empty corners, which the features show. It is no reason for a caution.
        reference = np.concatenate([training.features, tilted.features])
        gate = fit_gate(reference, validation.features)
        gate.save(partial / bundles.GATE)
        unlike_rule = fit_unlike_rule(
            calibration.probability(copies.logit),
            copies.images.label,
            gate.squared_distance(validation.features) / gate.caution,
        )
        upright = fit_upright_check(
            outputs(copied).features, outputs(change_images(copied, turn_upside_down)).features
        )
        upright.save(partial / bundles.UPRIGHT)
        table = training.images.table
        neighbours = fit_neighbours(
            training.features, list(table["label"]), list(table["subtype"]), list(table["path"])
        )
        neighbours.save(partial / bundles.NEIGHBOURS)
        write_examples(
            partial / "examples", outputs, training.images, calibration, gate, neighbours
        )
        weights_hash = bundles.sha256(partial / bundles.WEIGHTS)
        config = {
            **config,
            "name": target.name,
            "version": f"{provenance.facts['created']}-{weights_hash[:8]}",
            "labels": list(LABELS),
            "input_size": list(INPUT_SIZE),
            "calibration": calibration.to_dict(),
            "unlike": unlike_rule.to_dict(),
            "gate": {"caution": gate.caution, "refuse": gate.refuse},
            "cautions": {"too_sure": _sure_limit(calibration.probability(validation.logit))},
            "layers": describe_layers(network),
            "dataset": dataset_facts(measured, loaded.unreadable),
            **provenance.facts,
        }

        config["engines"] = _engine_parity(
            Bundle(partial, config),
            model_inputs(validation_images, segmenter, recipe),
            validation.logit,
        )
        predictor = Predictor(
            Bundle(partial, config), network, gate, neighbours, segmenter, upright
        )
        rows = [_predictions(predictor, validation, folder)]
        if segmenter is not None:
            config["cautions"]["map_in_lungs"] = _map_limit(rows[0])
        log("Predicting the test images ...")
        test = outputs(test_images)
        rows.append(_predictions(predictor, test, folder))
        predictions = pd.concat(rows, ignore_index=True)
        predictions.to_csv(partial / bundles.PREDICTIONS, index=False)
        config["neighbours_report"] = count_contradictions(
            neighbours.nearest(validation.features),
            list(validation_images.table["label"]),
            list(predictions.loc[predictions["fold"] == "validation", "verdict"]),
        )
        config["storage"] = provenance.storage
        if provenance.storage is None:
            log("Predicting validation and test images with the weights before rounding ...")
            rounded = network.get_weights()
            network.set_weights(trained)
            before = [outputs(images).logit for images in (validation_images, test_images)]
            network.set_weights(rounded)
            after = [validation.logit, test.logit]
            config["storage"] = _rounding(
                np.concatenate(before), np.concatenate(after), calibration
            )
        log("Predicting changed versions of the test images ...")

        def predict_logits(inputs: ImageSet) -> np.ndarray:
            return run_network(two_outputs, inputs, inputs).logit

        if drawn is None and segmenter is not None:
            found = np.asarray(pipeline.add_lung_masks(test_images, segmenter).masks)
            drawn = LungMasks("predicted", found[..., 0])
        config["robustness"] = {
            "changed": measure_changes(
                test_images,
                test.logit,
                lambda images: model_inputs(images, segmenter, recipe),
                predict_logits,
                calibration,
            ),
            **measure_hidden(test_images, drawn, predict_logits, calibration),
        }
        if external is not None:
            log("Predicting the images of other hospitals ...")
            config["external"] = measure_external(predictor, external)
        config["metrics"] = {"shifted_validation": _shifted_summary(copies, calibration)}
        measured.to_csv(partial / bundles.DATASET, index=False)
        save_averages(average_images(measured, folder), partial / bundles.AVERAGES)
        provenance.history.to_csv(partial / bundles.HISTORY, index=False)
        write_results(partial, config, predictions, provenance.history)
    return open_bundle(target)


def finish_again(
    bundle: Bundle,
    folder: Path,
    *,
    lungs: str = LUNGS,
    skip_unreadable: bool = False,
    notes: str | None = None,
    masks: Path | None = None,
    external: Path | None = None,
    log: Callable[[str], None] = print,
) -> Bundle:
    """Rebuild a bundle from its weights and the dataset that it was trained on.

    Training and validation images that were left out stay left out. A test image that could not be
    read before is included if it can be read now.

    Parameters
    ----------
    bundle : Bundle
        The bundle; it is replaced.
    folder : pathlib.Path
        The dataset's folder.
    lungs : str
        Name of the bundle beside this one whose lung network is copied into it, or "none".
    skip_unreadable : bool
        Leave out further images that cannot be read.
    notes : str, optional
        Replaces the bundle's notes in the model card (Markdown).
    masks, external
        As for `finish`.
    log : callable
        Receives one line of text per step.

    Returns
    -------
    Bundle

    Raises
    ------
    DatasetError
        Images cannot be read.
    BundleError
        The images or their folds are not those of the training, or the lung network is missing.
    """
    config = bundle.config
    lung_bundle = find_lungs(bundle.folder.parent, lungs, bundle.recipe)
    facts = {key: config[key] for key in ("created", "libraries", "seed", "git_commit", "limit")}
    # Older bundles have no split seed; their split was drawn with the training's seed.
    facts["split_seed"] = config.get("split_seed", config["seed"])
    facts["training"] = config["training"]
    if notes or config.get("notes"):
        facts["notes"] = notes or config["notes"]
    held_out = None
    if part := config.get("cross_validation"):
        facts["cross_validation"] = part
        held_out = part["fold"], part["folds"]
    index = build_index(folder, seed=facts["split_seed"], held_out=held_out)
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
            f"The images in {folder} are not those that {bundle.name} was trained on, so the "
            "bundle cannot be rebuilt from them."
        )
    check_classes(loaded.index)
    unreadable = sorted({*index["path"][left_out], *loaded.unreadable})
    loaded = replace(loaded, unreadable=tuple(unreadable))
    network = bundle.load_network()
    for layer, row in zip(network.layers, config["layers"], strict=True):
        layer.trainable = row["trained"]
    provenance = Provenance(bundle.recipe, bundle.history(), facts, config["storage"])
    return finish(
        network,
        provenance,
        loaded,
        folder,
        bundle.folder,
        lungs=lung_bundle,
        masks=masks,
        external=external,
        log=log,
    )


def _open_lungs(name: str, partial: Path, config: dict[str, Any]) -> LungSegmenter | None:
    """Load the copy of the lung network in a new bundle, and check that the recipe has what it
    needs."""
    segmenter = Bundle(partial, config).load_lungs()
    if segmenter is None and config["recipe"]["lung_margin"] > 0:
        raise BundleError(f"The model {name} crops images to the lungs: it needs a lung network.")
    return segmenter


def _same_images(known: pd.DataFrame, loaded: Loaded, recorded: list[str]) -> bool:
    """Whether the images are those of the training, except those unreadable then or now."""
    now = pd.concat([images.table for images in loaded.folds.values()])
    now = now[~now["path"].isin(recorded)]
    known = known[~known["path"].isin(loaded.unreadable)]
    return all(
        fingerprint(now[now["fold"] == fold]) == fingerprint(known[known["fold"] == fold])
        for fold in FOLDS
    )


def _some(images: ImageSet, count: int) -> ImageSet:
    """At most `count` of the images, evenly spaced."""
    rows = np.unique(np.linspace(0, len(images) - 1, count).round().astype(int))
    return ImageSet(images.table.iloc[rows], images.pixels[rows], images.label[rows])


def _engine_parity(bundle: Bundle, inputs: ImageSet, logit: np.ndarray) -> dict[str, Any] | None:
    """What OpenVINO changes in the logits (N,) of TensorFlow; None if it is not installed."""
    if choose_engine() != "openvino":
        return None
    forward = compile_graph(bundle.load_graph().model)
    other = np.concatenate([forward(batch)[1][:, 0] for batch in image_batches(inputs)])
    return {"images": len(logit), "largest_logit_difference": float(np.abs(other - logit).max())}


def _plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as it is read from `config.json`."""
    plain: dict[str, Any] = json.loads(json.dumps(recipe.to_dict()))
    return plain


def _trained_prior(recipe: Recipe, index: pd.DataFrame) -> float:
    """The share of pneumonia in the training loss, including weights."""
    if recipe.imbalance != "none":
        return 0.5
    return float((index.loc[index["fold"] == "train", "label"] == PNEUMONIA).mean())


def _predictions(predictor: Predictor, outputs: Outputs, folder: Path) -> pd.DataFrame:
    """The rows of `predictions.csv` for one fold: the app's results for these files.

    Images that the pixel checks refuse also get log-odds, from the network directly.
    """
    table = predict_labelled(predictor, outputs.images.table, folder)
    damaged = list(table.loc[table["verdict"] == "UNREADABLE", "file"])
    if damaged:
        raise DatasetError(
            f"Images can no longer be read ({list_paths(damaged)}): restore them and run the same "
            "command again; after a training, with --resume."
        )
    refused = table["logit"].isna()
    table.loc[refused, "logit"] = outputs.logit[refused].astype(np.float64).round(6)
    calibrated = predictor.calibration.probability(table.loc[refused, "logit"]).round(6)
    table.loc[refused, "probability"] = calibrated
    return table


def _shifted_summary(copies: Outputs, calibration: Calibration) -> dict[str, Any]:
    """The metrics on the validation images and their shifted copies."""
    probability = calibration.probability(copies.logit)
    table = copies.images.table.assign(
        probability=probability,
        verdict=[calibration.verdict(p) for p in probability],
        gate="passed",
    )
    return summary(table, calibration, "validation")


def _rounding(before: np.ndarray, after: np.ndarray, calibration: Calibration) -> dict[str, Any]:
    """The effect of half-precision kernels on all validation and test images."""
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
    """The 99th percentile of the larger class probability over the validation images."""
    return float(np.quantile(np.maximum(probability, 1 - probability), SURE_QUANTILE))


def _map_limit(predictions: pd.DataFrame) -> float:
    """The 5th percentile of the share of a map in the lungs, at most the default limit.

    Of validation images with pneumonia: a map of the pneumonia score has no target in others. Above
    one half the caution, that the map lies mostly outside the lungs, would be false.
    """
    shares = predictions.loc[
        (predictions["label"] == PNEUMONIA) & (predictions["verdict"] != NORMAL), "map_in_lungs"
    ].dropna()
    highest = wording.LIMITS["map_in_lungs"]
    return min(highest, float(shares.quantile(MAP_QUANTILE))) if len(shares) else highest
