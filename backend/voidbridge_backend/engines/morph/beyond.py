"""Frames beyond the end of a clip: held, or with the camera's motion carried on.

Objects stand still in the background. Background that the last frame does not show comes from other frames, and is
mirrored at the picture's edge where no frame shows it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.geometry import (
    FrameBox,
    Homography,
    apply,
    inverse,
    is_sane,
)

from .path import Corners
from .view import GreyFrame, camera_motion
from .warp import grid, moved

STILL_PX = 0.3
"""A camera that moves its corners less than this from frame to frame stands on a tripod."""


def speed(frame: GreyFrame, neighbor: GreyFrame) -> Corners:
    """[4, 2]: how far the corners of the gray picture move in one frame, away from `neighbor`."""
    corners = FrameBox(0, 0, frame.grey.shape[1], frame.grey.shape[0]).corners()
    back = apply(camera_motion(frame.grey, neighbor.grey), corners)
    return np.asarray((corners - back) / abs(frame.number - neighbor.number), np.float64)


class Continuation:
    """The clip carried on from its `last` frame; `others` are frames before it, the nearest first."""

    def __init__(self, last: GreyFrame, others: Sequence[GreyFrame]) -> None:
        self._last = last
        self._others = others
        self._speed = speed(last, others[0]) if others else np.zeros((4, 2))
        self._motions = [camera_motion(last.grey, other.grey) for other in others]

    @property
    def is_still(self) -> bool:
        return float(np.abs(self._speed).max()) < STILL_PX

    def rendered(self, steps: int) -> tuple[Pixels, float]:
        """The frame this many steps beyond the end, and the part of it, 0 to 1, that no frame shows."""
        if self.is_still:
            return self._last.light, 0.0
        to_last = inverse(self._motion(steps))
        plate = self._last.to_plate
        height, width = self._last.light.shape[:2]
        x, y = grid(height, width)
        places = moved(plate @ to_last @ inverse(plate), x, y)
        result = _fetched(self._last.light, *places)
        lacking = ~_inside(self._last.light, *places)
        for other, motion in zip(self._others, self._motions, strict=True):
            if not lacking.any():
                break
            there = moved(plate @ motion @ to_last @ inverse(plate), x, y)
            hit = lacking & _inside(other.light, *there)
            result[hit] = _fetched(other.light, *there)[hit]
            lacking &= ~hit
        return result, float(lacking.mean())

    def _motion(self, steps: int) -> Homography:
        """From the last frame to the one this many steps beyond it, no farther than a frame stays a frame."""
        box = FrameBox(0, 0, self._last.grey.shape[1], self._last.grey.shape[0])
        corners = box.corners()
        for taken in range(steps, 0, -1):
            moved_to = corners + self._speed * taken
            motion = cv2.getPerspectiveTransform(
                corners.astype(np.float32), moved_to.astype(np.float32)
            )
            if is_sane(motion, box):
                return np.asarray(motion, np.float64)
        return np.eye(3)


def _fetched(light: Pixels, x: np.ndarray, y: np.ndarray) -> Pixels:
    found = cv2.remap(light, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(np.maximum(found, np.minimum(light.min(), 0)), np.float32)


def _inside(light: Pixels, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    height, width = light.shape[:2]
    return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))
