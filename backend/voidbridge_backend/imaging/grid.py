"""Quadmasks from mattes of objects, by the rules that VOID was trained with.

Masks are bool [height, width]. Affected areas are widened to whole cells of a grid with 8 cells on the short
side; removed pixels stay as they are. The first frame has no affected area. The rules are those of
Netflix/void-model's training data: cells of `int(i * size / n)`, set if any of their pixels is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .mattes.quadmask import AFFECTED, KEEP, OVERLAP, REMOVE

CELLS = 8
"""On the short side of the picture."""

Mask = NDArray[np.bool_]


def cells(height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of near-square cells; 16:9 has 8 x 14."""
    if width >= height:
        return CELLS, max(CELLS, round(CELLS * width / height))
    return max(CELLS, round(CELLS * height / width)), CELLS


def gridded(mask: Mask) -> Mask:
    """The mask widened to every cell that it touches."""
    height, width = mask.shape
    rows, columns = cells(height, width)
    tops = [row * height // rows for row in range(rows)]
    lefts = [column * width // columns for column in range(columns)]
    down = np.logical_or.reduceat(mask, np.unique(tops), axis=0)
    both = np.logical_or.reduceat(down, np.unique(lefts), axis=1)
    heights = np.diff([*np.unique(tops), height])
    widths = np.diff([*np.unique(lefts), width])
    return np.repeat(np.repeat(both, heights, axis=0), widths, axis=1)


def combined(remove: Mask, affected: Mask, *, is_first: bool, grid: bool) -> NDArray[np.uint8]:
    """Codes [height, width], uint8: 0 remove, 63 remove and affected, 127 affected, 255 keep."""
    codes = np.full(remove.shape, KEEP, np.uint8)
    if not is_first:
        codes[gridded(affected) if grid else affected] = AFFECTED
    codes[remove] = REMOVE
    if not is_first:
        codes[remove & affected] = OVERLAP
    return codes
