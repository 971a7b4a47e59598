"""Files in and results out, by their hash."""
