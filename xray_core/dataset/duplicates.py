"""Duplicate images: byte-for-byte copies and near-duplicates by perceptual hash."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from xray_core.dataset.finding import IMAGE_COLUMNS, Finding

# Of the 256 bits of the perceptual hash. Copies that were recompressed, resized, brightened or
# blurred differ in 18 at most; the closest two different images of the Kaggle set differ in 36.
NEAR_BITS = 24
_BLOCK = 256  # images compared with all others at once: 256 x 100,000 distances are 50 MB

_KINDS = {
    "exact": ("byte-for-byte copies", "copies"),
    "near": ("near-duplicates", "near-duplicates"),
}


def duplicate_findings(table: pd.DataFrame) -> list[Finding]:
    """Find images that occur more than once; exact copies come first.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per image, as `dataset_table` returns it.

    Returns
    -------
    list of Finding
    """
    exact = exact_groups(table)
    near = near_groups(table)
    findings = _findings(table, exact, "exact") + _findings(table, near, "near")
    if not findings:
        findings = [
            Finding(
                "duplicates",
                "checked",
                "No duplicate images.",
                0,
                "copies",
                "Compared by the SHA-256 of each file and by a 256-bit perceptual hash.",
            )
        ]
    return findings


def exact_groups(table: pd.DataFrame) -> pd.Series:
    """Group byte-for-byte copies.

    Parameters
    ----------
    table : pandas.DataFrame
        With the column `sha256` ("" where the file could not be read).

    Returns
    -------
    pandas.Series
        A group number for each image that has copies, NaN for all others.
    """
    content = table["sha256"].where(table["sha256"] != "")
    copied = content.duplicated(keep=False) & content.notna()
    groups = pd.Series(np.nan, index=table.index)
    groups[copied] = pd.factorize(content[copied])[0]
    return groups


def near_groups(table: pd.DataFrame) -> pd.Series:
    """Group near-duplicates: similar perceptual hashes, different bytes.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns `sha256` and `perceptual_hash`.

    Returns
    -------
    pandas.Series
        A group number for each image that has near-duplicates, NaN for all others.
    """
    from scipy.cluster.hierarchy import DisjointSet  # imported here: it takes 0.2 s

    # Each hash is compared once, however many copies of an image share it.
    position, hashes = pd.factorize(table["perceptual_hash"])
    groups = DisjointSet(range(len(hashes)))
    for first, second in near_pairs(pd.Series(hashes)):
        groups.merge(first, second)
    number = np.empty(len(hashes), int)
    for group_number, members in enumerate(groups.subsets()):
        number[list(members)] = group_number
    group = pd.Series(number[position], index=table.index)
    contents = table["sha256"].groupby(group).transform("nunique")
    return group.where((contents > 1) & (table["perceptual_hash"] != ""))


def near_pairs(hashes: pd.Series, bits: int = NEAR_BITS) -> Iterator[tuple[int, int]]:
    """Find pairs of hashes that differ in few bits.

    All pairs are compared, a block at a time: 6,000 images take 0.1 s, 100,000 take 30 s.

    Parameters
    ----------
    hashes : pandas.Series of str
        64 hex digits each; "" is left out.
    bits : int
        Largest number of different bits.

    Yields
    ------
    tuple of int
        Positions (i, j) with i < j.
    """
    known = np.flatnonzero((hashes != "").to_numpy())
    if not known.size:
        return
    packed = np.frombuffer(bytes.fromhex("".join(hashes.iloc[known])), np.uint64)
    hash_words = packed.reshape(len(known), -1)  # (N, 4) of 64 bits
    for start in range(0, len(known), _BLOCK):
        block, others = hash_words[start : start + _BLOCK], hash_words[start:]
        distance = np.zeros((len(block), len(others)), np.uint16)
        for column in range(hash_words.shape[1]):
            distance += np.bitwise_count(
                block[:, column, np.newaxis] ^ others[np.newaxis, :, column]
            )
        for hit in np.flatnonzero(distance <= bits):
            i, j = divmod(int(hit), len(others))
            if j > i:
                yield int(known[start + i]), int(known[start + j])


def _findings(table: pd.DataFrame, groups: pd.Series, kind: str) -> list[Finding]:
    images = table.assign(copies=groups).dropna(subset="copies")
    if images.empty:
        return []
    images = images.assign(tested=images["split"] == "test")
    by_group = images.groupby("copies")
    facts = pd.DataFrame(
        {
            "conflict": by_group["label"].nunique() > 1,
            "across": by_group["tested"].nunique() > 1,
            "in_folds": by_group["fold"].nunique() > 1,
        }
    )
    what, copies = _KINDS[kind]
    rest = ~facts["conflict"]
    parts = [
        (
            "conflict",
            facts["conflict"],
            "serious",
            f"are {what} under both labels",
            "One of the two labels is wrong. Review the images and remove the mislabelled ones.",
        ),
        (
            "across",
            rest & facts["across"],
            "serious",
            f"are {what} on both sides of the test split",
            "Test results are too optimistic when training contains copies of test images. Remove "
            "the copies from the training images.",
        ),
        (
            "folds",
            rest & ~facts["across"] & facts["in_folds"],
            "caution",
            f"are {what} on both sides of the validation fold",
            "Validation results, and thresholds chosen on them, are then too optimistic.",
        ),
        (
            "within",
            rest & ~facts["across"] & ~facts["in_folds"],
            "note",
            f"are {what} within one fold",
            f"They count twice within the fold. There is no leakage: {copies} stay in one fold.",
        ),
    ]
    findings = []
    for name, selected, severity, description, why in parts:
        rows = images[images["copies"].map(selected)].sort_values(["copies", "path"])
        if len(rows):
            number = rows["copies"].nunique()
            groups_word = "groups" if number > 1 else "group"
            title = f"{len(rows)} images {description} ({number} {groups_word})."
            shown = rows[["copies", *IMAGE_COLUMNS]].reset_index(drop=True)
            shown["copies"] = pd.factorize(shown["copies"])[0] + 1
            findings.append(
                Finding(f"{kind}-{name}", severity, title, len(rows), "images", why, shown)
            )
    return findings
