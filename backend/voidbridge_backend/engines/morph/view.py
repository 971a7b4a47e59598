"""A photographed frame as the engine compares it: gray, at most 1024 pixels wide."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.geometry import (
    Homography,
    inverse,
    scaling,
    shift,
)
from voidbridge_backend.engines.cleanplate.motion import camera
from voidbridge_backend.engines.cleanplate.tone import Tone

Grey = NDArray[np.uint8]
"""[height, width]."""

WIDTH = 1024
"""Columns of the pictures that motion is measured on, at most."""
SMALLEST = 16
"""Side of a picture in which motion is looked for, at least."""


@dataclass(frozen=True)
class GreyFrame:
    """One photographed frame: its light at the plate's size, and its gray picture at the reduced size."""

    number: int
    light: Pixels
    grey: Grey

    @classmethod
    def of(cls, number: int, light: Pixels, tone: Tone) -> GreyFrame:
        height, width = light.shape[:2]
        factor = min(1.0, WIDTH / width)
        size = max(round(width * factor), 1), max(round(height * factor), 1)
        grey = cv2.resize(tone.grey8(light), size, interpolation=cv2.INTER_AREA)
        return cls(number, light, np.asarray(grey, np.uint8))

    @property
    def to_plate(self) -> Homography:
        """From pixels of the gray picture to those of the plate."""
        height, width = self.light.shape[:2]
        return inverse(scaling(self.grey.shape[1] / width, self.grey.shape[0] / height))


def camera_motion(source: Grey, target: Grey) -> Homography:
    """The homography that most of the picture follows; the identity if there is too little to follow."""
    free = np.full(source.shape, 255, np.uint8)
    here, there = camera.view(source, free), camera.view(target, free)
    for guess, levels in ((np.eye(3), 3), (_shifted(source, target), 3), (np.eye(3), 5)):
        motion = camera.track(here, there, guess, levels)
        if motion is not None:
            return np.asarray(motion / motion[2, 2], np.float64)
    return np.eye(3)


def _shifted(source: Grey, target: Grey) -> Homography:
    """The shift that lays most of the picture over the other, by phase correlation (Kuglin and Hines, 1975)."""
    if min(source.shape) < SMALLEST:
        return np.eye(3)
    window = cv2.createHanningWindow(source.shape[::-1], cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(source.astype(np.float32), target.astype(np.float32), window)
    return shift(x, y)
