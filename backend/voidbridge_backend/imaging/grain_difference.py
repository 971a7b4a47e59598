"""Measures the difference of two frames without their motion: grain, and nothing of the picture.

Pixels are [height, width, 3], float32. Blocks are [n, side, side, 3]. Places are [n, 2]: the row and column of a
block's upper left pixel.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]
Floats = NDArray[np.float64]

COLUMNS = 640
"""Columns that the motion is seen at, at most."""
SPARE = 3
"""Pixels around a block that a shift by a part of a pixel reads."""
KEYS = -0.75
"""The constant of OpenCV's cubic kernel (Keys, "Cubic convolution interpolation", 1981)."""
STILL = 0.03
"""A shift of less than this part of a pixel is none."""


def difference(
    plate: Pixels, other: Pixels, usable: Mask, places: Places, side: int
) -> tuple[Pixels, Floats]:
    """Returns the difference of each block to the same spot in `other`, and its variance for each channel [n, 3].

    The difference is scaled so that it varies as the grain of one frame does. The variance is infinite where the
    spot leaves the picture or what is `usable` of `other`.
    """
    found = np.zeros((len(places), side, side, 3), np.float32)
    variance = np.full((len(places), 3), np.inf)
    gain = _gain(plate, other, usable)
    shifts, reach = _shifts(plate, other, places, side)
    for n, ((top, left), (down, across)) in enumerate(
        zip(places.tolist(), shifts.tolist(), strict=True)
    ):
        block = plate[top : top + side, left : left + side]
        spot = _spot(other, usable, top + down, left + across, side, reach + SPARE)
        if spot is None:
            continue
        for there, kept in _candidates(block, spot * gain, reach):
            apart = block - there * _evened(block, there)
            apart = (apart - apart.mean((0, 1))) / np.float32((1 + kept) ** 0.5)
            varied = np.square(apart, dtype=np.float64).mean((0, 1))
            if varied.sum() < variance[n].sum():
                found[n], variance[n] = apart, varied
    return found, variance


def _gain(plate: Pixels, other: Pixels, usable: Mask) -> Pixels:
    """[3]: how much brighter `plate` is than `other`."""
    here, there = (np.abs(p[usable][::16]).mean(0) if usable.any() else 1 for p in (plate, other))
    return np.asarray(here / np.maximum(there, 1e-9), np.float32)


def _evened(block: Pixels, there: Pixels) -> Pixels:
    """[3]: what `there` is multiplied with to be as bright as `block`: a tenth more or less, as light flickers."""
    here, other = block.mean((0, 1)), there.mean((0, 1))
    ratio = np.clip(here / np.where(np.abs(other) < 1e-6, 1, other), 0.9, 1.1)
    return np.asarray(ratio, np.float32)


def _shifts(plate: Pixels, other: Pixels, places: Places, side: int) -> tuple[Places, int]:
    """(rows and columns [n, 2] that blocks move by, pixels that they may be off by)."""
    height, width = plate.shape[:2]
    columns = min(width, COLUMNS)
    size = columns, max(round(height * columns / width), 16)
    here, there = (_eight_bit(p, size) for p in (plate, other))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(here, there, None)
    scale = height / size[1], width / size[0]
    middle = np.minimum((places + side / 2) / scale, (np.array(flow.shape[:2]) - 1)).astype(int)
    moved = flow[middle[:, 0], middle[:, 1]][:, ::-1] * np.array(scale)
    return np.rint(moved).astype(np.intp), 1 + round(max(scale) / 2)


def _eight_bit(picture: Pixels, size: tuple[int, int]) -> NDArray[np.uint8]:
    luma = cv2.resize(picture.mean(-1), size, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(luma, (1, 99))
    bright = np.sqrt(np.clip((luma - low) / max(float(high - low), 1e-9), 0, 1))
    return np.asarray(bright * 255, np.uint8)


def _spot(other: Pixels, usable: Mask, top: int, left: int, side: int, spare: int) -> Pixels | None:
    """`other` around a block moved there, `spare` pixels wider on each side; None where that is not usable."""
    rows = slice(top - spare, top + side + spare)
    columns = slice(left - spare, left + side + spare)
    if min(rows.start, columns.start) < 0 or not usable[rows, columns].all():
        return None
    spot = other[rows, columns]
    wide = side + 2 * spare
    return spot if spot.shape[:2] == (wide, wide) else None


def _candidates(block: Pixels, spot: Pixels, reach: int) -> list[tuple[Pixels, float]]:
    """The blocks in `spot` that fit best, by whole pixels and by parts of one.

    With each goes the part of a white grain's variance that the shift leaves it.
    """
    side = len(block)
    luma = np.asarray(block.mean(-1), np.float32)
    inner = np.asarray(spot[SPARE:-SPARE, SPARE:-SPARE].mean(-1), np.float32)
    unlike: NDArray[Any] = cv2.matchTemplate(inner, luma, cv2.TM_SQDIFF)
    down, across = np.unravel_index(int(unlike.argmin()), unlike.shape)
    top, left = int(down) + SPARE, int(across) + SPARE
    whole = spot[top : top + side, left : left + side]
    y, x = _least(unlike[:, across], int(down)), _least(unlike[down], int(across))
    if max(abs(y), abs(x)) < STILL:
        return [(whole, 1.0)]
    move = np.array([[1, 0, left + x], [0, 1, top + y]], np.float64)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    part = cv2.warpAffine(spot, move, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    kept = float(np.square(_cubic(y)).sum() * np.square(_cubic(x)).sum())
    return [(whole, 1.0), (np.asarray(part, np.float32), kept)]


def _least(values: NDArray[Any], at: int) -> float:
    """How far from `at` the parabola through it and its neighbours is least, -0.5 to 0.5."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = (float(value) for value in values[at - 1 : at + 2])
    bend = before - 2 * here + after
    return max(-0.5, min(0.5, (before - after) / (2 * bend))) if bend > 0 else 0.0


def _cubic(shift: float) -> Floats:
    """The four weights of a cubic interpolation that shifts by a part of a pixel."""
    t = abs(shift)
    away = np.array([1 + t, t, 1 - t, 2 - t])
    near = (KEYS + 2) * away**3 - (KEYS + 3) * away**2 + 1
    far = KEYS * away**3 - 5 * KEYS * away**2 + 8 * KEYS * away - 4 * KEYS
    return np.asarray(np.where(away <= 1, near, far), np.float64)
