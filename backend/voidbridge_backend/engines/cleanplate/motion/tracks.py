"""Points of the background that are followed through a scene, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Values = NDArray[np.float64]
Ids = NDArray[np.int32]

MOST = 500
"""Points that are followed at once."""
APART = 0.012
"""Distance of a new point from all others, as a part of the picture's width."""


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


def _on(free: NDArray[np.uint8], points: Points) -> NDArray[np.bool_]:
    at = np.rint(points).astype(int)
    height, width = free.shape
    x, y = np.clip(at[:, 0], 0, width - 1), np.clip(at[:, 1], 0, height - 1)
    return np.asarray(free[y, x] > 0)
