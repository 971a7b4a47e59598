"""Objects that move farther than their own size, which optical flow does not follow.

With several other frames at hand the background is their median, and an object is what differs from it. Without
them, a changed area with the sharper outline in one frame is an object there, and uncovered background in the
other. An object is looked for in the other frame's objects by its own pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .view import Grey
from .warp import Floats, Flow, Mask

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
CONTRAST = 0.5
"""The same for an object that turns or blurs, as a part of its difference from the background."""
COMMON = 0.55
"""Part of both areas together, once laid over each other, that is common to areas of one object."""
SOFT_EDGE = 2.0
"""Blur of an object's outline in pixels, where it is laid over the background."""
FAR = 1.0
"""An object flies if it moves farther than its smaller side, times this; flow follows the others."""
KERNEL = np.ones((5, 5), np.uint8)


@dataclass(frozen=True)
class Flight:
    """One object that both frames show, in pixels of the canvas."""

    way: tuple[float, float]
    gone: Floats
    """[height, width], 0 to 1: where the object is in the first frame."""
    come: Floats
    """The same in the second frame."""


@dataclass(frozen=True)
class _Object:
    left: int
    top: int
    width: int
    height: int
    area: NDArray[np.uint8]
    """[height, width] of the whole picture: 1 on it."""
    contrast: float = 0.0
    """Root mean square difference from the background, where that is known."""


def correct(
    greys: Sequence[Grey], flows: tuple[Flow, Flow], seen: Mask, clean: Grey | None = None
) -> list[Flight]:
    """Puts the motion of far-moving objects into both flows, in place, and returns these objects.

    `seen` is what both frames show, `clean` the background if it is known.
    """
    if clean is None:
        here, there = _by_outline(greys, seen)
    else:
        here, there = (_by_background(grey, clean, seen) for grey in greys)
    taken: set[int] = set()
    flights = []
    for one in here:
        matches = [
            (*found, number)
            for number, other in enumerate(there)
            if number not in taken and (found := _match(greys, one, other))
        ]
        if not matches:
            continue
        misfit, x, y, number = min(matches)
        if misfit > max(MISFIT, CONTRAST * one.contrast):
            continue
        if clean is not None and not _flies(one, there[number], x, y):
            continue
        taken.add(number)
        gone, come = (cv2.dilate(area, KERNEL) for area in (one.area, there[number].area))
        flows[0][(come > 0) & (gone == 0)] = 0  # background that it hides in the other frame
        flows[1][(gone > 0) & (come == 0)] = 0
        flows[0][gone > 0] = x, y
        flows[1][come > 0] = -x, -y
        soft = [
            cv2.GaussianBlur(area.astype(np.float32), (0, 0), SOFT_EDGE) for area in (gone, come)
        ]
        flights.append(Flight((float(x), float(y)), soft[0], soft[1]))
    return flights


def _flies(one: _Object, other: _Object, x: int, y: int) -> bool:
    """Whether both areas are one object by their outlines, and its way is too far for flow."""
    if np.hypot(x, y) < FAR * min(one.width, one.height):
        return False
    way = np.array([[1, 0, x], [0, 1, y]], np.float64)
    moved = cv2.warpAffine(one.area, way, one.area.shape[::-1], flags=cv2.INTER_NEAREST)
    common, all_of_them = (moved & other.area).sum(), (moved | other.area).sum()
    return bool(common >= COMMON * all_of_them)


def _by_background(grey: Grey, clean: Grey, seen: Mask) -> list[_Object]:
    found = []
    for one in _differing(grey, clean, seen):
        difference = cv2.absdiff(grey, clean)[one.area > 0].astype(np.float32)
        contrast = float(np.sqrt(np.square(difference).mean()))
        found.append(replace(one, contrast=contrast))
    return found


def changed(greys: Sequence[Grey], seen: Mask) -> list[_Object]:
    """The areas in which the two pictures differ."""
    return _differing(greys[1], greys[0], seen)


def _by_outline(greys: Sequence[Grey], seen: Mask) -> tuple[list[_Object], list[_Object]]:
    edges = [
        cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) for grey in greys
    ]
    found: tuple[list[_Object], list[_Object]] = ([], [])
    for one in changed(greys, seen):
        rim = cv2.dilate(one.area, KERNEL) > cv2.erode(one.area, KERNEL)
        sharp = [float(edge[rim].mean()) for edge in edges]
        if max(sharp) >= SHARPER * min(sharp):
            found[0 if sharp[0] > sharp[1] else 1].append(one)
    return found


def _differing(grey: Grey, from_this: Grey, seen: Mask) -> list[_Object]:
    """The connected areas that differ, and may be objects by their size."""
    apart = cv2.GaussianBlur(cv2.absdiff(grey, from_this), (0, 0), 1.5)
    texture = cv2.GaussianBlur(np.abs(cv2.Laplacian(from_this, cv2.CV_32F)), (0, 0), 2)
    differs = (apart > CHANGED + texture) & seen
    closed = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    clear = cv2.morphologyEx(closed, cv2.MORPH_OPEN, KERNEL)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(clear)
    found = []
    for label in range(1, count):
        left, top, width, height, pixels = (int(value) for value in boxes[label])
        if pixels >= SMALLEST * grey.size and width <= WIDEST * grey.shape[1]:
            area = (labels == label).astype(np.uint8)
            found.append(_Object(left, top, width, height, area))
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
