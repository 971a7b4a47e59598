"""Sockets, sessions and keys: who is connected, and who may."""
