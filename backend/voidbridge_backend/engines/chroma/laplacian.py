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
BLOCK = 1 << 16
"""Windows worked on at once: their matrices stay in the processor's cache."""
TOLERANCE = 1e-4
"""Relative residual at which the solver stops."""
MOST_STEPS = 200
OFFSETS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


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
    matrix = _matrix(picture, unknown, places, on_step)
    number = np.cumsum(unknown.ravel()) - 1
    inner = unknown.ravel()[matrix.indices]
    fixed = np.where(inner, 0.0, matrix.data * alpha.ravel()[matrix.indices])
    right = -np.add.reduceat(fixed, matrix.indptr[:-1])
    data = np.where(inner, matrix.data, 0.0)
    columns = np.where(inner, number[matrix.indices], 0).astype(np.int32)
    shape = (places.size, places.size)
    system = scipy.sparse.csr_matrix((data, columns, matrix.indptr), shape)
    weight = confidence.ravel()[places].astype(np.float64)
    system = system + scipy.sparse.diags_array(weight, format="csr")
    start = alpha.ravel()[places].astype(np.float64)
    right = right + weight * start
    diagonal = np.maximum(system.diagonal(), 1e-12)
    inverse = scipy.sparse.diags_array(1 / diagonal)
    found, _ = cg(
        system,
        right,
        x0=start,
        rtol=TOLERANCE,
        maxiter=MOST_STEPS,
        M=inverse,
        callback=lambda _: on_step(),
    )
    out.ravel()[places] = np.clip(found, 0, 1)
    return out


def _matrix(
    picture: Array,
    unknown: Mask,
    places: NDArray[np.intp],
    on_step: Callable[[], None] = lambda: None,
) -> scipy.sparse.csr_matrix:
    """Rows of the matting Laplacian for the unknown pixels: [unknown pixels, pixels of the frame]."""
    height, width = unknown.shape
    row_of = np.full(height * width, -1, np.int64)
    row_of[places] = np.arange(places.size)
    values = np.zeros((places.size, 25))
    step = np.array([dy * width + dx for dy, dx in OFFSETS])
    pixels = picture.reshape(-1, 3).astype(np.float64)
    centers = _centers(unknown)
    for start in range(0, centers.size, BLOCK):
        on_step()
        around = centers[start : start + BLOCK, None] + step
        _add_windows(values, row_of, around, pixels[around])
    across = np.array([dy * width + dx for dy in range(-2, 3) for dx in range(-2, 3)])
    columns = np.clip(places[:, None] + across, 0, height * width - 1)
    pointers = np.arange(0, values.size + 1, 25)
    return scipy.sparse.csr_matrix(
        (values.ravel(), columns.ravel(), pointers), (places.size, height * width)
    )


def _centers(unknown: Mask) -> NDArray[np.intp]:
    """Centers of the windows of 3x3 inside the frame that hold an unknown pixel, as flat places."""
    held = np.zeros_like(unknown)
    height, width = unknown.shape
    for dy, dx in OFFSETS:
        held[1:-1, 1:-1] |= unknown[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx]
    return np.flatnonzero(held)


def _add_windows(
    values: NDArray[np.float64],
    row_of: NDArray[np.int64],
    around: NDArray[np.intp],
    colors: NDArray[np.float64],
) -> None:
    """Adds the windows' share to `values` [unknown pixels, 25 neighbors]. A pixel is in a window once at most."""
    centered = colors - colors.mean(axis=1, keepdims=True)
    covariance = np.einsum("wpi,wpj->wij", centered, centered) / 9
    covariance += np.eye(3) * (REGULARIZATION / 9)
    spread = np.einsum("wpi,wij->wpj", centered, np.linalg.inv(covariance))
    affinity = (1 + np.einsum("wpi,wqi->wpq", spread, centered)) / 9
    rows = row_of[around]
    for a, (ya, xa) in enumerate(OFFSETS):
        there = rows[:, a] >= 0
        mine = rows[there, a]
        for b, (yb, xb) in enumerate(OFFSETS):
            neighbor = (yb - ya + 2) * 5 + (xb - xa + 2)
            values[mine, neighbor] += (a == b) - affinity[there, a, b]
