"""Opening an image on the server's disk: an example, a test image, or one from another page."""

import random
from pathlib import Path

import streamlit as st

from ui.common.folders import find_shown_dataset, may_show
from ui.common.models import load_bundle
from ui.prediction.cases import Visit
from xray_core.dataset.index import LABELS, subtype_of
from xray_core.errors import DatasetError
from xray_core.model.bundle import DATASET, PREDICTIONS, Bundle

_FOLDS = {
    "train": "Training image (the model was trained on it)",
    "validation": "Validation image (the thresholds of the model were chosen on it)",
    "test": "Test image",
    "": "Dataset image that the model was neither trained nor tested on",
}
_SUBTYPES = {"bacteria": ", bacterial", "virus": ", viral", "none": ""}


def open_case(visit: Visit, path: Path, *, origin: str = "", file: str | None = None) -> None:
    """Open an image on disk, or show a brief message why it cannot be opened.

    `file` is its path inside the dataset's folder, if it belongs to the dataset.
    """
    try:
        data = path.read_bytes()
    except OSError:
        st.toast(
            "The image is no longer where it was; is the dataset still there?",
            icon=":material/error:",
        )
        return
    visit.open(data, origin=origin, file=file)


def open_requested(visit: Visit) -> None:
    """Open the image that another page requested."""
    path = st.session_state.get("open_path")
    if path:
        if may_show(Path(path)):
            open_case(visit, Path(path), origin="Opened image", file=_file_in_dataset(Path(path)))
        else:
            st.toast("This image cannot be opened here.", icon=":material/error:")
        del st.session_state["open_path"]


def describe_origins(visit: Visit, model: str) -> None:
    """Set the origin of each image of the dataset, for the chosen model, a bundle's name."""
    for case in visit.cases:
        if case.file is not None:
            case.origin = _origin(model, case.file)


def test_images(bundle: Bundle) -> list[tuple[Path, str]]:
    """Return the images of the test split that are on this disk.

    Each is its path, and its path inside the dataset's folder.
    """
    try:
        folder = find_shown_dataset()
    except DatasetError:
        return []
    table = bundle.predictions()
    files = table["file"][table["fold"] == "test"]
    return [(folder / file, file) for file in files if (folder / file).is_file()]


def open_random(visit: Visit, images: list[tuple[Path, str]]) -> None:
    """Open a random one of `test_images`."""
    path, file = random.choice(images)
    open_case(visit, path, file=file)


def _file_in_dataset(path: Path) -> str | None:
    """Return a file's path inside the dataset's folder, None for a file elsewhere."""
    try:
        return path.resolve().relative_to(find_shown_dataset().resolve()).as_posix()
    except (DatasetError, ValueError):
        return None


def _origin(model: str, file: str) -> str:
    """Return the fold of a dataset's image in the training of a model, and its label."""
    bundle = load_bundle(model)
    state = bundle.config["files"][DATASET] + bundle.config["files"][PREDICTIONS]
    fold = _FOLDS.get(_folds(state, bundle).get(file, ""), _FOLDS[""])
    label = Path(file).parent.name
    if label not in LABELS:
        return fold
    subtype = subtype_of(file) if label == "PNEUMONIA" else "none"
    return f"{fold}, label: {label.lower()}{_SUBTYPES[subtype]}"


@st.cache_resource(max_entries=8, show_spinner=False)
def _folds(state: str, _bundle: Bundle) -> dict[str, str]:
    """Return the fold of every image that a model was trained or tested on, by its path."""
    predicted = _bundle.predictions().rename(columns={"file": "path"})
    rows = [*_bundle.dataset().to_dict("records"), *predicted.to_dict("records")]
    return {row["path"]: str(row.get("fold", "train")) for row in rows}
