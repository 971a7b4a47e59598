"""Measures the quality of a result."""
