"""Adjusts a generated picture so that it meets the plate at the edge of the hole.

Arrays are [height, width, 3], float32, in the engine's code, where drifts of exposure and color are uniform; a
mask is [height, width]. The correction is a membrane. It blurs the difference between plate and picture on
a ring of kept pixels. A pyramid spreads it into the hole (pull-push; Gortler et al., "The Lumigraph", 1996). It
uses one frame only. It is stable over time because every value is a mean over hundreds of pixels.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]
Weights = NDArray[np.float32]

RING = 24.0
"""Maximum distance from the hole of compared pixels, in plate pixels. Measured: 4 to 48 give the same seam."""
BLUR = 3
"""The finest level of the pyramid in use: 2 to this power pixels hide the grain and keep a slope."""
DOUBT = 0.1
"""A difference of this much code has half its weight, and larger ones less. Such a difference is more likely
the object's own shadow or a redrawn edge than a drift.
"""
ENOUGH = 0.02
"""Fraction of a level's pixel that the ring must cover to be trusted; below it, the next level is mixed in."""


def margin(scale: float) -> int:
    """Returns the pixels around a hole that `membrane` uses; `scale` is plate pixels per engine pixel."""
    return math.ceil(_ring(scale)) + 2


def membrane(plate: Pixels, picture: Pixels, hole: Mask, scale: float = 1.0) -> Pixels:
    """Returns the correction to add to `picture` in the hole. Defined everywhere; 0 if no kept pixel is left to
    compare.

    `scale`  plate pixels per engine pixel, at least 1. An enlarged picture is compared over a ring that is
             wider by this factor, and with more blur.
    """
    scale = max(scale, 1.0)
    away = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    ring = (~hole) & (away <= _ring(scale))
    if not hole.any() or not ring.any():
        return np.zeros_like(picture)
    difference = np.where(ring[..., None], plate - picture, np.float32(0))
    largest = np.abs(difference).max(axis=-1)
    trust = (ring / np.square(1 + np.square(largest / np.float32(DOUBT)))).astype(np.float32)
    level = BLUR + max(0, round(math.log2(scale)))
    return _spread(difference * trust[..., None], trust, ring.astype(np.float32), level)


def _ring(scale: float) -> float:
    return RING * math.sqrt(max(scale, 1.0))


def _spread(sums: Pixels, trust: Weights, cover: Weights, finest: int) -> Pixels:
    """Spreads means of the known pixels from the coarsest level to `finest`, and enlarges them to full size."""
    levels = [(sums, trust, cover)]
    while max(levels[-1][1].shape) > 2:
        levels.append(tuple(_halved(array) for array in levels[-1]))  # type: ignore[arg-type]
    finest = min(finest, len(levels) - 1)
    spread: Pixels = np.zeros((1, 1, 3), np.float32)
    for index in range(len(levels) - 1, -1, -1):
        sums, trust, cover = levels[index]
        size = trust.shape[1], trust.shape[0]
        spread = cv2.resize(spread, size, interpolation=cv2.INTER_LINEAR).reshape(*trust.shape, 3)
        if index < finest:
            continue
        known = trust > 1e-6
        mean = np.where(known[..., None], sums / np.maximum(trust, np.float32(1e-6))[..., None], 0)
        believed = np.minimum(cover / np.float32(ENOUGH), 1) * known
        spread = (spread + believed[..., None] * (mean - spread)).astype(np.float32)
    return spread


def _halved(array: NDArray[np.float32]) -> NDArray[np.float32]:
    # Pixels beyond the border are unknown. Mirroring would count the ring twice there.
    return cast(NDArray[np.float32], cv2.pyrDown(array, borderType=cv2.BORDER_REFLECT))
