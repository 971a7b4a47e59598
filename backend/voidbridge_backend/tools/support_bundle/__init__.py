"""Creates one file for support."""
