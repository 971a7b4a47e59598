"""Reads and writes OpenEXR without altering kept data."""
