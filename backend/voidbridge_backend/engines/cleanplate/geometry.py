"""Boxes of pixels, and homographies between frames.

A homography is float64 [3, 3] and takes (x, y, 1) of one picture to another's; whole numbers are the
centres of pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Homography = NDArray[np.float64]
Mask = NDArray[np.bool_]

SAME_PX = 0.06
"""Two pictures whose corners lie closer than this are laid over each other without resampling."""


class FrameBox(NamedTuple):
    """Pixels from `left`, `top` up to but without `right`, `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, by: int, height: int, width: int) -> FrameBox:
        """Grown on all sides, inside a picture of this size."""
        return FrameBox(
            max(self.left - by, 0),
            max(self.top - by, 0),
            min(self.right + by, width),
            min(self.bottom + by, height),
        )

    def holds(self, other: FrameBox) -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def moved(self, x: int, y: int) -> FrameBox:
        return FrameBox(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def within(self, other: FrameBox) -> tuple[slice, slice]:
        """Its pixels in an array of `other`, which holds it."""
        return self.moved(-other.left, -other.top).slices

    def corners(self) -> NDArray[np.float64]:
        """[4, 2]: the centres of the corner pixels, around the box."""
        right, bottom = self.right - 1, self.bottom - 1
        around = [(self.left, self.top), (right, self.top), (right, bottom), (self.left, bottom)]
        return np.array(around, np.float64)


def around(mask: Mask) -> FrameBox | None:
    """The smallest box that holds every set pixel, or None where none is set."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return FrameBox(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def union(boxes: list[FrameBox]) -> FrameBox:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return FrameBox(min(lefts), min(tops), max(rights), max(bottoms))


def shift(x: float, y: float) -> Homography:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def scaling(factor_x: float, factor_y: float) -> Homography:
    """From a picture to the same picture resized: the corners of pixels, not their centres, are scaled."""
    x, y = (factor_x - 1) / 2, (factor_y - 1) / 2
    return np.array([[factor_x, 0, x], [0, factor_y, y], [0, 0, 1]], np.float64)


def inverse(homography: Homography) -> Homography:
    return np.asarray(np.linalg.inv(homography), np.float64)


def apply(homography: Homography, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """`points` [n, 2] taken along."""
    taken = np.column_stack([points, np.ones(len(points))]) @ homography.T
    # A point on the horizon of a wild homography goes far away instead of dividing by zero.
    depth = np.where(np.abs(taken[:, 2:]) < 1e-9, 1e-9, taken[:, 2:])
    return np.asarray(taken[:, :2] / depth, np.float64)


def mapped(homography: Homography, box: FrameBox, height: int, width: int) -> FrameBox | None:
    """Where a box comes to lie, cut to a picture of this size, or None where it leaves the picture."""
    corners = apply(homography, box.corners())
    if not np.isfinite(corners).all():
        return None
    low = np.clip(np.floor(corners.min(0)), -1e6, 1e6).astype(int)
    high = np.clip(np.ceil(corners.max(0)), -1e6, 1e6).astype(int)
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    right, bottom = min(int(high[0]) + 1, width), min(int(high[1]) + 1, height)
    return FrameBox(left, top, right, bottom) if right > left and bottom > top else None


def moves(homography: Homography, box: FrameBox) -> float:
    """How far the corner that moves most moves, in pixels."""
    corners = box.corners()
    return float(np.abs(apply(homography, corners) - corners).max())


def is_sane(homography: Homography, box: FrameBox) -> bool:
    """Whether a box stays a box: no fold, no mirror, at most 2.5 times larger or smaller."""
    if not np.isfinite(homography).all() or abs(homography[2, 2]) < 1e-9:
        return False
    depth = np.column_stack([box.corners(), np.ones(4)]) @ (homography / homography[2, 2])[2]
    if (depth < 0.2).any():
        return False
    corners = apply(homography, box.corners())
    sides = np.roll(corners, -1, 0) - corners
    turns = sides[:, 0] * np.roll(sides[:, 1], -1) - sides[:, 1] * np.roll(sides[:, 0], -1)
    area = max((box.width - 1) * (box.height - 1), 1)
    return bool((turns >= 0).all() and 0.16 < turns.sum() / 4 / area < 6.25)


def warp(
    picture: NDArray[np.float32],
    homography: Homography,
    box: FrameBox,
    flags: int = cv2.INTER_LANCZOS4,
) -> NDArray[np.float32]:
    """The pixels of `box` in a target, fetched from `picture`, which `homography` takes to the target.

    Beyond the picture's edge its last pixel is repeated; the caller knows what is valid.
    """
    to_source = inverse(homography) @ shift(box.left, box.top)
    fetched = cv2.warpPerspective(
        picture,
        to_source,
        (box.width, box.height),
        flags=flags | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(fetched, np.float32)
