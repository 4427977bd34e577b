"""The Training page, from a simulated bundle."""

import pandas as pd
import pytest
from page_tools import page_text
from simulated_bundle import write_bundle

from ui.training.card import card_body, limits
from ui.training.tables import layer_table, provenance_table, recipe_table, stage_table


def test_the_page_shows_where_the_model_comes_from(open_page, models_folder):
    write_bundle(models_folder)
    at = open_page("training")

    assert not at.exception
    values = {m.label: m.value for m in at.metric}
    assert values["Best epoch"] == "6 of 8"
    assert values["Training date"] == "2026-11-20"
    assert "best epoch (6)" in page_text(at)
    assert "from one hospital" in page_text(at)
    tables = {table.value.columns[0]: table.value for table in at.dataframe}
    provenance = tables["Item"].set_index("Item")["Value"]
    assert provenance["Seed"] == "0"
    assert provenance["Git commit"] == "0123456789abcdef"
    assert provenance["Dataset: fingerprint (SHA-256)"].startswith("c0ffee")
    assert provenance["Library: tensorflow"] == "2.21.0"
    network = tables["Part"].set_index("Part")
    assert network.loc["conv1", "Trained"] == "frozen"
    assert network.loc["logit", "Parameters"] == 1025


def test_a_damaged_model_is_told_in_a_sentence(open_page, models_folder):
    folder = write_bundle(models_folder)
    (folder / "history.csv").write_text("changed")
    at = open_page("training")

    assert not at.exception
    assert "history.csv was changed" in page_text(at)


LAYERS = [
    {"name": "image", "type": "InputLayer", "shape": [224, 224, 1], "parameters": 0},
    {
        "name": "conv2_block1_1_conv",
        "type": "Conv2D",
        "shape": [56, 56, 64],
        "parameters": 4160,
        "trained": True,
    },
    {
        "name": "conv2_block1_1_bn",
        "type": "BatchNormalization",
        "shape": [56, 56, 64],
        "parameters": 256,
        "trained": False,
    },
]


def test_layers_say_what_they_do_and_whether_they_were_trained():
    table = layer_table(LAYERS).set_index("Layer")

    assert table.loc["conv2_block1_1_conv", "Operation"] == "convolution"
    assert table.loc["conv2_block1_1_conv", "Output"] == "56 x 56 x 64"
    assert table["Trained"].tolist() == ["", "trained", "frozen"]


def test_layers_of_one_stage_are_counted_together():
    table = stage_table(LAYERS).set_index("Part")

    assert table.loc["conv2", "Layers"] == 2
    assert table.loc["conv2", "Parameters"] == 4416
    assert table.loc["conv2", "Trained"] == "frozen and trained"


def test_what_was_not_recorded_is_said_so():
    table = provenance_table({"version": "1"}).set_index("Item")["Value"]

    assert table["Git commit"] == "not recorded"
    assert table["Version"] == "1"
    assert table["Split seed"] == "not recorded"
    assert table["Dataset: unreadable images left out"] == "not recorded"


def test_split_seed_and_left_out_images_are_shown():
    name = "train/NORMAL/IM-0001-0001.jpeg"
    config = {"split_seed": 3, "dataset": {"unreadable": [name]}}
    table = provenance_table(config).set_index("Item")["Value"]

    assert table["Split seed"] == "3"
    assert table["Dataset: unreadable images left out"] == f"1: {name}"
    config["dataset"]["unreadable"] = []
    table = provenance_table(config).set_index("Item")["Value"]
    assert table["Dataset: unreadable images left out"] == "none"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("augmentation: zoom", "0.85 to 1.2"),
        ("train backbone", "yes"),
        ("dense", "0"),
        ("backbone", "none"),
    ],
)
def test_a_recipe_is_readable(setting, value):
    table = recipe_table(
        {
            "summary": "left out",
            "train_backbone": True,
            "dense": 0,
            "backbone": None,
            "augmentation": {"zoom": [0.85, 1.2]},
        }
    )

    assert isinstance(table, pd.DataFrame)
    assert table.set_index("Setting").loc[setting, "Value"] == value


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("# a\n\n## Limits\n\n- one\n\n## Data\n\nx", ("Limits", "- one")),
        (
            "# a\n\n## What it must not be used for\n\n- any decision\n",
            ("What it must not be used for", "- any decision"),
        ),
        ("# a\n\n## Data\n\nno limits known\n", ("", "")),
    ],
)
def test_the_limits_are_found_in_the_card(card, expected):
    assert limits(card) == expected


def test_the_cards_title_is_left_to_the_page():
    assert card_body("---\nlicense: cc\n---\n# resnet50\n\nWords.") == "Words."


def test_the_cards_headings_stand_below_the_pages():
    card = "# m\n\n## Data\n\n### Split\n\n    ## no heading, but code\n"
    assert card_body(card) == "### Data\n\n#### Split\n\n    ## no heading, but code\n"


def test_limits_shown_above_are_not_repeated_in_the_card():
    card = "# m\n\nA.\n\n## What it must not be used for\n\n- Care.\n\n## Data\n\nB.\n"
    assert card_body(card) == "A.\n\n### Data\n\nB.\n"
    assert limits(card) == ("What it must not be used for", "- Care.")
