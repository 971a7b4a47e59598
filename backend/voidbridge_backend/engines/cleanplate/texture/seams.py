"""Joins copies to each other and to what is known, without a seam.

The method is that of Perez, Gangnet and Blake, "Poisson Image Editing", 2003.
The gradient of the copies is kept, and between two copies that of both. A large step between them is no seam but an
edge of the picture, and stays. All pictures are the reduced one, logarithmic, [height, width, 3].
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import Floats

STEP = 0.067
"""Encoded difference between two copies from which on it is an edge; half of it, and it is a seam."""
CYCLES, ROUNDS, SMALLEST = 4, 20, 8
"""Multigrid cycles, rounds of each on every scale, and the side of the smallest picture."""
CROSS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)
WAYS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def healed(picture: Floats, gap: Mask, offset: NDArray[np.intp]) -> tuple[Floats, float]:
    """(`picture` with the `gap` filled by copies, mean squared step between copies in the gap).

    Each pixel is copied from its `offset` [height, width, 2] (y, x), which is 0 where there is no copy.
    """
    grid = np.moveaxis(np.mgrid[: gap.shape[0], : gap.shape[1]], 0, -1)
    copies = _seen(picture, grid + offset)
    wanted = np.zeros_like(picture)
    step = np.zeros(gap.shape, np.float32)
    for way in WAYS:
        there = np.clip(grid + way, 0, np.array(gap.shape) - 1)
        beside = there[..., 0], there[..., 1]
        own, own_known = _slope(picture, gap, grid, offset, way)
        other, other_known = _slope(picture, gap, grid, offset[beside], way)
        count = own_known + other_known
        # Nothing lies beyond the picture's edge, and nothing has to fit there.
        within = (there == grid + way).all(-1)[..., None]
        slope = within * (own + other) / np.maximum(count, 1)[..., None]
        jump = copies[beside] - copies - slope
        size = np.abs(jump).max(-1)
        step += np.square(size) * (count > 0)
        edge = np.clip(size / STEP * 2 - 1, 0, 1)[..., None]
        wanted += slope + edge * jump
    start = np.where(gap[..., None], copies, picture)
    return _solved(start, gap, wanted), float(step[gap].mean())


def _seen(picture: Floats, at: NDArray[np.intp]) -> Floats:
    inside = np.clip(at, 0, np.array(picture.shape[:2]) - 1)
    return np.asarray(picture[inside[..., 0], inside[..., 1]], np.float32)


def _slope(
    picture: Floats,
    gap: Mask,
    grid: NDArray[np.intp],
    offset: NDArray[np.intp],
    way: tuple[int, int],
) -> tuple[Floats, Floats]:
    """The slope one `way` of what lies at the `offset`, and 1 where both of its pixels are known, else 0."""
    here = grid + offset
    there = here + way
    legal = np.ones(gap.shape, bool)
    for at in (here, there):
        inside = np.clip(at, 0, np.array(gap.shape) - 1)
        legal &= (inside == at).all(-1) & ~gap[inside[..., 0], inside[..., 1]]
    slope = np.where(legal[..., None], _seen(picture, there) - _seen(picture, here), 0)
    return slope, legal.astype(np.float32)


def _solved(filled: Floats, gap: Mask, wanted: Floats) -> Floats:
    """`filled` with the sum of slopes `wanted` at each pixel of the `gap` (Poisson's equation), by multigrid."""
    for _ in range(CYCLES):
        _relax(filled, gap, -wanted)
        left = 4 * (_around(filled) - filled) - wanted
        filled += _corrected(np.where(gap[..., None], left, 0).astype(np.float32), gap)
    _relax(filled, gap, -wanted)
    return filled


def _corrected(left: Floats, gap: Mask) -> Floats:
    """What takes away the rest that is `left` in the `gap`, about."""
    change = np.zeros_like(left)
    height, width = gap.shape
    if min(height, width) >= SMALLEST and gap.any():
        size = (width + 1) // 2, (height + 1) // 2
        within = cv2.resize(gap.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
        coarse = 4 * cv2.resize(left, size, interpolation=cv2.INTER_AREA) * within[..., None]
        half = _corrected(coarse.astype(np.float32), within)
        change[gap] = cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)[gap]
    _relax(change, gap, left)
    return change


def _relax(filled: Floats, gap: Mask, pushed: Floats) -> None:
    for _ in range(ROUNDS):
        filled[gap] = (_around(filled) + pushed / 4)[gap]


def _around(picture: Floats) -> Floats:
    """The mean of each pixel's four neighbors."""
    return np.asarray(cv2.filter2D(picture, -1, CROSS, borderType=cv2.BORDER_REPLICATE), np.float32)
