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
        for _ in range(STEPS):
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
    """One Jacobi step: each color from its own mix and from its four neighbors."""
    total = light * matte[..., None]
    weight = matte * matte
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        near = SMOOTHNESS + GRADIENT_WEIGHT * np.abs(_shifted(matte, axis, step) - matte)
        total = total + near[..., None] * _shifted(color, axis, step)
        weight = weight + near
    return total / weight[..., None]


def _shifted(values: Array, axis: int, step: int) -> Array:
    """Each pixel's neighbor; the edge repeats itself."""
    out = np.empty_like(values)
    source: list[slice] = [slice(None)] * values.ndim
    target: list[slice] = [slice(None)] * values.ndim
    edge: list[slice] = [slice(None)] * values.ndim
    if step > 0:
        source[axis], target[axis], edge[axis] = slice(1, None), slice(None, -1), slice(-1, None)
    else:
        source[axis], target[axis], edge[axis] = slice(None, -1), slice(1, None), slice(0, 1)
    out[tuple(target)] = values[tuple(source)]
    out[tuple(edge)] = values[tuple(edge)]
    return out
