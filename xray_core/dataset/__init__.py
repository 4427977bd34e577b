"""The dataset: index, measurements, audit, statistics and download."""
