"""Files become radiographs, and radiographs the model input."""
