"""The image viewer: the Python side, its script and its style sheet."""
