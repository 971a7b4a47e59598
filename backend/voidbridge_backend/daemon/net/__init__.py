"""Sockets, sessions and keys: connected clients and their rights."""
