"""A picture as overlapping squares, and the squares' results as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Box = tuple[slice, slice]
"""Rows and columns of a picture."""

OVERLAP = 1 / 8
"""Least share of a square's side that it has in common with the next."""


def tiles_of(height: int, width: int, side: int) -> list[Box]:
    """Squares of `side` pixels that cover the picture, spread evenly; a side longer than the picture's is cut
    to it.
    """
    return [(rows, columns) for rows in _spans(height, side) for columns in _spans(width, side)]


def blended(boxes: Sequence[Box], parts: Sequence[Array], height: int, width: int) -> Array:
    """One picture [height, width, channels]. Where squares overlap, each counts by the distance from its own
    edge.
    """
    total = np.zeros((height, width, parts[0].shape[-1]), np.float32)
    weight = np.zeros((height, width, 1), np.float32)
    for box, part in zip(boxes, parts, strict=True):
        share = np.minimum.outer(_ramp(part.shape[0]), _ramp(part.shape[1]))[..., None]
        total[box] += part * share
        weight[box] += share
    out: Array = total / weight
    return out


def _spans(length: int, side: int) -> list[slice]:
    if length <= side:
        return [slice(0, length)]
    count = 1 + int(np.ceil((length - side) / (side * (1 - OVERLAP))))
    starts = np.linspace(0, length - side, count).round().astype(int)
    return [slice(int(start), int(start) + side) for start in starts]


def _ramp(length: int) -> Array:
    """Rises from each end over the overlap, and is 1 between."""
    place = np.arange(length, dtype=np.float32) + np.float32(0.5)
    edge = np.minimum(place, length - place)
    ramp: Array = np.minimum(edge / np.float32(max(1.0, length * OVERLAP)), np.float32(1))
    return ramp
