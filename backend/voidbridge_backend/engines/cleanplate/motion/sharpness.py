"""Tells how much a frame shows: how sharp it is, and how much contrast its light has. A focus and a fade decide by
it which frames are sources: nothing sharpens a soft one, and nothing brings a black one back.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.tone import WEIGHTS, Floats

FEWEST = 256
"""Pixels without which nothing is told."""
FINE, COARSE = (0.8, 1.6), (4.0, 8.0)
"""Two octaves of detail, as standard deviations in pixels of a reduced picture. A focus takes away the first."""
PLAIN = 1.0
"""Deviation of coarse detail, in steps of 8 bits, below which a picture has too little to tell a focus."""
AS_SHARP = 0.75
"""A source is as sharp as a frame if it has this part of its fine detail. It varies by a fifth without a focus."""
CELLS = 48
"""Columns of the cells whose brightness gives the contrast: their means have hardly any grain."""
CLEAR, BLANK = 0.25, 1 / 64
"""A source with CLEAR of a frame's contrast counts in full, and one with less than BLANK of it not at all."""


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


def contrast(light: Floats, free: NDArray[np.uint8]) -> float:
    """How much brighter the bright parts of the light [height, width, 3] are than the dark ones, where `free` is
    not 0. NaN where there is hardly anything free.
    """
    height, width = free.shape
    size = min(CELLS, width), max(round(height * min(CELLS, width) / width), 1)
    known = (free > 0).astype(np.float32)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    some = share > 0.5
    if some.sum() < 2:
        return float("nan")
    total = cv2.resize(cv2.copyTo(light, free), size, interpolation=cv2.INTER_AREA)
    dark, bright = np.percentile((total @ WEIGHTS)[some] / share[some], (5, 95))
    return float(bright - dark)


def clear(source: float, frame: float) -> float:
    """0 to 1: how much a source of this contrast counts for a frame of that one; 1 if either is unknown."""
    if not source < CLEAR * frame:
        return 1.0
    return (source / (CLEAR * frame)) ** 2 if source > BLANK * frame else 0.0


def worth(source: float, frame: float) -> float:
    """0 to 1: how much a source of this sharpness counts for a frame of that one; 1 if either is unknown."""
    if not source < AS_SHARP * frame:
        return 1.0
    return (source / (AS_SHARP * frame)) ** 2
