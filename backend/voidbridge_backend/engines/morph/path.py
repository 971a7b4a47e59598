"""The camera's path through a gap: the frame's corners on a cubic Hermite curve.

Its tangents are the camera's own speed in the frames before and behind the gap, so that nothing jerks at the joins.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import FrameBox, Homography, apply

Corners = NDArray[np.float64]
"""[4, 2], (x, y) in pixels."""

STEADY = 3.0
"""A speed that differs from the gap's mean by more than this factor of it is another move, and is left out."""


@dataclass(frozen=True)
class Path:
    """The motion of a frame's four corners from one side of the gap to the other."""

    box: FrameBox
    motion: Homography
    """From the frame before the gap to the frame behind it."""
    start: Corners | None = None
    """How far the corners would move over the whole gap at the speed before it; None: not known."""
    end: Corners | None = None
    """The same for the speed behind the gap."""

    def at(self, time: float) -> Homography:
        """From the frame before the gap to the moment `time`, which goes from 0 to 1."""
        here = self.box.corners()
        there = apply(self.motion, here)
        mean = there - here
        start, end = (self._tangent(speed, mean) for speed in (self.start, self.end))
        square, cube = time**2, time**3
        moved = (
            (2 * cube - 3 * square + 1) * here
            + (cube - 2 * square + time) * start
            + (3 * square - 2 * cube) * there
            + (cube - square) * end
        )
        found = cv2.getPerspectiveTransform(here.astype(np.float32), moved.astype(np.float32))
        return np.asarray(found, np.float64)

    def _tangent(self, speed: Corners | None, mean: Corners) -> Corners:
        if speed is None:
            return mean
        usual = max(float(np.abs(mean).max()), 1.0)
        return speed if float(np.abs(speed - mean).max()) <= STEADY * usual else mean
