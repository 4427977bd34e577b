"""The sections of the Evaluation page."""
