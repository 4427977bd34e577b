"""The sections of the Prediction page."""
