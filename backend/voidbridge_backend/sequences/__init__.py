"""File sequences: patterns, frame ranges, consistency."""
