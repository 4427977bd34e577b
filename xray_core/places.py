"""Where the app and the shipped models are: in a checkout, or in an installed package."""

import shlex
from pathlib import Path

MODELS = Path("models")
"""The default folder of the models, in the working directory."""

_CODE = Path(__file__).resolve().parent


def app_folder() -> Path:
    """Return the folder of `app.py`, `pages`, `ui` and `models`.

    In a checkout it is the folder of `xray_core`. An installed package holds the same files in
    `xray_core/_app`.
    """
    installed = _CODE / "_app"
    return installed if installed.is_dir() else _CODE.parent


def shipped_models() -> Path:
    """Return the folder of the models that come with the project."""
    return app_folder() / "models"


def how_to_open(models: Path) -> str:
    """Return the command that opens the app with the bundles in the folder `models`."""
    if app_folder() != _CODE.parent:
        return f"chest-xray app --models {shlex.quote(str(models))}"
    if models == MODELS:
        return "streamlit run app.py"
    return f"streamlit run app.py (with the environment variable XRAY_MODELS={models})"


def folder_with_model(name: str, models: Path) -> Path:
    """Return the folder in which the bundle `name` is searched.

    It is `models`, or that of the shipped models if `models` is the default folder and has no
    bundle of this name.
    """
    if models == MODELS and not (models / name).exists() and (shipped_models() / name).is_dir():
        return shipped_models()
    return models
