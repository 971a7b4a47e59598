"""The rectangle of the plate that is sent through an engine, and the way there and back.

Pixels are [height, width] or [height, width, channels]; places are pixels of the plate's data window, 0,0
its upper left one. Resampling keeps the centers of pixels: the picture does not move.
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
    """A rectangle of `width` x `height` pixels with its upper left one at `left`, `top`."""

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
        """`hole` with some surrounding, inside a plate of (height, width).

        `pad`       pixels around the hole that an engine should see.
        `aspect`    width through height in pixels that is wanted; met by growing, as far as the plate goes.
        `multiple`  of which width and height are to be; the largest that the plate has where it is smaller.

        The hole is always inside, and in the middle as far as the plate's edges allow. A hole as large as
        the plate gives the whole plate.
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
        """The smallest rectangle around all pixels that are set; None where there are none."""
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not rows.size:
            return None
        left, top = int(columns[0]), int(rows[0])
        return cls(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)

    @classmethod
    def whole(cls, plate: tuple[int, int]) -> Region:
        """All of a plate of (height, width)."""
        return cls(0, 0, plate[1], plate[0])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.height, self.width

    def union(self, other: Region) -> Region:
        """The smallest rectangle around both."""
        left, top = min(self.left, other.left), min(self.top, other.top)
        right = max(self.left + self.width, other.left + other.width)
        bottom = max(self.top + self.height, other.top + other.height)
        return Region(left, top, right - left, bottom - top)

    def overlap(self, other: Region) -> Region | None:
        """What lies in both; None where nothing does."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.width, other.left + other.width)
        bottom = min(self.top + self.height, other.top + other.height)
        return (
            Region(left, top, right - left, bottom - top) if left < right and top < bottom else None
        )

    def within(self, other: Region) -> Region:
        """The same rectangle, counted from the upper left pixel of `other`."""
        return Region(self.left - other.left, self.top - other.top, self.width, self.height)

    def wider(self, margin: int) -> Region:
        """With `margin` more pixels on every side."""
        return Region(
            self.left - margin, self.top - margin, self.width + 2 * margin, self.height + 2 * margin
        )

    def cut(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """This part of a whole plate, as a view."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]

    def paste(self, pixels: NDArray[Any], part: NDArray[Any]) -> None:
        """Puts `part`, of this region's size, into its place in a whole plate."""
        self.cut(pixels)[...] = part

    def to_engine(self, pixels: Pixels, size: tuple[int, int]) -> Pixels:
        """This part of a whole plate at an engine's (height, width); a copy of the bits at its own size."""
        return resampled(self.cut(pixels), size)

    def from_engine(self, pixels: Pixels) -> Pixels:
        """What an engine gave back, at this region's own size: the same array where it has that already."""
        return pixels if pixels.shape[:2] == self.size else resampled(pixels, self.size)

    def classes_to_engine(
        self, codes: NDArray[np.uint8], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """A quadmask's part at an engine's size; see `resampled_classes`."""
        return resampled_classes(self.cut(codes), size)


def engine_size(
    region: tuple[int, int], pixel_aspect: float, area: int, multiple: int
) -> tuple[int, int]:
    """(height, width) with square pixels for a region, about `area` pixels, multiples of `multiple`.

    Never more pixels than the region has, apart from rounding up to one `multiple`.
    """
    height, width = region[0], region[1] * pixel_aspect
    scale = min(1.0, math.sqrt(area / (height * width)))
    rounded = [max(round(edge * scale / multiple), 1) * multiple for edge in (height, width)]
    return rounded[0], rounded[1]


def resampled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """At another (height, width): the mean of the area where it shrinks, Lanczos where it grows.

    The same size is a copy of the same bits. Values are used as they are: give it what should be averaged.
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
    """A quadmask at another (height, width). No code is invented, and no hole is lost.

    Growing takes the nearest pixel. Where it shrinks, a pixel takes the strongest code of the area that it
    stands for, as the engine has to replace all that it touches: remove, overlap, affected, keep.
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
    """The least code (0 removes) of each stretch between two edges, pixels that it touches included."""
    first = np.floor(edges[:-1] + 1e-9).astype(np.intp)
    last = np.ceil(edges[1:] - 1e-9).astype(np.intp) - 1
    # Stretches may share a pixel, which reduceat cannot say: the last pixel is looked at by itself.
    least = np.minimum.reduceat(codes, first, axis=axis)
    return cast(NDArray[np.uint8], np.minimum(least, codes.take(last, axis=axis)))


def _edge(wanted: float, least: int, most: int, multiple: int) -> int:
    """A length of at least `least`, about `wanted`, a multiple if one fits into `most`."""
    length = math.ceil(max(wanted, least) / multiple) * multiple
    if length <= most:
        return length
    fitting = most // multiple * multiple
    return fitting if fitting >= least else most


def _start(first: int, hole: int, length: int, most: int) -> int:
    """Where a stretch of `length` begins: the hole in its middle, all of it on the plate."""
    return min(max(first - (length - hole) // 2, 0), most - length)
