"""Screening on several computers."""
