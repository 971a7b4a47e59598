"""The outline of an object along the strongest edges around a rough matte: parts that differ in color belong to it.

The outline is star-shaped, as in O. Veksler, "Star shape prior for graph-cut image segmentation", 2008. The best
one is found by dynamic programming over the radii of all directions.
Pictures are uint8 [height, width, 3] RGB. Points are (x, y) in pixels from the top left corner.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.mask_base import Clicks, Picture

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

DIRECTIONS = 180
FARTHEST = 1.35
"""Largest radius in units of the rough matte's own; the second is for clicks outside of it."""
FARTHEST_CLICK = 1.5
SLOPE = 4
"""Largest change of the radius from one direction to the next, in pixels."""
SLOPE_COST = 0.01
"""Cost of a change by one pixel, in units of the edge strength, 0 to 1."""
KEPT_IN, KEPT_OUT = 2.0, 4.0
"""Pixels around a click on the object that lie inside, and around one beside it that lie outside."""
HOLE = 0.75
"""A gap whose border touches the rough matte along this share is a hole of the object, as in a handle."""
FORBIDDEN = np.float32(1e3)


def completed(picture: Picture, clicks: Clicks, rough: Mask) -> Mask:
    """The rough matte with what lies between it and the strongest outline around it, but for holes."""
    found = rough.copy()
    gaps = _outlined(picture, clicks, rough) & ~rough
    count, parts = cv2.connectedComponents(gaps.astype(np.uint8), connectivity=4)
    for part in range(1, count):
        gap = parts == part
        border = (cv2.dilate(gap.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~gap
        if (border & rough).sum() < HOLE * border.sum():
            found |= gap
    return found


def _outlined(picture: Picture, clicks: Clicks, rough: Mask) -> Mask:
    """The area within the strongest outline."""
    inside = np.argwhere(rough)[:, ::-1].astype(np.float64)
    center = np.concatenate([inside, np.array(clicks.positive)]).mean(axis=0)
    positive, negative = (_polar(points, center) for points in (clicks.positive, clicks.negative))
    reach = FARTHEST * np.hypot(*(inside - center).T).max()
    reach = max(reach, FARTHEST_CLICK * positive[1].max()) + 2
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    cost = -_strengths(picture, center, rays, int(reach))
    for angle, radius in zip(*positive, strict=True):
        cost[_beside(angle, angles, radius, KEPT_IN), : int(radius + KEPT_IN) + 1] = FORBIDDEN
    for angle, radius in zip(*negative, strict=True):
        if radius > KEPT_OUT + 2:
            cost[_beside(angle, angles, radius, KEPT_OUT), int(radius - KEPT_OUT) :] = FORBIDDEN
    cost[:, :2] = FORBIDDEN
    corners = center + rays * _closed_path(cost)[:, None]
    drawn = np.zeros(rough.shape, np.uint8)
    cv2.fillPoly(drawn, [np.round(corners).astype(np.int32)], (1,))
    return drawn.astype(bool)


def _polar(
    points: tuple[tuple[float, float], ...], center: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Angles from -pi to pi, and radii, of points around the center: [2, points]."""
    across, down = (np.array(points, np.float64).reshape(-1, 2) - center).T
    return np.stack([np.arctan2(down, across), np.hypot(across, down)])


def _beside(angle: float, angles: NDArray[np.float64], radius: float, width: float) -> Mask:
    """The directions that pass a point at this radius within `width` pixels; one at least."""
    apart = np.abs((angles - angle + np.pi) % (2 * np.pi) - np.pi)
    return np.asarray(apart <= max(np.arctan2(width, max(radius, 1)), np.pi / DIRECTIONS))


def _strengths(
    picture: Picture, center: NDArray[np.float64], rays: NDArray[np.float64], reach: int
) -> Plane:
    """Strength of the edges across each ray, 0 to 1, of the strongest channel in Lab: [rays, radius]."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    soft = cv2.GaussianBlur(lab, (0, 0), 1.0)
    across, down = (
        (center[axis] + np.outer(rays[:, axis], np.arange(reach + 1))).astype(np.float32)
        for axis in (0, 1)
    )
    drawn = cv2.remap(soft, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    found = np.zeros(drawn.shape[:2], np.float32)
    found[:, 1:-1] = np.abs(drawn[:, 2:] - drawn[:, :-2]).max(axis=-1) / np.float32(255)
    return found


def _closed_path(cost: Plane) -> NDArray[np.int64]:
    """The cheapest radius of every direction. Two rounds are searched, and their middle is closed."""
    twice = np.concatenate([cost, cost, cost[:1]])
    came = np.zeros(twice.shape, np.int64)
    total = twice[0]
    for row in range(1, len(twice)):
        padded = np.pad(total, SLOPE, constant_values=FORBIDDEN * len(twice))
        options = np.stack(
            [
                padded[SLOPE + step : SLOPE + step + len(total)]
                + np.float32(SLOPE_COST * abs(step))
                for step in range(-SLOPE, SLOPE + 1)
            ]
        )
        came[row] = options.argmin(axis=0) - SLOPE
        total = options.min(axis=0) + twice[row]
    radius = int(total.argmin())
    path = np.zeros(len(twice), np.int64)
    for row in range(len(twice) - 1, -1, -1):
        path[row] = radius
        radius += int(came[row, radius])
    middle, count = len(cost) // 2, len(cost)
    return np.roll(path[middle : middle + count], middle)
