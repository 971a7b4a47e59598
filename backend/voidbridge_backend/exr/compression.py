"""The compressions of OpenEXR, with the properties needed to check and split files. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Codec:
    """A compression of OpenEXR: rows of one chunk, and its best compression ratio.

    The ratio is measured on black 4K frames, plus a margin; a file that claims more is damaged or a bomb.
    `exact` is True if decoding gives back every bit of half, uint and float samples.
    """

    name: str
    rows: int
    ratio: int
    exact: bool


CODECS = (
    Codec("none", 1, 1, True),
    Codec("rle", 1, 70, True),
    Codec("zips", 1, 1100, True),
    Codec("zip", 16, 1100, True),
    Codec("piz", 32, 60_000, True),
    Codec("pxr24", 16, 2200, False),
    Codec("b44", 32, 60_000, False),
    Codec("b44a", 32, 60_000, False),
    Codec("dwaa", 32, 60_000, False),
    Codec("dwab", 256, 60_000, False),
    Codec("htj2k256", 256, 60_000, True),
    Codec("htj2k32", 32, 60_000, True),
    Codec("lj2k", 256, 60_000, False),
    Codec("zstd", 1, 60_000, True),
)
"""Indexed by the number that the file stores."""
