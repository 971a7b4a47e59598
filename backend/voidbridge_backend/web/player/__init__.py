"""Frames and pictures of a shot, for the player."""
