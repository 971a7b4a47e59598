"""The rectangle of the plate that is sent through an engine, and the mapping there and back.

Pixels are [height, width] or [height, width, channels]. Coordinates are pixels of the plate's data window, with
0,0 at the upper left. Resampling keeps pixel centers, so the picture does not move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """A rectangle of `width` x `height` pixels; its upper left pixel is at `left`, `top`."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def around(
        cls,
        hole: Region,
        plate: tuple[int, int],
        *,
        pad: float,
        aspect: float | None = None,
        multiple: int = 1,
    ) -> Region:
        """Returns `hole` with a margin, inside a plate of (height, width).

        `pad` pixels around the hole that an engine should see. `aspect` wanted width / height in pixels;
        reached by growing, as far as the plate allows. `multiple` divisor of width and height; on a smaller
        plate, the largest possible size.

        The hole is always inside, and centered as far as the plate's edges allow. A hole as large as the plate
        gives the whole plate.
        """
        height, width = plate
        wide, high = hole.width + 2 * pad, hole.height + 2 * pad
        if aspect is not None:
            wide, high = max(wide, high * aspect), max(high, wide / aspect)
        wide, high = (
            _edge(wide, hole.width, width, multiple),
            _edge(high, hole.height, height, multiple),
        )
        return cls(
            _start(hole.left, hole.width, wide, width),
            _start(hole.top, hole.height, high, height),
            wide,
            high,
        )

    @classmethod
    def of(cls, inside: NDArray[np.bool_]) -> Region | None:
        """Returns the smallest rectangle around all set pixels, or None if there are none."""
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not rows.size:
            return None
        left, top = int(columns[0]), int(rows[0])
        return cls(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)

    @classmethod
    def whole(cls, plate: tuple[int, int]) -> Region:
        """Covers a whole plate of (height, width)."""
        return cls(0, 0, plate[1], plate[0])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.height, self.width

    def union(self, other: Region) -> Region:
        """Returns the smallest rectangle around both."""
        left, top = min(self.left, other.left), min(self.top, other.top)
        right = max(self.left + self.width, other.left + other.width)
        bottom = max(self.top + self.height, other.top + other.height)
        return Region(left, top, right - left, bottom - top)

    def overlap(self, other: Region) -> Region | None:
        """Returns the intersection, or None if it is empty."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.width, other.left + other.width)
        bottom = min(self.top + self.height, other.top + other.height)
        return (
            Region(left, top, right - left, bottom - top) if left < right and top < bottom else None
        )

    def within(self, other: Region) -> Region:
        """Returns the same rectangle relative to the upper left pixel of `other`."""
        return Region(self.left - other.left, self.top - other.top, self.width, self.height)

    def wider(self, margin: int) -> Region:
        """Returns the rectangle with `margin` more pixels on every side."""
        return Region(
            self.left - margin, self.top - margin, self.width + 2 * margin, self.height + 2 * margin
        )

    def cut(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Returns this part of a whole plate, as a view."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]

    def paste(self, pixels: NDArray[Any], part: NDArray[Any]) -> None:
        """Writes `part`, of this region's size, into its place in a whole plate."""
        self.cut(pixels)[...] = part

    def from_engine(self, pixels: Pixels) -> Pixels:
        """Returns an engine's pixels at this region's size; the same array if the size already matches."""
        return pixels if pixels.shape[:2] == self.size else resampled(pixels, self.size)

    def classes_to_engine(
        self, codes: NDArray[np.uint8], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Returns a quadmask's part at an engine's size; see `resampled_classes`."""
        return resampled_classes(self.cut(codes), size)


def resampled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resamples to (height, width): area mean for shrinking, Lanczos for enlarging.

    At the same size the bits are copied. Values are averaged as they are, so pass values that may be averaged.
    """
    for axis in (0, 1):
        if pixels.shape[axis] != size[axis]:
            to = (pixels.shape[1], size[0]) if axis == 0 else (size[1], pixels.shape[0])
            shrinks = size[axis] < pixels.shape[axis]
            filter = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
            pixels = cast(
                Pixels, cv2.resize(np.ascontiguousarray(pixels), to, interpolation=filter)
            )
    return pixels.copy()


def resampled_classes(codes: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resamples a quadmask to (height, width). It invents no code and loses no hole.

    Enlarging takes the nearest pixel. Shrinking takes the strongest code of the area, because the engine has to
    replace everything that it touches: remove, overlap, affected, keep.
    """
    if codes.shape == size:
        return codes.copy()
    for axis in (0, 1):
        edges = np.arange(size[axis] + 1) * codes.shape[axis] / size[axis]
        if size[axis] < codes.shape[axis]:
            codes = _strongest(codes, edges, axis)
        else:
            centers = ((edges[1:] + edges[:-1]) / 2).astype(np.intp)
            codes = codes.take(centers, axis=axis)
    return np.ascontiguousarray(codes)


def _strongest(
    codes: NDArray[np.uint8], edges: NDArray[np.float64], axis: int
) -> NDArray[np.uint8]:
    """Returns the lowest code (0 removes) between each two edges, including partly covered pixels."""
    first = np.floor(edges[:-1] + 1e-9).astype(np.intp)
    last = np.ceil(edges[1:] - 1e-9).astype(np.intp) - 1
    # Intervals may share a pixel, which reduceat cannot express, so the last pixel is compared separately.
    least = np.minimum.reduceat(codes, first, axis=axis)
    return cast(NDArray[np.uint8], np.minimum(least, codes.take(last, axis=axis)))


def _edge(wanted: float, least: int, most: int, multiple: int) -> int:
    """Returns a length of at least `least`, about `wanted`; a multiple if one fits into `most`."""
    length = math.ceil(max(wanted, least) / multiple) * multiple
    if length <= most:
        return length
    fitting = most // multiple * multiple
    return fitting if fitting >= least else most


def _start(first: int, hole: int, length: int, most: int) -> int:
    """Returns the start of an interval of `length` that is centered on the hole and stays on the plate."""
    return min(max(first - (length - hole) // 2, 0), most - length)
