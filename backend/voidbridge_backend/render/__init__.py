"""Renders one job, from files to files."""
