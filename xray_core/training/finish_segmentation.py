"""Finishing the bundle of a segmentation: limits of the lung fields, masks compared, results.

All this needs the network, the dataset and the masks. What follows from the stored comparison is in
`segmentation_results.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from xray_core.dataset.index import FOLDS, build_index, limit_index
from xray_core.errors import BundleError
from xray_core.model import bundle as bundles
from xray_core.model import bundle_writing
from xray_core.model.architectures import describe_layers
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.lungs import LungLimits, Mask, clean_mask, measure_fields, overlap
from xray_core.model.recipes import INPUT_SIZE
from xray_core.training.batches import image_batches
from xray_core.training.data import ImageSet, Loaded, load_images, mask_fingerprint
from xray_core.training.finish import Provenance
from xray_core.training.masks import without_mask
from xray_core.training.outputs import check_finite
from xray_core.training.results import dataset_facts
from xray_core.training.segmentation_results import write_results


def finish_segmentation(
    network: keras.Model,
    provenance: Provenance,
    loaded: Loaded,
    missing: Sequence[str],
    target: Path,
    *,
    log: Callable[[str], None] = print,
) -> Bundle:
    """Write the bundle of a trained segmentation.

    The test fold is predicted once, after the limits of the lung fields are fixed.

    Parameters
    ----------
    network : keras.Model
        The trained network in float32; it ends with the weights as stored.
    provenance : Provenance
        How it was trained.
    loaded : Loaded
        The decoded images, with masks.
    missing : sequence of str
        Paths of the images that were left out because they have no mask.
    target : pathlib.Path
        The bundle's folder; an existing bundle is replaced.
    log : callable
        Receives one line of text per step.

    Returns
    -------
    Bundle

    Raises
    ------
    BundleError
        An output of the network is not finite.
    """
    with bundle_writing.writing(target) as partial:
        storage = provenance.storage
        if storage is None:
            log("Predicting the validation images with the weights before rounding ...")
            before = _compare(network, loaded.folds["validation"])
        bundle_writing.save_weights(network, partial / bundles.WEIGHTS)
        network.load_weights(partial / bundles.WEIGHTS)
        log("Predicting the training images ...")
        fields = [measure_fields(mask) for mask in predict_masks(network, loaded.folds["train"])]
        limits = LungLimits.fit(fields)
        log("Predicting the validation images ...")
        validation = _compare(network, loaded.folds["validation"])
        if storage is None:
            change = (validation["dice"] - before["dice"]).abs()
            storage = {
                "kernels": "float16",
                "images": len(validation),
                "largest_dice_change": float(change.max()),
            }
        log("Predicting the test images ...")
        test = _compare(network, loaded.folds["test"])
        weights_hash = bundles.sha256(partial / bundles.WEIGHTS)
        config: dict[str, Any] = {
            "kind": "segmentation",
            "name": target.name,
            "version": f"{provenance.facts['created']}-{weights_hash[:8]}",
            "recipe": provenance.recipe.to_dict(),
            "input_size": list(INPUT_SIZE),
            "lungs": {"limits": limits.to_dict()},
            "layers": describe_layers(network),
            "dataset": _facts(loaded, missing),
            "storage": storage,
            **provenance.facts,
        }
        table = pd.concat([validation, test], ignore_index=True)
        table.to_csv(partial / bundles.SEGMENTATION, index=False)
        provenance.history.to_csv(partial / bundles.HISTORY, index=False)
        write_results(partial, config, table)
    return open_bundle(target, kind="segmentation")


def finish_segmentation_again(
    bundle: Bundle,
    folder: Path,
    masks: Path,
    *,
    notes: str | None = None,
    log: Callable[[str], None] = print,
) -> Bundle:
    """Rebuild the bundle of a segmentation from its weights, and the images and masks it had.

    Parameters
    ----------
    bundle : Bundle
        The bundle; it is replaced.
    folder, masks : pathlib.Path
        The folders of the dataset and of the masks.
    notes : str, optional
        Replaces the bundle's notes in the model card (Markdown).
    log : callable
        Receives one line of text per step.

    Returns
    -------
    Bundle

    Raises
    ------
    DatasetError
        Images or masks cannot be read.
    BundleError
        The images, their folds or the masks are not those of the training.
    """
    config = bundle.config
    facts = {
        key: config[key]
        for key in ("created", "libraries", "seed", "split_seed", "limit", "git_commit", "training")
    }
    if notes or config.get("notes"):
        facts["notes"] = notes or config["notes"]
    index = build_index(folder, seed=facts["split_seed"])
    missing = without_mask(index, masks)
    index = index[~index["path"].isin(missing)]
    if facts["limit"] is not None:
        index = limit_index(index, facts["limit"], facts["split_seed"])
    unreadable = config["dataset"]["unreadable"]
    loaded = load_images(index[~index["path"].isin(unreadable)], folder, masks=masks)
    loaded = Loaded(loaded.index, loaded.folds, tuple(unreadable))
    if _facts(loaded, missing) != config["dataset"]:
        raise BundleError(
            f"The images in {folder} or the masks in {masks} are not those that {bundle.name} was "
            "trained on, so the bundle cannot be rebuilt from them."
        )
    network = bundle.load_network()
    for layer, row in zip(network.layers, config["layers"], strict=True):
        layer.trainable = row["trained"]
    provenance = Provenance(bundle.recipe, bundle.history(), facts, config["storage"])
    return finish_segmentation(network, provenance, loaded, missing, bundle.folder, log=log)


def predict_masks(network: keras.Model, images: ImageSet) -> Iterator[Mask]:
    """Predict the cleaned mask of every image, in order.

    Parameters
    ----------
    network : keras.Model
        A segmentation.
    images : ImageSet

    Yields
    ------
    numpy.ndarray
        bool (224, 224), as `clean_mask` returns it.

    Raises
    ------
    BundleError
        An output of the network is not finite.
    """
    for pixels in image_batches(images):
        probability = network.predict_on_batch(pixels)
        check_finite(probability)
        yield from (clean_mask(one[..., 0]) for one in probability)


def _compare(network: keras.Model, images: ImageSet) -> pd.DataFrame:
    """The rows of `segmentation.csv` for one fold."""
    if images.masks is None:
        raise ValueError("These images have no masks.")
    table = images.table[["path", "fold", "label", "subtype", "patient"]]
    table = table.rename(columns={"path": "file"}).reset_index(drop=True)
    pairs = list(zip(predict_masks(network, images), images.masks[..., 0], strict=True))
    scores = np.array([overlap(mask, reference) for mask, reference in pairs])
    table["dice"], table["iou"] = scores.T.round(6)
    table["area"] = [round(float(mask.mean()), 6) for mask, _ in pairs]
    table["reference_area"] = [round(float(reference.mean()), 6) for _, reference in pairs]
    return table


def _facts(loaded: Loaded, missing: Sequence[str]) -> dict[str, Any]:
    """The images and masks of a segmentation for `config.json`."""
    tables = pd.concat([loaded.folds[fold].table for fold in FOLDS])
    return {
        **dataset_facts(tables, loaded.unreadable),
        "without_mask": list(missing),
        "masks": {fold: mask_fingerprint(loaded.folds[fold]) for fold in FOLDS},
    }
