"""The light that is measured: far beyond any lamp, and small enough for sums of its squares in float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BRIGHTEST = np.float32(1e9)
"""Largest value, without its sign, that is taken for light."""


def is_light(picture: NDArray[np.floating]) -> NDArray[np.bool_]:
    """[height, width] of [height, width, 3]: False for NaN, infinities and values beyond `BRIGHTEST`."""
    return np.asarray((np.abs(picture) <= BRIGHTEST).all(axis=-1))


def bounded(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """The picture with values beyond `BRIGHTEST` at that bound; NaN stays. Kept pixels are never taken from it."""
    if is_light(picture).all():
        return picture
    return np.asarray(np.clip(picture, -BRIGHTEST, BRIGHTEST), np.float32)
