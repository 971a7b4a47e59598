"""Tells how sharp a frame is, so that a focus decides which frames are its sources: nothing sharpens a soft one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.tone import Floats

FEWEST = 256
"""Pixels without which nothing is told."""
FINE, COARSE = (0.8, 1.6), (4.0, 8.0)
"""Two octaves of detail, as standard deviations in pixels of a reduced picture. A focus takes away the first."""
PLAIN = 1.0
"""Deviation of coarse detail, in steps of 8 bits, below which a picture has too little to tell a focus."""
AS_SHARP = 0.75
"""A source is as sharp as a frame if it has this part of its fine detail. It varies by a fifth without a focus."""


def sharpness(grey: NDArray[np.uint8], free: NDArray[np.uint8]) -> float:
    """The ratio of fine to coarse detail where `free` is not 0; NaN where there is hardly any detail.

    `grey` and `free` [height, width] are a frame at the camera's size.
    """
    known = (free > 0).astype(np.float32)
    if known.sum() < FEWEST:
        return float("nan")
    inside = free > 0
    picture = grey.astype(np.float32) * known
    fine, coarse = (
        float(np.sqrt(np.square(_octave(picture, known, *pair)[inside]).mean()))
        for pair in (FINE, COARSE)
    )
    return fine / coarse if coarse > PLAIN else float("nan")


def _octave(picture: Floats, known: Floats, near: float, far: float) -> Floats:
    narrow, wide = (
        cv2.GaussianBlur(picture, (0, 0), deviation)
        / np.maximum(cv2.GaussianBlur(known, (0, 0), deviation), 1e-3)
        for deviation in (near, far)
    )
    return np.asarray(narrow - wide, np.float32)


def worth(source: float, frame: float) -> float:
    """0 to 1: how much a source of this sharpness counts for a frame of that one; 1 if either is unknown."""
    if not source < AS_SHARP * frame:
        return 1.0
    return (source / (AS_SHARP * frame)) ** 2
