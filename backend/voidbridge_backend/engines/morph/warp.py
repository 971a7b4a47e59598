"""Small operations on flow: float32 [height, width, 2], (x, y) in pixels, from a picture to another."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Homography

Floats = NDArray[np.float32]
Flow = NDArray[np.float32]
Mask = NDArray[np.bool_]

SMALL_MOTION = 8.0
"""Pixels: gaps in a flow are filled from motions about as small as this first, as the background's are."""
REACHES = (2, 6, 18, 54, 160)
"""Blurs, in pixels, that gaps are filled with, the smallest that reaches."""
SLACK_PX, SLACK = 1.0, 0.1
"""A way there and back may end this far from its start, plus this share of its length."""


def grid(height: int, width: int) -> tuple[Floats, Floats]:
    """(x, y), each [height, width]: the pixels' own places."""
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return xs, ys


def sampled(
    picture: NDArray[np.float32], x: Floats, y: Floats, flags: int = cv2.INTER_LINEAR
) -> Floats:
    """`picture` at the places (x, y); beyond its edge the last pixel is repeated."""
    found = cv2.remap(picture, x, y, flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def moved(motion: Homography, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The places (x, y), taken along by a homography."""
    depth = motion[2, 0] * x + motion[2, 1] * y + motion[2, 2]
    across = (motion[0, 0] * x + motion[0, 1] * y + motion[0, 2]) / depth
    down = (motion[1, 0] * x + motion[1, 1] * y + motion[1, 2]) / depth
    return across.astype(np.float32), down.astype(np.float32)


def mismatch(there: Flow, back: Flow) -> Floats:
    """[height, width]: how far the way there and back ends from its start; above 1 is too far.

    After N. Sundaram, T. Brox, K. Keutzer, "Dense point trajectories by GPU-accelerated large displacement optical
    flow", 2010.
    """
    x, y = grid(*there.shape[:2])
    way = sampled(back, x + there[..., 0], y + there[..., 1])
    length = np.linalg.norm(there, axis=-1) + np.linalg.norm(way, axis=-1)
    apart = np.linalg.norm(there + way, axis=-1)
    return np.asarray(apart / (SLACK_PX + SLACK * length), np.float32)


def filled(flow: Flow, known: Mask) -> Flow:
    """`flow` with other values where it is not `known`: those nearby, small ones before large ones."""
    if known.all():
        return flow
    weight = np.exp(-np.linalg.norm(flow, axis=-1) / np.float32(SMALL_MOTION)) + np.float32(1e-4)
    weight = np.where(known, weight, 0).astype(np.float32)
    found, lacking = flow.copy(), ~known
    for reach in REACHES:
        total = cv2.GaussianBlur(weight, (0, 0), reach)
        mean = cv2.GaussianBlur(flow * weight[..., None], (0, 0), reach)
        hit = lacking & (total > (1e-12 if reach == REACHES[-1] else 1e-3))
        found[hit] = mean[hit] / total[hit][:, None]
        lacking &= ~hit
        if not lacking.any():
            break
    found[lacking] = 0
    return found


def splatted(flow: Flow, time: float, weight: Floats) -> tuple[Flow, Floats]:
    """`flow` seen from where its pixels are at `time`, and how much of it came there ([height, width]).

    Each pixel is shared out to the four that it falls between, by its `weight`.
    """
    height, width = flow.shape[:2]
    xs, ys = grid(height, width)
    x, y = xs + np.float32(time) * flow[..., 0], ys + np.float32(time) * flow[..., 1]
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    sums = np.zeros((3, height * width))
    for column, row in ((left + i, top + j) for i in (0, 1) for j in (0, 1)):
        share = (1 - np.abs(x - column)) * (1 - np.abs(y - row)) * weight
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        place, share = (row * width + column)[inside], share[inside]
        for total, values in zip(sums, (flow[..., 0], flow[..., 1], None), strict=True):
            amount = share if values is None else share * values[inside]
            total += np.bincount(place, amount, height * width)
    came = sums[2].reshape(height, width)
    mean = (sums[:2] / np.maximum(sums[2], 1e-9)).reshape(2, height, width)
    return np.ascontiguousarray(np.moveaxis(mean, 0, -1), np.float32), came.astype(np.float32)
