"""What can go wrong, each with a message written for the person who meets it."""


class XrayError(Exception):
    """Base of the errors that are shown as they are: the message is a sentence."""


class UnreadableImage(XrayError):
    """A file is no image that can be read; the message says why, in a clinician's words."""


class DatasetError(XrayError):
    """A dataset folder is missing, empty or contradicts itself."""


class RecipeError(XrayError):
    """A recipe, one of its fields or the starting weights do not fit."""


class BundleError(XrayError):
    """A trained model's folder is missing, incomplete, changed, or its name is taken."""
