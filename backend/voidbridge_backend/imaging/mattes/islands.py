"""Small islands of solid alpha, and their removal. Arrays are [height, width], float32, from 0 to 1."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SOLID = 0.5
"""Alpha above this counts as solid when small islands are removed."""
ISLAND_AREA = 400
"""Smallest island of solid alpha that stays, in pixels (the published default)."""
ISLAND_GROWTH = 25
"""Pixels by which kept islands are grown, so that their soft edges stay too."""
ISLAND_BLUR = 5
"""Radius in pixels of the blur at the end of the growth."""


def remove_islands(
    alpha: Array, area: int = ISLAND_AREA, growth: int = ISLAND_GROWTH, blur: int = ISLAND_BLUR
) -> Array:
    """`alpha` [height, width] without islands of solid alpha smaller than `area` pixels.

    Pixels that touch at a corner belong together. The mask of islands that stay is grown by `growth` pixels and
    blurred by `blur`.
    """
    solid = (alpha > SOLID).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= area
    keep[0] = False
    mask = np.where(keep[labels], 255, 0).astype(np.uint8)
    if growth > 0:
        mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * growth + 1,) * 2))
    if blur > 0:
        mask = cv2.GaussianBlur(mask, (2 * blur + 1,) * 2, 0)
    share: Array = mask.astype(np.float32) / np.float32(255)
    return alpha * share
