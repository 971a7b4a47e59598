"""Reflections: a change of the background that looks like the object in a mirror below, left or right of it.

A reflection adds a part of the mirrored object to a part of the background: change = a * (mirrored - background).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .background import Change, Mask, grown
from .shadow import changed

Side = Literal["below", "left", "right"]
SIDES: tuple[Side, ...] = ("below", "left", "right")
OFFSETS = 25
"""Mirror lines that are tried on each side."""
INWARD, OUTWARD = 0.1, 0.5
"""The lines lie from this share of the object's size inside its edge to this share outside of it."""
FEWEST = 16
"""Pixels that a correlation needs."""
ALIKE = 0.6
"""Normalized correlation from which a change counts as the mirrored object."""
WEAKEST = 0.04
"""Share of the mirrored light below which nothing counts as a reflection."""
SEEN = 0.25
"""Share of the mirrored object that has to lie on known background."""


@dataclass(frozen=True)
class Mirror:
    """A mirrored object of one frame. `gap` is the distance in pixels between the edges of the two."""

    side: Side
    gap: int
    likeness: float
    strength: float


def mirrors(change: Change) -> list[Mirror]:
    """The best place of each side, with its correlation; none for an object out of the picture."""
    rows, columns = np.flatnonzero(change.object.any(1)), np.flatnonzero(change.object.any(0))
    if not len(rows):
        return []
    found = []
    for side in SIDES:
        extent = rows[-1] - rows[0] if side == "below" else columns[-1] - columns[0]
        gaps = np.linspace(-2 * INWARD * extent, 2 * OUTWARD * extent, OFFSETS)
        places = [_measured(change, side, gap) for gap in dict.fromkeys(np.rint(gaps).astype(int))]
        found.append(max(places, key=lambda place: place.likeness))
    return found


def reflected(change: Change, mirror: Mirror) -> Mask:
    """The changed region that the mirrored object covers, its outline grown by a pixel."""
    found = np.zeros(change.object.shape, bool)
    if mirror.likeness < ALIKE or mirror.strength < WEAKEST:
        return found
    there, here = _flipped(change.object, mirror.side, mirror.gap)
    found[there] = _turned(change.object, mirror.side)[here]
    return changed(change) & grown(found, 1)


def _measured(change: Change, side: Side, gap: int) -> Mirror:
    there, here = _flipped(change.object, side, gap)
    inside = _turned(change.object, side)[here] & change.known[there]
    if inside.sum() < max(SEEN * change.object.sum(), FEWEST):
        return Mirror(side, gap, 0.0, 0.0)
    background = change.background[there][inside].astype(np.float32)
    wanted = _turned(change.picture, side)[here][inside] - background
    seen = change.picture[there][inside] - background
    product, power = float((wanted * seen).sum()), float((wanted**2).sum())
    scale = float(np.sqrt(power * float((seen**2).sum())))
    if scale <= 0:
        return Mirror(side, gap, 0.0, 0.0)
    return Mirror(side, gap, product / scale, product / power)


def _turned(picture: NDArray[Any], side: Side) -> NDArray[Any]:
    return picture[::-1] if side == "below" else picture[:, ::-1]


def _flipped(
    object_: Mask, side: Side, gap: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the mirrored box of the object lies in the picture, and where in the picture as `_turned`."""
    rows, columns = np.flatnonzero(object_.any(1)), np.flatnonzero(object_.any(0))
    height, width = object_.shape
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if side == "below":
        there = _clipped(bottom + gap, height - bottom, bottom - top, height)
        return (there[0], slice(left, right)), (there[1], slice(left, right))
    if side == "right":
        there = _clipped(right + gap, width - right, right - left, width)
    else:
        there = _clipped(left - gap - (right - left), width - right, right - left, width)
    return (slice(top, bottom), there[0]), (slice(top, bottom), there[1])


def _clipped(start: int, source: int, length: int, size: int) -> tuple[slice, slice]:
    """`length` pixels from `start`, and from `source`, cut to a picture of `size` pixels at `start`."""
    low, high = max(start, 0), max(min(start + length, size), 0)
    shift = source - start
    return slice(low, max(high, low)), slice(low + shift, max(high, low) + shift)
