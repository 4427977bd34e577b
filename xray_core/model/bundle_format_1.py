"""Bundles of format 1, whose `config.json` has other names."""

from __future__ import annotations

from typing import Any


def convert_format_1(config: dict[str, Any]) -> dict[str, Any]:
    """Convert the `config.json` of a bundle of format 1 to the names of format 2.

    Format 1 calls images "films", the decision threshold `main`, the exclusion threshold
    `rule_out`, and the input layer `film`. Some natural frequencies have
    other names. It has no `kind`, because all bundles were classifiers.

    Parameters
    ----------
    config : dict
        A parsed `config.json`, checked by `bundle_checks.parse_config` only. It is not changed.

    Returns
    -------
    dict
        The same values under the names of format 2. They are not checked here.
    """
    names = {
        "main": "decision_threshold",
        "rule_out": "exclusion_threshold",
        "called": "detected",
        "cleared": "correctly_negative",
        "flagged": "wrongly_flagged",
    }

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                names.get(key, key.replace("film", "image")): convert(item)
                for key, item in value.items()
            }
        return [convert(item) for item in value] if isinstance(value, list) else value

    # The keys of `files` are names of files, which stay as they are.
    converted = {
        **convert({key: value for key, value in config.items() if key != "files"}),
        "format": 2,
        "kind": "classifier",
    }
    if "files" in config:
        converted["files"] = config["files"]
    layers = converted.get("layers")
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, dict) and layer.get("name") == "film":
            layer["name"] = "image"
    return converted
