"""Resampling, DeLong and intervals: one implementation each, used by every job."""
