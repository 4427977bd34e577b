"""The vocabulary of the project: "image", "radiograph" and "case" replace an older word."""

import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
FOLDERS = ("xray_core", "ui", "pages", "tests", "benchmarks", "docs", "models", ".streamlit")
SUFFIXES = {".py", ".md", ".toml", ".txt", ".js", ".css", ".html", ".yml", ".yaml", ".json", ".csv"}
REPLACED = re.compile("fi" + "lm", re.IGNORECASE)
# The conversion of bundles of format 1, whose names are given, and its tests.
CONVERSION = {
    "xray_core/dataset/averages.py",
    "xray_core/model/bundle_format_1.py",
    "tests/model/test_bundle.py",
    "tests/model/test_format_1.py",
}
FORMAT_1 = '"format": 1,'


def texts() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every file of the project that is read by people."""
    paths = [path for path in REPOSITORY.iterdir() if path.is_file()]
    paths += [path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*")]
    for path in paths:
        if path.suffix in SUFFIXES or path.name == "Makefile":
            name = path.relative_to(REPOSITORY).as_posix()
            yield name, path.read_text(encoding="utf-8", errors="replace")


def test_no_text_uses_the_replaced_word() -> None:
    uses = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in texts()
        if name not in CONVERSION and FORMAT_1 not in text[:100]
        for number, line in enumerate(text.splitlines(), start=1)
        if REPLACED.search(line)
    ]
    assert uses == []


def test_no_file_is_named_with_the_replaced_word() -> None:
    assert [name for name, _ in texts() if REPLACED.search(name)] == []
