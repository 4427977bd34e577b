"""Predictions for one image or many, with maps, cautions, reports and tables."""
