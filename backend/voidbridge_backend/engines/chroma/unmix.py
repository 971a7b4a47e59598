"""Foreground colors out of a mix with a known screen, and the light of the screen taken out of them.

Arrays are float32, scene-linear: pictures [height, width, 3], alpha [height, width]. Nothing is clamped at 1.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .screen import ScreenColor

Array = NDArray[np.float32]

SMOOTHNESS = np.float32(1e-3)
"""Weight of equal colors in neighbors, beside a mix that fits, whose weight is alpha squared."""
GRADIENT_WEIGHT = np.float32(0.1)
"""The same for each unit of difference of alpha between the neighbors."""
STEPS = 4
"""Sweeps over each level."""
MIXED = np.float32(0.999)
"""A pixel with more alpha than this shows the foreground alone."""
BESIDE = 3
"""Distance in pixels from the band at which pixels without foreground still take the colors of their neighbors."""
COARSEST = 8
"""Shortest side of the coarsest level, in pixels."""
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Luminance of linear Rec. 709 light, ITU-R BT.709."""


def foreground(picture: Array, alpha: Array, screen: Array) -> Array:
    """Smooth straight foreground colors that fit the mix `alpha * foreground + (1 - alpha) * screen`.

    Each level minimizes the error of the mix. Differences of neighboring colors count too, weighted by differences
    of alpha. Source: Germer et al., "Fast Multi-Level Foreground Estimation" (2020), with a known background.
    """
    own = picture - (1 - alpha[..., None]) * screen
    levels = [(own, alpha)]
    while min(levels[-1][1].shape) > COARSEST:
        light, matte = levels[-1]
        size = (matte.shape[1] + 1) // 2, (matte.shape[0] + 1) // 2
        # Weighted by alpha: the fully covered pixels decide, and those without foreground say nothing.
        share = cv2.resize(matte * matte, size, interpolation=cv2.INTER_AREA)
        mixed = cv2.resize(light * matte[..., None], size, interpolation=cv2.INTER_AREA)
        half = np.sqrt(share)
        levels.append((mixed / np.maximum(half, 1e-3)[..., None], half))
    light, matte = levels[-1]
    whole = max(float((matte * matte).sum()), 1e-6)
    color: Array = np.zeros_like(light)
    color += (light * matte[..., None]).sum((0, 1)) / np.float32(whole)
    for light, matte in reversed(levels):
        color = cv2.resize(color, matte.shape[::-1], interpolation=cv2.INTER_LINEAR)
        color = _swept(color, light, matte)
    return color


def recombined(picture: Array, alpha: Array, color: Array, screen: Array) -> tuple[Array, Array]:
    """Foreground and screen, changed as little as possible so that they mix to the picture exactly.

    Where alpha is high the foreground takes the difference (its grain), where it is low the screen does. The mix is
    `alpha * foreground + (1 - alpha) * screen`.
    """
    a = alpha[..., None]
    rest = picture - a * color - (1 - a) * screen
    share = rest / (a * a + (1 - a) * (1 - a))
    return color + a * share, screen + (1 - a) * share


def despilled(color: Array, screen: ScreenColor, strength: float, balance: float = 0.5) -> Array:
    """`color` without light of the screen: its key plane limited by a mix of the others.

    `balance` 0 limits by their mean, 1 by the larger. `strength` is from 0 to 1. The luminance that is taken
    away comes back as neutral light, so edges do not darken.
    """
    if strength <= 0:
        return color
    first, second = (color[..., plane] for plane in screen.others)
    mean, most = (first + second) / 2, np.maximum(first, second)
    limit = mean + np.float32(balance) * (most - mean)
    spill = np.maximum(color[..., screen.key] - np.maximum(limit, 0), 0) * np.float32(strength)
    out = color.copy()
    out[..., screen.key] -= spill
    out += (spill * LUMINANCE[screen.key])[..., None]
    return out


def _swept(color: Array, light: Array, matte: Array) -> Array:
    """Jacobi steps in the band of mixed pixels: each color from its own mix and from its four neighbors.

    A pixel that shows the foreground alone is its own color. One that shows none keeps its `color`, but for those
    beside the band, which nothing but their neighbors tells.
    """
    out = np.where((matte > MIXED)[..., None], light / np.maximum(matte, MIXED)[..., None], color)
    mixed = (matte > 0) & (matte <= MIXED)
    band = cv2.dilate(mixed.astype(np.uint8), np.ones((2 * BESIDE + 1,) * 2, np.uint8)) > 0
    places = np.flatnonzero(band & (matte <= MIXED))
    height, width = matte.shape
    rows, columns = np.divmod(places, width)
    flat, own = np.ascontiguousarray(out).reshape(-1, 3), matte.ravel()
    own_matte = own[places]
    own_light = light.reshape(-1, 3)[places] * own_matte[:, None]
    near = []
    total = own_matte * own_matte
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        # The edge repeats itself.
        there = np.clip(rows + dy, 0, height - 1) * width + np.clip(columns + dx, 0, width - 1)
        weight = SMOOTHNESS + GRADIENT_WEIGHT * np.abs(own[there] - own_matte)
        near.append((there, weight[:, None]))
        total = total + weight
    share = (1 / total)[:, None]
    for _ in range(STEPS):
        mix = own_light.copy()
        for there, weight in near:
            mix += weight * flat[there]
        flat[places] = mix * share
    return flat.reshape(color.shape)
