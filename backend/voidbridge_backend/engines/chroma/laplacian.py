"""Closed-form matting within the unknown band: alpha that is locally a linear function of the colors.

Source: Levin, Lischinski and Weiss, "A Closed-Form Solution to Natural Image Matting" (2006), equations 12 and
13, with windows of 3x3. The matrix has a row for each unknown pixel only, so cost and memory follow the band,
not the frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import cg

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

REGULARIZATION = 1e-5
"""Added to the variance of the colors in a window, for light from 0 to about 1."""
BLOCK = 1 << 12
"""Windows worked on at once: their numbers stay in the processor's cache."""
TOLERANCE = 1e-4
"""Relative residual at which the solver stops."""
MOST_STEPS = 200
OFFSETS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
NEIGHBORS = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
"""Pixels that share a window with a pixel, which is number 12."""


def solve(
    picture: Array,
    unknown: Mask,
    alpha: Array,
    confidence: Array,
    on_step: Callable[[], None] = lambda: None,
) -> Array:
    """`alpha` [height, width] with its unknown pixels replaced by the smoothest matte that keeps near it.

    `picture` [height, width, 3] is finite. Known pixels keep their alpha. `confidence` [height, width] is the
    weight of an unknown pixel's own alpha; 0 leaves it to its neighbors.
    """
    out = alpha.astype(np.float32).copy()
    places = np.flatnonzero(unknown)
    if not places.size:
        return out
    values = _matrix(picture, unknown, places, on_step)
    weight = confidence.ravel()[places].astype(np.float64)
    start = alpha.ravel()[places].astype(np.float64)
    values[len(NEIGHBORS) // 2, :-1] += weight
    system, right = _system(values, unknown, alpha, places)
    right += weight * start
    diagonal = np.maximum(values[len(NEIGHBORS) // 2, :-1], 1e-12)
    inverse = scipy.sparse.diags_array((1 / diagonal).astype(np.float32))
    # Single precision, which is finer than the tolerance, halves what the solver reads.
    found, _ = cg(
        system,
        right.astype(np.float32),
        x0=start.astype(np.float32),
        rtol=TOLERANCE,
        maxiter=MOST_STEPS,
        M=inverse,
        callback=lambda _: on_step(),
    )
    out.ravel()[places] = np.clip(found, 0, 1)
    return out


def _system(
    values: NDArray[np.float64], unknown: Mask, alpha: Array, places: NDArray[np.intp]
) -> tuple[scipy.sparse.csr_matrix, NDArray[np.float64]]:
    """The equations of the unknown pixels: known ones go to the right side."""
    height, width = unknown.shape
    count = places.size
    number = np.zeros(height * width, np.int32)
    number[places] = np.arange(count, dtype=np.int32)
    is_unknown, given = unknown.ravel(), alpha.ravel()
    data = np.empty((count, len(NEIGHBORS)), np.float32)
    columns = np.empty((count, len(NEIGHBORS)), np.int32)
    right = np.zeros(count)
    for start in range(0, count, BLOCK):
        some = slice(start, min(start + BLOCK, count))
        for k, (dy, dx) in enumerate(NEIGHBORS):
            # Outside the frame a value is 0, and beyond its ends any place will do.
            there = np.clip(places[some] + (dy * width + dx), 0, height * width - 1)
            inner, value = is_unknown[there], values[k, some]
            data[some, k] = value * inner
            columns[some, k] = number[there]
            right[some] -= value * ~inner * given[there]
    pointers = np.arange(0, data.size + 1, len(NEIGHBORS))
    system = scipy.sparse.csr_matrix((data.ravel(), columns.ravel(), pointers), (count, count))
    return system, right


def _matrix(
    picture: Array,
    unknown: Mask,
    places: NDArray[np.intp],
    on_step: Callable[[], None] = lambda: None,
) -> NDArray[np.float64]:
    """The matting Laplacian of the unknown pixels: [25 neighbors, unknown pixels + 1]. The last column is waste."""
    height, width = unknown.shape
    row_of = np.full(height * width, places.size, np.int64)
    row_of[places] = np.arange(places.size)
    values = np.zeros((len(NEIGHBORS), places.size + 1))
    step = np.array([dy * width + dx for dy, dx in OFFSETS])[:, None]
    planes = [picture[..., c].ravel() for c in range(3)]
    centers = _centers(unknown)
    for number, start in enumerate(range(0, centers.size, BLOCK)):
        if number % 16 == 0:
            on_step()
        around = centers[start : start + BLOCK] + step
        colors = [plane[around].astype(np.float64) for plane in planes]
        _add_windows(values, row_of[around], colors)
    return values


def _centers(unknown: Mask) -> NDArray[np.intp]:
    """Centers of the windows of 3x3 inside the frame that hold an unknown pixel, as flat places."""
    held = np.zeros_like(unknown)
    height, width = unknown.shape
    for dy, dx in OFFSETS:
        held[1:-1, 1:-1] |= unknown[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx]
    return np.flatnonzero(held)


def _add_windows(
    values: NDArray[np.float64], rows: NDArray[np.int64], colors: list[NDArray[np.float64]]
) -> None:
    """Adds the windows' share to `values` [25 neighbors, pixels]. A pixel is in a window once at most.

    `rows` and each of three `colors` are [9 pixels, windows].
    """
    centered = [plane - _summed(plane) / 9 for plane in colors]
    spread = _whitened(centered)
    for a, (ya, xa) in enumerate(OFFSETS):
        for b, (yb, xb) in enumerate(OFFSETS[a:], a):
            affinity = spread[0][a] * centered[0][b]
            affinity += spread[1][a] * centered[1][b]
            affinity += spread[2][a] * centered[2][b]
            affinity += 1
            affinity *= -1 / 9
            if a == b:
                affinity += 1
            neighbor = (yb - ya + 2) * 5 + (xb - xa + 2)
            values[neighbor][rows[a]] += affinity
            if a != b:
                values[len(NEIGHBORS) - 1 - neighbor][rows[b]] += affinity


def _summed(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over the nine pixels of each window, row by row: quicker than over an axis."""
    total: NDArray[np.float64] = plane[0] + plane[1]
    for row in plane[2:]:
        total += row
    return total


def _whitened(centered: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """The colors of each window times the inverse of its covariance: three planes of [9 pixels, windows]."""
    red, green, blue = centered

    def covariance(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
        return _summed(one * other) / 9

    added = REGULARIZATION / 9
    rr, gg, bb = (covariance(plane, plane) + added for plane in centered)
    rg, rb, gb = covariance(red, green), covariance(red, blue), covariance(green, blue)
    # The inverse of a symmetric matrix of 3x3, by its cofactors.
    one, two, three = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    four, five, six = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    scale = 1 / (rr * one + rg * two + rb * three)
    rows = ((one, two, three), (two, four, five), (three, five, six))
    return [(red * a + green * b + blue * c) * scale for a, b, c in rows]
