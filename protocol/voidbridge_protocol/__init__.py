"""What Voidbridge's client and daemon say to each other. Standard library and pyzmq only."""

__version__ = "0.1.0"
"""Of Voidbridge as a whole; `PROTOCOL` in `messages` has a version of its own."""
