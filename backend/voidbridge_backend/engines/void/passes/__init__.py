"""The two passes: conditions, windows, steps and the detail pass."""
