"""How well the sources agree with the plate beside a hole, and in it with each other, at a nearness of its pixels.

Pictures are lumas of 8 bits [height, width] of the target's box at reduced size, as floats.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Homography, Mask
from voidbridge_backend.engines.cleanplate.motion.parallax import Way
from voidbridge_backend.engines.cleanplate.tone import Floats

Grey = NDArray[np.uint8]

UNLIKE = 12.0
"""Difference of two lumas beyond which it counts no more."""
ROW = 1024
"""Pixels that are resampled in one row where they are no picture."""
BOTH, ONE_SIDED = 0, 0.7
"""The number of both sides, and the cost of asking one side only."""


@dataclass(frozen=True)
class ReducedTarget:
    """The target's box, reduced; `reduce` takes its plate's pixels there."""

    grey: Floats
    free: Mask
    reduce: Homography


@dataclass(frozen=True)
class ReducedSource:
    """A source, reduced: luma as bright as the target's, 255 where it shows background, the way to its pixels."""

    grey: Floats
    free: Grey
    way: Way
    along: float
    """How far near things move in it, along the axis on which they move most."""
    still: Homography
    """From pixels of the target to the same place of the source's picture."""

    @property
    def side(self) -> int:
        """1 or 2: to which side near things move in it."""
        return 1 if self.along > 0 else 2


def warped(view: ReducedTarget, one: ReducedSource, near: float) -> tuple[Floats, Mask]:
    height, width = view.grey.shape
    motion = one.way.at(near)
    flags = cv2.WARP_INVERSE_MAP
    grey = cv2.warpPerspective(
        one.grey,
        motion,
        (width, height),
        flags=flags | cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    free = cv2.warpPerspective(one.free, motion, (width, height), flags=flags | cv2.INTER_NEAREST)
    return np.asarray(grey, np.float32), free > 0


def fetched(one: ReducedSource, nearness: Floats) -> tuple[Floats, Mask]:
    """The luma of a source at the pixels of the target, and where it shows background."""
    height, width = nearness.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return _picked(one, x, y, nearness)


def _picked(one: ReducedSource, x: Floats, y: Floats, nearness: Floats) -> tuple[Floats, Mask]:
    plane, move = one.way.plane.astype(np.float32), one.way.shift.astype(np.float32)
    u, v, w = (
        plane[k, 0] * x + plane[k, 1] * y + plane[k, 2] + nearness * move[k] for k in range(3)
    )
    at = np.asarray(u / w, np.float32), np.asarray(v / w, np.float32)
    grey = cv2.remap(one.grey, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    free = cv2.remap(one.free, *at, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(grey, np.float32), free > 0


def fetched_at(
    one: ReducedSource, y: NDArray[np.intp], x: NDArray[np.intp], nearness: Floats
) -> tuple[Floats, Mask]:
    """Like `fetched`, for some pixels [n] alone."""
    # A row of a picture that OpenCV resamples has fewer than 32768 pixels.
    size = -(-len(y) // ROW), ROW
    rows = (np.resize(part.astype(np.float32), size) for part in (x, y, nearness))
    grey, free = _picked(one, *rows)
    return grey.ravel()[: len(y)], free.ravel()[: len(y)]


def by_side(
    plate: Floats, free: Mask, sides: NDArray[np.intp], luma: Floats, shown: Mask
) -> Floats:
    """[side, ...]: how unlike the sources of both sides are, and those of each side alone.

    `plate` [...] is known where it is `free`; `luma` and `shown` [source, ...] are the sources', each of one of the
    `sides`. A pixel beside something near is hidden in the sources of one side (Kang, Szeliski and Chai, "Handling
    occlusions in dense multi-view stereo", 2001).
    """
    costs = np.full((3, *plate.shape), UNLIKE, np.float32)
    for side in (BOTH, 1, 2):
        mine = np.ones(len(sides), bool) if side == BOTH else sides == side
        if mine.sum() < 2:
            continue
        some, seen = luma[mine], shown[mine]
        apart = np.minimum(np.abs(some - expected(plate, free, some, seen)), UNLIKE) * seen
        votes = seen.sum(0).astype(np.float32)
        cost = apart.sum(0) / np.maximum(votes, 1)
        # Few sources are near their own median by chance.
        cost *= np.where(free, 1, np.sqrt(votes / np.maximum(votes - 1, 1)))
        if side == BOTH:
            cost[votes < np.where(free, 1, 2)] = UNLIKE / 2
        else:
            cost += ONE_SIDED
            cost[votes < 2] = UNLIKE
        costs[side] = cost
    return costs


def expected(plate: Floats, free: Mask, luma: Floats, shown: Mask) -> Floats:
    """The plate around the hole; in it what the sources' median is."""
    hole = ~free
    found = plate.copy()
    found[hole] = _middle(luma[:, hole], shown[:, hole])
    return found


def _middle(luma: Floats, shown: Mask) -> Floats:
    """The median of what is shown."""
    values = np.where(shown, luma, np.float32(np.inf))
    values.sort(axis=0)
    rank = np.maximum(shown.sum(0) - 1, 0)
    low = np.take_along_axis(values, (rank // 2)[None], 0)[0]
    high = np.take_along_axis(values, ((rank + 1) // 2)[None], 0)[0]
    found = (low + high) / 2
    return np.asarray(np.where(np.isfinite(found), found, 0), np.float32)
