"""The result of one image, as page, commands and reports use it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xray_core.imaging.adjustment import Adjustment
from xray_core.labels import SHOWN_AS, SHOWN_AS_UNLIKE, Verdict
from xray_core.model.calibration import PRIOR, shift_prior
from xray_core.model.gate import Outcome
from xray_core.model.lungs import Mask, resize_mask
from xray_core.model.neighbours import NearestImages
from xray_core.prediction import wording

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """The result of one image.

    Attributes
    ----------
    probability
        Calibrated probability of pneumonia in [0, 1]; None if refused or unreadable.
    verdict
        The result.
    reasons
        Sentences in the order in which they are shown: the reasons why the image was refused or is
        unreadable, or the cautions. They do not depend on `heatmap` or `method`.
    sentence
        The result explained, "" for a refused or unreadable image.
    accuracy_applies
        Whether the accuracy on the test set applies: the image passed the input check, and no
        caution concerns the image itself.
    heatmap
        The map, float32 (H, W) in [0, 1] at the size of the image; all zero where no area raised
        the score. None if it was not requested, or the image was refused.
    lung_mask
        The lungs in the whole image at the size of the model input, bool (224, 224). None if
        refused or unreadable, or if the model has no lung network. `lungs` has the image's size.
    map_in_lungs
        Share in [0, 1] of the Grad-CAM map's sum that lies inside the lungs, computed at the size
        of the model input, whether or not a map was requested. None without lungs, or where no area
        raised the score.
    image_shape
        Height and width of the image; None if refused or unreadable.
    model
        Name and version of the model.
    logit
        Log-odds of pneumonia as the network gives them, not calibrated.
    gate
        Outcome of the input check; None only for an unreadable file.
    gate_distance
        Squared distance to the training images, 1 where cautions begin; None if the pixels alone
        were refused.
    correction
        The suggested correction of an image that appears rotated or inverted, or has a border. An
        image that only has a border may have a probability too.
    neighbours
        The most similar training images; None if refused or unreadable.
    method
        Method of the map, one of `xray_core.prediction.explain.METHODS`.
    unlike
        Whether the result is UNCERTAIN by the model's rule for images unlike the training images.
        The probability then serves for ranking only.
    map_note
        A sentence on what the map shows.
    prior
        The pre-test probability at which `probability` is stated.
    adjustment
        A sentence on how the image was cropped, mirrored, rotated or inverted before the analysis,
        "" for an image as it was read.
    """

    probability: float | None
    verdict: Verdict
    reasons: tuple[str, ...]
    sentence: str = ""
    accuracy_applies: bool = False
    heatmap: FloatArray | None = field(default=None, compare=False, repr=False)
    lung_mask: Mask | None = field(default=None, compare=False, repr=False)
    map_in_lungs: float | None = None
    image_shape: tuple[int, int] | None = None
    model: str = ""
    logit: float | None = None
    gate: Outcome | None = None
    gate_distance: float | None = None
    correction: Adjustment | None = None
    neighbours: NearestImages | None = None
    method: str | None = None
    map_note: str | None = None
    unlike: bool = False
    prior: float = PRIOR
    adjustment: str = ""

    @property
    def shown_as(self) -> str:
        """The result in words, as page, PDF and tables show it."""
        return SHOWN_AS_UNLIKE if self.unlike else SHOWN_AS[self.verdict]

    @property
    def probability_note(self) -> str:
        """What limits the use of the probability; "" for a probability without limits."""
        return wording.RANKING_ONLY if self.unlike else ""

    @property
    def lungs(self) -> Mask | None:
        """The lungs, bool (H, W) at the size of the image; None as for `lung_mask`."""
        if self.lung_mask is None or self.image_shape is None:
            return None
        return resize_mask(self.lung_mask, self.image_shape)

    def post_test(self, pre_test: float) -> float | None:
        """Return the post-test probability of pneumonia.

        Parameters
        ----------
        pre_test
            The pre-test probability in (0, 1).

        Returns
        -------
        float or None
            In [0, 1]; None if the prediction has no probability, or one for ranking only.
        """
        if self.probability is None or self.unlike:
            return None
        shifted = shift_prior(np.asarray(self.probability), source=self.prior, target=pre_test)
        return float(shifted)
