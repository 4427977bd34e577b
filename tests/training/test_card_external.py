"""The card's section on other hospitals states the numbers, and what they rest on."""

from typing import Any

from xray_core.training.card_external import other_hospitals


def share(value: float | None) -> dict[str, Any]:
    return {"value": value, "low": None if value is None else 0.0, "high": value and 1.0}


def row(label: str, by: str = "", group: str = "", **changes: Any) -> dict[str, Any]:
    shares = {
        "refused": 0.1,
        "indeterminate": 0.4,
        "unlike": 0.25,
        "firm": 0.5,
        "right": 0.75,
        "pneumonia": 0.2,
    }
    return {
        "label": label,
        "by": by,
        "group": group,
        "images": 40,
        "patients": 30,
        "firm_images": 20,
        **{name: share(value) for name, value in shares.items()},
        **changes,
    }


def clinic(**changes: Any) -> dict[str, Any]:
    return {
        "set": "clinic",
        "images": 120,
        "patients": 90,
        "unreadable": 0,
        "roc_auc": {"value": 0.9, "low": 0.8, "high": 0.95, "images": 72},
        "rows": [
            row("NORMAL"),
            row("NORMAL", "view", "AP", right=share(None)),
            row("PNEUMONIA", "age", "6 to 17"),
            row("", right=None),
        ],
        **changes,
    }


def test_without_external_images_the_section_says_so() -> None:
    assert other_hospitals(None).startswith("Not measured for this bundle.")
    assert "finish NAME --external DIR" in other_hospitals([])


def test_the_rows_have_all_shares_in_the_order_of_the_header() -> None:
    text = other_hospitals([clinic()])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == (
        "| images | number | not analysed | indeterminate | because unlike | firm | right | "
        "pneumonia suspected |"
    )
    interval = "(0% to 100%)"
    cells = [f"{value} {interval}" for value in ("10%", "40%", "25%", "50%", "75%", "20%")]
    assert lines[2] == f"| normal | 40 | {' | '.join(cells)} |"
    assert lines[3].startswith("| normal, view AP | 40 | ")
    assert lines[3].split(" | ")[6] == "-"  # no firm result, so none that could be right
    assert lines[4].startswith("| pneumonia, age 6 to 17 | 40 | ")
    assert lines[5].startswith("| no reliable label | 40 | ")
    assert lines[5].split(" | ")[6] == "-"
    assert "120 images of 90 patients." in text
    assert "ROC AUC 0.900 (0.800 to 0.950), on the 72 images" in text
    assert "could not be read" not in text


def test_a_set_of_one_class_is_said_to_be_one() -> None:
    text = other_hospitals([clinic(set="openist", roc_auc=None, rows=[row("NORMAL")])])
    assert "All labelled images are of one class" in text
    assert "OpenIST (github.com/pi-null-mezon/OpenIST)" in text
    assert "ROC AUC" not in text


def test_unreadable_images_are_stated() -> None:
    assert "3 further images could not be read" in other_hospitals([clinic(unreadable=3)])
