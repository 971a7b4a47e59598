"""EXR files that no plate is the model of."""
