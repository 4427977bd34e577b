"""Detection of pneumonia on chest X-rays: data, training, prediction and evaluation.

The public names are loaded on first use, so that `import xray_core` is fast. Only prediction and
training import TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xray_core.errors import (
        BundleError,
        DatasetError,
        RecipeError,
        UnreadableImage,
        XrayError,
    )
    from xray_core.imaging.pixels import to_model_input
    from xray_core.imaging.radiograph import Radiograph, read_radiograph
    from xray_core.model.bundle import Bundle, list_bundles, open_bundle
    from xray_core.prediction.predictor import Predictor
    from xray_core.prediction.result import Prediction

__version__ = "0.1.0"

_MODULES = {
    "XrayError": "errors",
    "UnreadableImage": "errors",
    "DatasetError": "errors",
    "RecipeError": "errors",
    "BundleError": "errors",
    "Radiograph": "imaging.radiograph",
    "read_radiograph": "imaging.radiograph",
    "to_model_input": "imaging.pixels",
    "Bundle": "model.bundle",
    "open_bundle": "model.bundle",
    "list_bundles": "model.bundle",
    "Prediction": "prediction.result",
    "Predictor": "prediction.predictor",
}

__all__ = [
    "Bundle",
    "BundleError",
    "DatasetError",
    "Prediction",
    "Predictor",
    "Radiograph",
    "RecipeError",
    "UnreadableImage",
    "XrayError",
    "__version__",
    "list_bundles",
    "open_bundle",
    "read_radiograph",
    "to_model_input",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
