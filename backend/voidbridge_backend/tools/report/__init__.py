"""Measures results from their files."""
