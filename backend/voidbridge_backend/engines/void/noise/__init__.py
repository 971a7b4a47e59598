"""The noise that a pass starts from."""
