"""Images that are in a dataset more than once, as equal bytes or as nearly the same picture."""

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
    "near": ("nearly the same picture", "near-copies"),
}


def duplicate_findings(table: pd.DataFrame) -> list[Finding]:
    """Return what is wrong with images that occur more than once, exact copies first."""
    exact = exact_groups(table)
    near = near_groups(table)
    findings = _findings(table, exact, "exact") + _findings(table, near, "near")
    if not findings:
        findings = [
            Finding(
                "duplicates",
                "fine",
                "No image is in the set twice, neither byte for byte nor nearly so.",
                0,
                "copies",
                "Compared by the SHA-256 of every file and by a 256-bit perceptual hash.",
            )
        ]
    return findings


def exact_groups(table: pd.DataFrame) -> pd.Series:
    """Return a group number for each image that has byte-for-byte copies, NaN for all others."""
    content = table["sha256"].where(table["sha256"] != "")
    copied = content.duplicated(keep=False) & content.notna()
    groups = pd.Series(np.nan, index=table.index)
    groups[copied] = pd.factorize(content[copied])[0]
    return groups


def near_groups(table: pd.DataFrame) -> pd.Series:
    """Return a group number for each image that nearly equals one of other bytes, else NaN."""
    from scipy.cluster.hierarchy import DisjointSet  # a fifth of a second, not for all who import

    # Each hash is compared once, however many copies of an image share it.
    picture, hashes = pd.factorize(table["perceptual_hash"])
    alike = DisjointSet(range(len(hashes)))
    for one, other in near_pairs(pd.Series(hashes)):
        alike.merge(one, other)
    number = np.empty(len(hashes), int)
    for group_number, members in enumerate(alike.subsets()):
        number[list(members)] = group_number
    group = pd.Series(number[picture], index=table.index)
    contents = table["sha256"].groupby(group).transform("nunique")
    return group.where((contents > 1) & (table["perceptual_hash"] != ""))


def near_pairs(hashes: pd.Series, bits: int = NEAR_BITS) -> Iterator[tuple[int, int]]:
    """Yield positions (i < j) of hashes (64 hex digits, or "" to leave out) `bits` apart at most.

    All pairs are compared, a block at a time: 6,000 images take a tenth of a second, 100,000 half
    a minute.
    """
    known = np.flatnonzero((hashes != "").to_numpy())
    if not known.size:
        return
    packed = np.frombuffer(bytes.fromhex("".join(hashes.iloc[known])), np.uint64)
    words = packed.reshape(len(known), -1)  # (N, 4) of 64 bits
    for start in range(0, len(known), _BLOCK):
        block, others = words[start : start + _BLOCK], words[start:]
        apart = np.zeros((len(block), len(others)), np.uint16)
        for word in range(words.shape[1]):
            apart += np.bitwise_count(block[:, word, np.newaxis] ^ others[np.newaxis, :, word])
        for hit in np.flatnonzero(apart <= bits):
            row, column = divmod(int(hit), len(others))
            if column > row:
                yield int(known[start + row]), int(known[start + column])


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
            "grave",
            f"are {what} under both labels",
            "One of the two labels is wrong, and no model can learn or be judged on such images. "
            "Look at them and take out the wrong ones.",
        ),
        (
            "across",
            rest & facts["across"],
            "grave",
            f"are {what} on both sides of the test split",
            "A model that has seen a test image in training is graded on what it was told. Take "
            "the copies out of the training images.",
        ),
        (
            "folds",
            rest & ~facts["across"] & facts["in_folds"],
            "caution",
            f"are {what} on both sides of the validation fold",
            "Validation then looks better than it is, and with it every threshold taken from it.",
        ),
        (
            "within",
            rest & ~facts["across"] & ~facts["in_folds"],
            "note",
            f"are {what} within one fold",
            f"They count twice there and do no further harm: the folds keep {copies} together.",
        ),
    ]
    findings = []
    for name, chosen, severity, words, why in parts:
        rows = images[images["copies"].map(chosen)].sort_values(["copies", "path"])
        if len(rows):
            number = rows["copies"].nunique()
            title = f"{len(rows)} images {words} ({number} {'groups' if number > 1 else 'group'})."
            shown = rows[["copies", *IMAGE_COLUMNS]].reset_index(drop=True)
            shown["copies"] = pd.factorize(shown["copies"])[0] + 1
            findings.append(
                Finding(f"{kind}-{name}", severity, title, len(rows), "images", why, shown)
            )
    return findings
