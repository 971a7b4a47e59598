"""Tells the sources apart beside lamps and glints, where resampling errs more than grain does.

The picture between two pixels is a guess. Beside a lamp of 60 times white the guess is wrong by a part of the
lamp's light. A source whose own pixels come to lie on the target's needs no guess, so there it counts most.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import WEIGHTS, Floats, Tone

Indices = NDArray[np.intp]

HARSH = 2.0
"""Light, after exposure, from which on something is a lamp or a glint: its piece is resampled logarithmically."""
STEEP = 0.1
"""Encoded difference of neighbouring pixels from which on they lie beside one."""
SURE = 0.03
"""Squared distance in pixels from a source's own pixel, up to which all sources are about as good."""


def steep(light: Floats, shown: Mask, tone: Tone) -> tuple[Indices, Floats]:
    """The pixels beside lamps of `light` [3, height, width], numbered in rows, and how steep each is."""
    if float(light.max()) * tone.exposure < HARSH:
        return np.empty(0, np.intp), np.empty(0, np.float32)
    code = tone.encode(np.einsum("c,chw->hw", WEIGHTS, light))
    kernel = np.ones((3, 3), np.uint8)
    highest = cv2.dilate(np.where(shown, code, 0), kernel)
    lowest = cv2.erode(np.where(shown, code, np.float32(np.inf)), kernel)
    rise = np.where(shown, highest - lowest, 0).ravel()
    where = np.flatnonzero(rise > STEEP)
    return where, np.asarray(rise[where], np.float32)


def trust(at: NDArray[np.float64]) -> Floats:
    """How much a source counts that shows pixels at its places `at` [pixel, 2]: 1 on its own pixels."""
    away = np.square(at - np.rint(at)).sum(1)
    return np.asarray((SURE / (SURE + away)) ** 2, np.float32)
