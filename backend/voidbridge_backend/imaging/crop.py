"""Places the rectangle that an engine sees in each frame of a shot. Touches no pixel.

Its size is constant over the shot, in whole pixels of the canvas. Results therefore return to their exact
place, and resampling is the same in every frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .region import Region

PAD = 0.5
"""Margin around the hole, as a fraction of the hole's longer side."""
CALM = 6.0
"""Standard deviation in frames of the Gaussian that smooths the path of a moving rectangle."""


@dataclass(frozen=True)
class Crop:
    """The rectangle of every frame, all of one size, and a note for the artist."""

    regions: Mapping[int, Region]
    note: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return next(iter(self.regions.values())).size


def whole(frames: list[int], plate: tuple[int, int], note: str = "") -> Crop:
    """Covers a whole plate of (height, width)."""
    region = Region.whole(plate)
    return Crop(dict.fromkeys(frames, region), note)


def still(holes: Mapping[int, Region | None], plate: tuple[int, int], aspect: float) -> Crop:
    """Places one rectangle around all holes of the shot.

    `holes` by frame; None for a frame without a hole. `aspect` width / height that the engine wants, in plate
    pixels.
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
    """Places a rectangle that follows the hole smoothly and always contains the frame's whole hole.

    The largest hole of the shot decides its size. Frames without a hole lie on the path between the others.
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
    """Returns (height, width) of the wanted shape around a hole of this size, or None if the plate is too small."""
    most_high, most_wide = _largest(plate, aspect)
    if high > most_high or wide > most_wide:
        return None
    pad = 2 * PAD * max(high, wide)
    tall = min(max(high + pad, (wide + pad) / aspect), most_high)
    return max(round(tall), high), max(min(round(tall * aspect), most_wide), wide)


def _largest(plate: tuple[int, int], aspect: float) -> tuple[int, int]:
    """Returns (height, width) of the largest rectangle of that shape on the plate."""
    height, width = plate
    return min(height, math.floor(width / aspect)), min(width, math.floor(height * aspect))


def _placed(
    middle: tuple[float, float], hole: Region | None, size: tuple[int, int], plate: tuple[int, int]
) -> Region:
    """Places a rectangle around `middle`, inside the plate. Containing all of `hole` has priority."""
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
    """Smooths with a Gaussian. The path continues straight beyond its ends, so a steady motion stays unchanged."""
    reach = math.ceil(3 * CALM)
    ahead = np.arange(1, reach + 1)
    first, last = (way[1] - way[0], way[-1] - way[-2]) if len(way) > 1 else (0.0, 0.0)
    longer = np.concatenate([way[0] - first * ahead[::-1], way, way[-1] + last * ahead])
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / CALM))
    return np.convolve(longer, kernel / kernel.sum(), mode="valid")


def _too_large(hole: Region, plate: tuple[int, int], aspect: float) -> str:
    high, wide = _largest(plate, aspect)
    return (
        f"the hole is {hole.width}x{hole.height} pixels; the largest region of the engine's shape "
        f"in a plate of {plate[1]}x{plate[0]} is {wide}x{high}: the engine sees the whole frame"
    )
