"""One file for support."""
