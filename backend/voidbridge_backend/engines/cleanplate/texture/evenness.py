"""How strong the fine detail around a gap is, whether it is a texture, and which piece of it fits the gap."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import Floats

RING, NARROWEST = 0.4, 8
"""Width of a gap's surroundings, as a part of the square root of its area, and at least, in pixels."""
STRONGEST, SPARSE = 0.05, 0.34
"""A texture has less than SPARSE of its gradient's energy in its STRONGEST pixels; edges have more."""
FAR, BRIGHT = 0.3, 3.0
"""Cost of a piece at a distance of the picture's height, and of another encoded brightness."""
STRIDE = 2
"""Pixels between the pieces that are tried."""


def surroundings(gap: Mask) -> Mask:
    """The pixels around the gap that it is compared with."""
    width = max(NARROWEST, round(RING * float(gap.sum()) ** 0.5))
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return np.asarray((cv2.dilate(gap.view(np.uint8), kernel) > 0) & ~gap)


def energy(picture: Floats, where: Mask) -> float:
    """Mean square of the gradient of `picture` [height, width, 3] between pixels of `where`."""
    total, count = 0.0, 0
    for axis, both in enumerate((where[1:] & where[:-1], where[:, 1:] & where[:, :-1])):
        total += float(np.square(np.diff(picture, axis=axis)[both]).sum())
        count += int(both.sum())
    return total / max(count, 1)


def is_even(fine: Floats, gap: Mask) -> bool:
    """Whether the `fine` detail around the gap is about as strong everywhere, and not in a few edges."""
    slope = _slopes(fine, gap)[surroundings(gap)]
    strong = np.sort(slope)[int((1 - STRONGEST) * len(slope)) :]
    return bool(strong.sum() <= SPARSE * slope.sum())


def _slopes(picture: Floats, gap: Mask) -> Floats:
    """[height, width]: the square of the gradient, 0 in the gap and at its edge."""
    total = np.zeros(gap.shape, np.float32)
    total[1:] += np.square(np.diff(picture, axis=0)).sum(-1)
    total[:, 1:] += np.square(np.diff(picture, axis=1)).sum(-1)
    total[cv2.dilate(gap.view(np.uint8), np.ones((3, 3), np.uint8)) > 0] = 0
    return total


def piece(
    picture: Floats, gap: Mask, ys: NDArray[np.intp], xs: NDArray[np.intp]
) -> tuple[int, int] | None:
    """The offset (y, x) that takes the pixels `ys`, `xs` to a piece of the known picture that is as strong.

    None where no piece is as large. The nearer and the more alike in brightness, the better.
    """
    height, width = gap.shape
    top, left = int(ys.min()), int(xs.min())
    tall, wide = int(ys.max()) + 1 - top, int(xs.max()) + 1 - left
    starts = np.mgrid[1 : height - tall : STRIDE, 1 : width - wide : STRIDE].reshape(2, -1)

    def mean(one: Floats) -> NDArray[np.float64]:
        total = np.asarray(cv2.integral(one), np.float64)
        y, x = starts
        inside = total[y + tall, x + wide] - total[y, x + wide] - total[y + tall, x] + total[y, x]
        return np.asarray(inside / (tall * wide), np.float64)

    starts = starts[:, mean(gap.astype(np.float32)) < 0.5 / (tall * wide)]
    if not starts.size:
        return None
    ring = surroundings(gap)
    slope, luma = _slopes(picture, gap), np.where(gap, 0, picture.mean(-1)).astype(np.float32)
    wanted = max(float(slope[ring].mean()), 1e-12)
    cost = np.abs(np.log(np.maximum(mean(slope), 1e-12) / wanted))
    cost += BRIGHT * np.abs(mean(luma) - float(luma[ring].mean()))
    cost += FAR * np.hypot(starts[0] - top, starts[1] - left) / height
    best = int(cost.argmin())
    return int(starts[0, best]) - top, int(starts[1, best]) - left
