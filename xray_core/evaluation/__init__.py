"""Judging a model: metrics with intervals, comparison of two models, figures. No TensorFlow."""
