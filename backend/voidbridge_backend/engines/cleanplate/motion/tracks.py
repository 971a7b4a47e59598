"""Points of the background that are followed through a scene, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Values = NDArray[np.float64]
Ids = NDArray[np.int32]
Grey = NDArray[np.uint8]

MOST = 500
"""Points that are followed at once."""
APART = 0.012
"""Distance of a new point from all others, as a part of the picture's width."""
EMPTY, SPACING = 0.04, 0.025
"""Distance of faint points from all corners and from each other at least, as parts of the width."""
WINDOW, CORE = 21, 7
"""Sides of what is followed with a point, and of what is the point itself."""
LEAST, CLEAR = 0.01, 0.4
"""Squared slope in the window of a faint point, in lumas a pixel: at least, and over the grain's variance."""
OWN = 0.5
"""Squared slope in a faint point's core over its window's, so that nothing beside it drags it along."""
NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def faint(grey: Grey, free: Grey, corners: Points) -> Points:
    """Points that can be followed where a picture is too soft for corners, the clearest first.

    `free` is 255 where they may lie.
    """
    width = grey.shape[1]
    empty = free.copy()
    for x, y in np.rint(corners).astype(int):
        cv2.circle(empty, (int(x), int(y)), round(EMPTY * width), (0,), -1)
    if not empty.any():
        return np.zeros((0, 2), np.float32)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *way, scale=1 / 8) for way in ((1, 0), (0, 1)))
    steep = across * across + down * down
    window, core = (WINDOW, WINDOW), (CORE, CORE)
    around = cv2.blur(steep, window)
    uneven = cv2.blur(across * across - down * down, window)
    skew = 2 * cv2.blur(across * down, window)
    slope = (around - np.sqrt(uneven * uneven + skew * skew)) / 2
    # Immerkaer, "Fast noise variance estimation", 1996.
    grain = cv2.blur(np.abs(cv2.filter2D(grey, cv2.CV_32F, NOISE)), window)
    grain *= np.float32((np.pi / 2) ** 0.5 / 6)
    good = (empty > 0) & (cv2.blur(steep, core) > OWN * around)
    good &= slope > np.maximum(LEAST, CLEAR * grain * grain)
    worth = np.where(good, slope, 0).astype(np.float32)
    side = 2 * max(round(SPACING * width), 2) + 1
    peak = good & (worth == cv2.dilate(worth, np.ones((side, side), np.uint8)))
    y, x = np.nonzero(peak)
    order = np.argsort(-worth[y, x], kind="stable")
    return np.column_stack([x, y])[order].astype(np.float32)


def follow(
    source: Grey, target: Grey, points: Points, start: Points, levels: int, least: float
) -> tuple[Points, NDArray[np.bool_]]:
    """Where `points` of `source` are in `target`, looked for from `start`; and which have a slope of `least`."""
    there, good, _ = cv2.calcOpticalFlowPyrLK(
        source,
        target,
        points.reshape(-1, 1, 2),
        start.reshape(-1, 1, 2).copy(),
        winSize=(WINDOW, WINDOW),
        maxLevel=levels,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        minEigThreshold=least,
    )
    return there.reshape(-1, 2), good.ravel() > 0


@dataclass
class Tracks:
    """Takes the frames of a scene in order. Points [n, 2] (x, y) of the pictures to track."""

    width: int
    _at: dict[int, tuple[Ids, Points]] = field(default_factory=dict)
    _next: int = 0

    def begin(self, frame: int, found: Points, free: NDArray[np.uint8]) -> None:
        """The first frame of a scene: its features, and 255 where they may be followed."""
        self._at[frame] = np.zeros(0, np.int32), np.zeros((0, 2), np.float32)
        self._add(frame, found, free)

    def go_on(
        self,
        before: int,
        frame: int,
        follow: Callable[[Points], tuple[Points, NDArray[np.bool_]]],
        found: Points,
        free: NDArray[np.uint8],
    ) -> None:
        """`follow` returns where points of the frame `before` are in `frame`, and which are there."""
        ids, points = self._at.get(before, (np.zeros(0, np.int32), np.zeros((0, 2), np.float32)))
        if len(points):
            there, good = follow(points)
            ids, points = ids[good], there[good]
            on = _on(free, points)
            ids, points = ids[on], points[on]
        self._at[frame] = ids, points
        self._add(frame, found, free)

    def _add(self, frame: int, found: Points, free: NDArray[np.uint8]) -> None:
        ids, points = self._at[frame]
        found = found[_on(free, found)]
        if len(points) and len(found):
            away = np.square(found[:, None] - points[None]).sum(-1).min(1)
            found = found[away > (APART * self.width) ** 2]
        found = found[: max(MOST - len(points), 0)]
        new = np.arange(self._next, self._next + len(found), dtype=np.int32)
        self._next += len(found)
        self._at[frame] = np.concatenate([ids, new]), np.concatenate([points, found])

    def of(self, frame: int) -> tuple[Ids, Points]:
        """The numbers of the points in a frame, and where they are."""
        return self._at.get(frame, (np.zeros(0, np.int32), np.zeros((0, 2), np.float32)))

    def common(self, source: int, target: int) -> tuple[Values, Values]:
        """Points of `source` and the same points of `target`."""
        (ids, here), (others, there) = self.of(source), self.of(target)
        _, one, two = np.intersect1d(ids, others, assume_unique=True, return_indices=True)
        return here[one].astype(np.float64), there[two].astype(np.float64)


def _on(free: Grey, points: Points) -> NDArray[np.bool_]:
    at = np.rint(points).astype(int)
    height, width = free.shape
    x, y = np.clip(at[:, 0], 0, width - 1), np.clip(at[:, 1], 0, height - 1)
    return np.asarray(free[y, x] > 0)
