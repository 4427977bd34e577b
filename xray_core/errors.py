"""The exceptions of this project. Every message is a sentence for the user who sees it."""


class XrayError(Exception):
    """Base class. Pages and commands show the message unchanged."""


class UnreadableImage(XrayError):
    """A file cannot be read as an image. The message states why, for a clinician."""


class DatasetError(XrayError):
    """A dataset folder is missing, empty or inconsistent."""


class RecipeError(XrayError):
    """A recipe, one of its fields or the initial weights are invalid."""


class BundleError(XrayError):
    """The folder of a trained model is missing, incomplete or changed, or its name is taken."""


class PacsError(XrayError):
    """A PACS is not configured, cannot be reached, or gave a response that cannot be used."""


class MissingPackage(XrayError):
    """An optional package is not installed. The message has the command that installs it."""
