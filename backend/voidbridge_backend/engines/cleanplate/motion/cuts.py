"""Finds cuts to another scene: between two frames, neither motion nor light explains the change.

Pictures are 8 bit lumas at reduced size. Their likeness is the normalized cross-correlation of their detail,
without broad shading. The camera's motion is undone before and, if that is not enough, dense optical flow too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Homography, inverse, scaling

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]

WIDTH = 192
"""Columns that frames are compared at, at most."""
BROAD, FINE = 0.06, 0.7
"""Deviations of the blurs that bound the detail: a part of the width, and pixels, which takes the grain away."""
TILES = 3, 4
"""Rows and columns of tiles that are compared each for itself."""
CONTRAST = 1.2
"""Deviation of the detail, in steps of 8 bits, below which a frame shows nothing: black, fog, an even sky."""
ENOUGH = 0.1
"""Part of the frame that two frames have to share to be compared."""
GRAIN, FAINT = 0.45, 8.0
"""A tile whose detail keeps less than GRAIN of its deviation under a blur, and has less than FAINT steps of 8 bits,
is grain alone, which no two frames share. White grain keeps 0.31 under SMOOTH, bricks 0.6 to 0.8.
"""
SMOOTH = 2.0
"""Deviation of that blur, in pixels."""
ALIKE = 0.8
"""Likeness from which on nothing more is tried."""
CUT, DROP = 0.55, 0.65
"""Likeness below which it is a cut, if it is also below this part of what is usual in the shot."""
USUAL = 12
"""Frames over which the usual likeness is taken."""


@dataclass(frozen=True)
class Detail:
    """The compared values of a frame: its detail, its luma, and where its background is free."""

    fine: Floats
    grey: Grey
    free: NDArray[np.bool_]

    @property
    def shows(self) -> bool:
        """Whether there is anything to be compared."""
        if not self.free.any() or float(self.fine[self.free].std()) < CONTRAST:
            return False
        smooth = cv2.GaussianBlur(self.fine, (0, 0), SMOOTH)
        return not all(
            _is_grain(self.fine[tile][self.free[tile]], smooth[tile][self.free[tile]])
            for tile in _tiles(*self.free.shape)
            if self.free[tile].mean() > ENOUGH
        )


def detail(grey: Grey, free: Grey) -> Detail:
    """Of a luma, and 255 where its background is free, [height, width] each."""
    height, width = grey.shape
    columns = min(width, WIDTH)
    size = columns, max(round(height * columns / width), 1)
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    share = cv2.resize(free, size, interpolation=cv2.INTER_AREA)
    shown = np.asarray(share > 250)
    fine = blurred(small, shown, FINE) - blurred(small, shown, BROAD * columns)
    return Detail(fine, small, shown)


def blurred(grey: Grey | Floats, shown: NDArray[np.bool_], deviation: float) -> Floats:
    """Of what is `shown` alone: nothing of the object reaches its surroundings."""
    weight = shown.astype(np.float32)
    total = cv2.GaussianBlur(grey * weight, (0, 0), deviation)
    share = cv2.GaussianBlur(weight, (0, 0), deviation)
    return np.asarray(total / np.maximum(share, 1e-3), np.float32)


def likeness(one: Detail, two: Detail, motion: Homography, size: tuple[int, int]) -> float:
    """-1 to 1: how well `one` explains `two`. `motion` takes one to the other at `size` (width, height)."""
    best = _correlation(one.fine, one.free, two)
    if best >= ALIKE:
        return best
    columns = one.fine.shape[1]
    reduce = scaling(columns / size[0], one.fine.shape[0] / size[1])
    best = max(best, _along(one, two, reduce @ motion @ inverse(reduce)))
    return best if best >= ALIKE else max(best, _flowed(one, two))


def _along(one: Detail, two: Detail, motion: Homography) -> float:
    size = two.fine.shape[1], two.fine.shape[0]
    fine = cv2.warpPerspective(one.fine, motion, size, flags=cv2.INTER_LINEAR)
    free = cv2.warpPerspective(one.free.view(np.uint8), motion, size, flags=cv2.INTER_NEAREST)
    return _correlation(np.asarray(fine, np.float32), free > 0, two)


def _flowed(one: Detail, two: Detail) -> float:
    dense = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = dense.calc(two.grey, one.grey, None)
    y, x = np.mgrid[: two.grey.shape[0], : two.grey.shape[1]].astype(np.float32)
    at = x + flow[..., 0], y + flow[..., 1]
    fine = cv2.remap(one.fine, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    free = cv2.remap(one.free.view(np.uint8), *at, cv2.INTER_NEAREST)
    return _correlation(np.asarray(fine, np.float32), free > 0, two)


def _correlation(fine: Floats, free: NDArray[np.bool_], two: Detail) -> float:
    """The median over the frame's tiles: somebody who walks in is no cut. 0 where too little is shared to tell."""
    both = free & two.free
    if both.sum() < ENOUGH * both.size:
        return 0.0
    found = []
    smooth = [cv2.GaussianBlur(one, (0, 0), SMOOTH) for one in (fine, two.fine)]
    for tile in _tiles(*both.shape):
        shared = both[tile]
        if shared.mean() <= ENOUGH:
            continue
        here, there = fine[tile][shared], two.fine[tile][shared]
        if not all(map(_is_grain, (here, there), (one[tile][shared] for one in smooth))):
            found.append(_alike(here, there))
    return median(found) if found else 0.0


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for rows in np.array_split(np.arange(height), TILES[0]):
        for columns in np.array_split(np.arange(width), TILES[1]):
            yield slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _is_grain(fine: Floats, smooth: Floats) -> bool:
    """Whether the detail of a tile is nothing but grain."""
    deviation = float(fine.std())
    return deviation < FAINT and float(smooth.std()) < GRAIN * deviation


def _alike(here: Floats, there: Floats) -> float:
    here, there = here - here.mean(), there - there.mean()
    energy = float((here * here).sum()) * float((there * there).sum())
    return float((here * there).sum()) / energy**0.5 if energy > 0 else 0.0


@dataclass
class Cuts:
    """Frame by frame. `chosen` are the frames that begin a scene, or None if they are to be found."""

    chosen: frozenset[int] | None = None
    _usual: list[float] = field(default_factory=list)

    def begins(self, frame: int, like: float) -> bool:
        """Whether `frame` begins another scene, by its likeness to the last frame that showed something."""
        if self.chosen is not None:
            return frame in self.chosen
        usual = median(self._usual[-USUAL:]) if self._usual else 1.0
        if like < CUT and like < DROP * usual:
            self._usual.clear()
            return True
        self._usual.append(like)
        return False
