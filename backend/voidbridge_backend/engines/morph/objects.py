"""Objects that move farther than their own size, which optical flow does not follow.

A changed area with the sharper outline in one frame is an object there, and uncovered background in the other. An
object is looked for in the other frame's objects by its own pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .view import Grey
from .warp import Flow, Mask

CHANGED = 10.0
"""Difference in 8-bit gray from which a pixel has changed, beside an allowance for texture."""
SMALLEST, WIDEST = 2e-4, 0.5
"""Part of the picture that an object covers at least, and part of its width that it has at most."""
SHARPER = 1.4
"""How much sharper than in the other frame an object's outline is."""
ALIKE = 0.4
"""Areas of the same object in both frames have at least this ratio."""
MISFIT = 15.0
"""Root mean square difference in 8-bit gray up to which two areas are the same object."""
KERNEL = np.ones((5, 5), np.uint8)


@dataclass(frozen=True)
class _Object:
    left: int
    top: int
    width: int
    height: int
    area: NDArray[np.uint8]
    """[height, width] of the whole picture: 1 on it."""


def correct(greys: Sequence[Grey], flows: tuple[Flow, Flow], seen: Mask) -> None:
    """Puts the motion of far-moving objects into both flows, in place. `seen` is what both frames show."""
    here, there = _objects(greys, seen)
    taken: set[int] = set()
    for one in here:
        matches = [
            (*found, number)
            for number, other in enumerate(there)
            if number not in taken and (found := _match(greys, one, other))
        ]
        if not matches:
            continue
        misfit, x, y, number = min(matches)
        if misfit > MISFIT:
            continue
        taken.add(number)
        gone, come = (cv2.dilate(area, KERNEL) > 0 for area in (one.area, there[number].area))
        flows[0][come & ~gone] = 0  # background that the object hides in the other frame
        flows[1][gone & ~come] = 0
        flows[0][gone] = x, y
        flows[1][come] = -x, -y


def _objects(greys: Sequence[Grey], seen: Mask) -> tuple[list[_Object], list[_Object]]:
    before, behind = greys
    apart = cv2.GaussianBlur(cv2.absdiff(before, behind), (0, 0), 1.5)
    texture = cv2.GaussianBlur(np.abs(cv2.Laplacian(before, cv2.CV_32F)), (0, 0), 2)
    changed = ((apart > CHANGED + texture) & seen).astype(np.uint8)
    changed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, KERNEL)
    edges = [
        cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) for grey in greys
    ]
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(changed)
    found: tuple[list[_Object], list[_Object]] = ([], [])
    for label in range(1, count):
        left, top, width, height, pixels = (int(value) for value in boxes[label])
        if pixels < SMALLEST * changed.size or width > WIDEST * changed.shape[1]:
            continue
        area = (labels == label).astype(np.uint8)
        rim = cv2.dilate(area, KERNEL) > cv2.erode(area, KERNEL)
        sharp = [float(edge[rim].mean()) for edge in edges]
        if max(sharp) >= SHARPER * min(sharp):
            side = 0 if sharp[0] > sharp[1] else 1
            found[side].append(_Object(left, top, width, height, area))
    return found


def _match(greys: Sequence[Grey], one: _Object, other: _Object) -> tuple[float, int, int] | None:
    """(misfit, x, y): how well `one` of the first frame is found around `other` of the second, and its way."""
    sizes = int(one.area.sum()), int(other.area.sum())
    if min(sizes) < ALIKE * max(sizes):
        return None
    height, width = greys[1].shape
    across, down = max(one.width, other.width) // 2, max(one.height, other.height) // 2
    left, top = max(other.left - across, 0), max(other.top - down, 0)
    right = min(other.left + other.width + across, width)
    bottom = min(other.top + other.height + down, height)
    if right - left < one.width or bottom - top < one.height:
        return None
    box = slice(one.top, one.top + one.height), slice(one.left, one.left + one.width)
    field = greys[1][top:bottom, left:right].astype(np.float32)
    sums = cv2.matchTemplate(
        field,
        greys[0][box].astype(np.float32),
        cv2.TM_SQDIFF,
        mask=one.area[box].astype(np.float32),
    )
    least, _, (x, y), _ = cv2.minMaxLoc(sums)
    misfit = (max(least, 0.0) / sizes[0]) ** 0.5
    return misfit, left + x - one.left, top + y - one.top
