"""Pixels that no other frame shows."""
