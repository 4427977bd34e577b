"""From the bytes of a file to a `Radiograph`, its checks and the model input."""
