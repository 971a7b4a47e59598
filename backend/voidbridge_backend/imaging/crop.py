"""Where the rectangle that an engine is shown lies in each frame of a shot. Decides, touches no pixel.

Its size is one for the whole shot, in whole pixels of the canvas, so that what goes in comes back in place
and nothing is resampled differently from frame to frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .region import Region

PAD = 0.5
"""So much is shown around the hole, as a share of the hole's longer side."""
CALM = 6.0
"""Standard deviation in frames of the Gaussian that a moving rectangle's way is smoothed with."""


@dataclass(frozen=True)
class Crop:
    """The rectangle of every frame, all of one size, and what the artist should know about it."""

    regions: Mapping[int, Region]
    note: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return next(iter(self.regions.values())).size


def whole(frames: list[int], plate: tuple[int, int], note: str = "") -> Crop:
    """All of a plate of (height, width)."""
    region = Region.whole(plate)
    return Crop(dict.fromkeys(frames, region), note)


def still(holes: Mapping[int, Region | None], plate: tuple[int, int], aspect: float) -> Crop:
    """One rectangle around everything that is removed in the shot.

    `holes`   by frame; None where a frame has none.
    `aspect`  width through height, in pixels of the plate, that the engine wants.
    """
    every = _union(holes)
    if every is None:
        return whole(list(holes), plate)
    size = _size(every.height, every.width, plate, aspect)
    if size is None:
        return whole(list(holes), plate, _too_large(every, plate, aspect))
    region = _placed(_middle(every), every, size, plate)
    return Crop(dict.fromkeys(holes, region))


def moving(holes: Mapping[int, Region | None], plate: tuple[int, int], aspect: float) -> Crop:
    """A rectangle that follows the hole on a smooth way; it holds each frame's own hole, whole.

    As large as the largest hole of the shot needs. Frames without a hole lie on the way between.
    """
    found = {frame: hole for frame, hole in holes.items() if hole is not None}
    if not found:
        return whole(list(holes), plate)
    high = max(hole.height for hole in found.values())
    wide = max(hole.width for hole in found.values())
    size = _size(high, wide, plate, aspect)
    if size is None:
        return whole(list(holes), plate, _too_large(Region(0, 0, wide, high), plate, aspect))
    frames = np.array(list(holes))
    known = np.array(list(found))
    middles = np.array([_middle(hole) for hole in found.values()])
    way = np.stack([_smooth(np.interp(frames, known, middles[:, axis])) for axis in (0, 1)], -1)
    regions = {
        frame: _placed((float(x), float(y)), holes[frame], size, plate)
        for frame, (x, y) in zip(holes, way.tolist(), strict=True)
    }
    return Crop(regions)


def _union(holes: Mapping[int, Region | None]) -> Region | None:
    every: Region | None = None
    for hole in holes.values():
        if hole is not None:
            every = hole if every is None else every.union(hole)
    return every


def _size(high: int, wide: int, plate: tuple[int, int], aspect: float) -> tuple[int, int] | None:
    """(height, width) of the wanted shape around a hole of this size; None where the plate has no room."""
    most_high, most_wide = _largest(plate, aspect)
    if high > most_high or wide > most_wide:
        return None
    pad = 2 * PAD * max(high, wide)
    tall = min(max(high + pad, (wide + pad) / aspect), most_high)
    return max(round(tall), high), max(min(round(tall * aspect), most_wide), wide)


def _largest(plate: tuple[int, int], aspect: float) -> tuple[int, int]:
    """(height, width) of the largest rectangle of that shape on the plate."""
    height, width = plate
    return min(height, math.floor(width / aspect)), min(width, math.floor(height * aspect))


def _placed(
    middle: tuple[float, float], hole: Region | None, size: tuple[int, int], plate: tuple[int, int]
) -> Region:
    """About `middle`, on the plate, and all of `hole` inside, which goes first."""
    starts = []
    for axis, (length, most) in enumerate(((size[1], plate[1]), (size[0], plate[0]))):
        start = round(middle[axis] - length / 2)
        if hole is not None:
            first = (hole.left, hole.top)[axis]
            last = first + (hole.width, hole.height)[axis]
            start = min(max(start, last - length), first)
        starts.append(min(max(start, 0), most - length))
    return Region(starts[0], starts[1], size[1], size[0])


def _middle(hole: Region) -> tuple[float, float]:
    return hole.left + hole.width / 2, hole.top + hole.height / 2


def _smooth(way: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Gaussian; beyond its ends the way goes straight on, so that a steady motion stays what it is."""
    reach = math.ceil(3 * CALM)
    ahead = np.arange(1, reach + 1)
    first, last = (way[1] - way[0], way[-1] - way[-2]) if len(way) > 1 else (0.0, 0.0)
    longer = np.concatenate([way[0] - first * ahead[::-1], way, way[-1] + last * ahead])
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / CALM))
    return np.convolve(longer, kernel / kernel.sum(), mode="valid")


def _too_large(hole: Region, plate: tuple[int, int], aspect: float) -> str:
    high, wide = _largest(plate, aspect)
    return (
        f"what is removed is {hole.width}x{hole.height} pixels; the largest region of the engine's shape "
        f"in a plate of {plate[1]}x{plate[0]} is {wide}x{high}: the engine is shown the whole frame"
    )
