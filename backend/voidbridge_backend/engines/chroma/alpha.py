"""Alpha from colors: how much of the foreground beside it, and how much of the screen behind it, a pixel shows.

Arrays are float32: pictures [height, width, 3], scene-linear, alpha [height, width] from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from . import laplacian
from .screen import ScreenColor, spread

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Planes = Sequence[NDArray[np.float64]]

CORE = 0.85
"""A pixel whose whole neighborhood has at least this alpha at first sight is foreground."""
CLEAR = 0.03
"""A pixel whose neighborhood has at most this alpha on average is screen."""
SOLID = 0.95
"""A pixel of at least this alpha at first sight counts in the statistics of the foreground: a hair has no
neighborhood.
"""
BRIGHT = 1.0
"""Light above this counts less in the statistics of the foreground: highlights are few and far from the rest."""
REACH = 1 / 120
"""Standard deviation of the window of those statistics, as a share of the frame's height."""
FADE = 4
"""Distance, in such standard deviations, at which known colors have lost two thirds of their say."""
GRAIN_FLOOR = 2e-5
"""Least variance of the foreground's colors along each axis."""
DATA_WEIGHT = 0.3
"""Weight of a pixel's own alpha beside the smoothness of the matte, if its standard deviation is `TRUSTED`."""
TRUSTED = 0.05
BLOCK = 1 << 14
"""Pixels projected at once."""
MOMENTS = ((0,), (1,), (2,), (0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""The planes, and the products of planes, whose means give mean and covariance."""


@dataclass(frozen=True)
class AlphaLimits:
    """Pixels that a hint decides before any color is seen: surely foreground, and surely not."""

    core: Mask
    garbage: Mask


def limits_of(hint: Array | None, shape: tuple[int, int], core: int, garbage: int) -> AlphaLimits:
    """A hint's core and garbage. The core is where the hint is above 0.9, shrunk by `core` pixels. The garbage is
    farther than `garbage` pixels from where it is above 0.05. Without a hint both are empty."""
    if hint is None:
        return AlphaLimits(np.zeros(shape, bool), np.zeros(shape, bool))
    inside = cv2.distanceTransform((hint > 0.9).astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((hint <= 0.05).astype(np.uint8), cv2.DIST_L2, 5)
    return AlphaLimits(inside > max(core, 0), outside > max(garbage, 1))


def estimate(
    picture: Array,
    screen: Array,
    color: ScreenColor,
    limits: AlphaLimits,
    on_step: Callable[[], None] = lambda: None,
) -> Array:
    """Alpha of a frame whose clean `screen` [height, width, 3] is known. `on_step` is called often."""
    first = first_alpha(picture, screen, color)
    core = limits.core | _surely_core(first)
    clear = limits.garbage | (_surely_clear(picture, screen, color) & ~limits.core)
    core &= ~limits.garbage
    unknown = ~core & ~clear
    alpha = np.where(core, np.float32(1), np.float32(0))
    if not unknown.any():
        return alpha
    solid = _solid(picture, core, first)
    mean, covariance = _statistics(picture, solid, unknown)
    on_step()
    projected, variance = _projected(picture[unknown], screen[unknown], mean, covariance)
    # Far from every known color of the foreground, as in a pane of glass, it counts as neutral.
    near = _nearness(solid)[unknown]
    alpha[unknown] = near * projected + (1 - near) * first[unknown]
    confidence = np.zeros_like(alpha)
    confidence[unknown] = DATA_WEIGHT * TRUSTED**2 / np.maximum(variance, 1e-4)
    return laplacian.solve(np.clip(picture, 0, 2), unknown, alpha, confidence, on_step)


def first_alpha(picture: Array, screen: Array, color: ScreenColor) -> Array:
    """The color difference keyer: alpha if the foreground has no more of the key plane than of the others."""
    most = np.maximum(color.excess(screen), 1e-5)
    out: Array = np.clip(1 - color.excess(picture) / most, 0, 1)
    return out


def _surely_core(first: Array) -> Mask:
    small = cv2.erode(cv2.blur(first, (3, 3)), np.ones((5, 5), np.uint8))
    return np.asarray(small > CORE)


def _surely_clear(picture: Array, screen: Array, color: ScreenColor) -> Mask:
    """Screen, not only by its hue: black hair before it changes its brightness alone."""
    size = np.maximum(_squared(screen), 1e-8)
    soft = cv2.GaussianBlur(picture - screen, (0, 0), 1.0)
    distance = np.sqrt(_squared(soft) / size)
    return np.asarray(distance < CLEAR)


def _solid(picture: Array, core: Mask, first: Array) -> Mask:
    """Pixels whose color is the foreground's own. Highlights count if there is nothing else."""
    known = core | (first >= SOLID)
    dim = known & (_largest(picture) <= BRIGHT)
    return dim if dim.any() else known


def _largest(picture: Array) -> Array:
    """The brightest plane of each pixel; plane by plane, which is quicker than over the last axis."""
    out: Array = np.maximum(np.maximum(picture[..., 0], picture[..., 1]), picture[..., 2])
    return out


def _squared(picture: Array) -> Array:
    """The sum of the squares of each pixel's planes."""
    red, green, blue = (picture[..., c] for c in range(3))
    out: Array = red * red
    out += green * green
    out += blue * blue
    return out


def _nearness(solid: Mask) -> Array:
    """1 near pixels of known color, 0 far from them."""
    radius = FADE * max(2.0, REACH * solid.shape[0])
    far = cv2.distanceTransform((~solid).astype(np.uint8), cv2.DIST_L2, 5)
    out: Array = np.exp(-((far / np.float32(radius)) ** 2))
    return out


def _statistics(picture: Array, solid: Mask, part: Mask) -> tuple[Array, Array]:
    """Mean [n, 3] and covariance [n, 3, 3] of the foreground's colors near each of the n pixels of `part`."""
    height, width = solid.shape
    count = int(np.count_nonzero(part))
    if not solid.any():
        unknown = np.broadcast_to(np.eye(3, dtype=np.float32) * 0.05, (count, 3, 3))
        return np.zeros((count, 3), np.float32), unknown
    sigma = max(2.0, REACH * height)
    factor = max(1, int(sigma / 3))
    size = max(1, width // factor), max(1, height // factor)
    # The window is wide: the sums are made at a smaller size, and of known pixels only.
    weight = solid.astype(np.float32)
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    planes = [np.ascontiguousarray(picture[..., c]) for c in range(3)]
    sums, moment = [], np.empty_like(weight)
    for one, *other in MOMENTS:
        np.multiply(planes[one], weight, out=moment)
        for plane in other:
            moment *= planes[plane]
        sums.append(cv2.resize(moment, size, interpolation=cv2.INTER_AREA))
    means = np.dstack(sums) / np.maximum(share, np.float32(1e-6))[..., None]
    small = spread(means.astype(np.float32), share > 0, sigma / factor)
    places = np.flatnonzero(part)
    found = np.empty((count, len(MOMENTS)), np.float32)
    for k in range(len(MOMENTS)):
        wide = cv2.resize(
            np.ascontiguousarray(small[..., k]), (width, height), interpolation=cv2.INTER_LINEAR
        )
        found[:, k] = wide.ravel()[places]
    mean = found[:, :3]
    second = found[:, [3, 4, 5, 4, 6, 7, 5, 7, 8]].reshape(count, 3, 3)
    return mean, second - mean[:, :, None] * mean[:, None, :]


def _projected(
    picture: Array, screen: Array, mean: Array, covariance: Array
) -> tuple[Array, Array]:
    """Alpha of n pixels [n, 3], and its variance, by the direction that tells foreground from screen best.

    The direction is the linear discriminant: the foreground's own shading does not count, the difference to the
    screen does. Pixels are worked on in blocks that stay in the processor's cache.
    """
    alpha, variance = np.empty(len(picture), np.float32), np.empty(len(picture), np.float32)
    for start in range(0, len(picture), BLOCK):
        some = slice(start, start + BLOCK)
        front, behind, seen = (
            tuple(np.ascontiguousarray(part[some, c], np.float64) for c in range(3))
            for part in (mean, screen, picture)
        )
        between = [one - other for one, other in zip(front, behind, strict=True)]
        added = GRAIN_FLOOR + 1e-3 * _dot(between, between)
        (rr, rg, rb), (gg, gb), (bb,) = (
            [covariance[some, i, j].astype(np.float64) for j in range(i, 3)] for i in range(3)
        )
        direction = _solved((rr + added, rg, rb, gg + added, gb, bb + added), between)
        strength = np.maximum(_dot(direction, between), 1e-9)
        distance = [one - other for one, other in zip(seen, behind, strict=True)]
        alpha[some] = np.clip(_dot(direction, distance) / strength, 0, 1)
        variance[some] = 1 / strength
    return alpha, variance


def _dot(one: Planes, other: Planes) -> NDArray[np.float64]:
    """The inner product of vectors whose three components are planes."""
    out: NDArray[np.float64] = one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
    return out


def _solved(matrix: Planes, right: Planes) -> list[NDArray[np.float64]]:
    """Solves symmetric equations of 3x3 for every pixel, by cofactors: (rr, rg, rb, gg, gb, bb) x = `right`."""
    rr, rg, rb, gg, gb, bb = matrix
    one, two, three = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    four, five, six = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    scale = 1 / _dot((rr, rg, rb), (one, two, three))
    rows = ((one, two, three), (two, four, five), (three, five, six))
    return [_dot(row, right) * scale for row in rows]
