"""Mattes and quadmasks as arrays."""
