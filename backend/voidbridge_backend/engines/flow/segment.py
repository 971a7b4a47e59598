"""The first matte of an object on one frame, from clicks and a box, by GrabCut.

C. Rother, V. Kolmogorov, A. Blake, "GrabCut: interactive foreground extraction using iterated graph cuts", 2004.
Pictures are uint8 [height, width, 3] RGB. Mattes are float32 [height, width], 0 to 1. Points are (x, y) in
pixels from the top left corner.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.mask_base import Clicks, Matte, Picture

from .contour import completed

Mask = NDArray[np.bool_]

ITERATIONS = 5
"""Rounds of fitting color models and cutting; GrabCut settles after about as many."""
REACHES = (0.4, 0.5, 0.6, 0.75, 0.9, 1.1, 1.4, 1.8, 2.4)
"""Candidate extents around the positive clicks, in units of the distance between the farthest two."""
ALONE = 0.04
"""The unit for a single click: this share of the picture's width."""
CORE = 0.35
"""Within this share of the reach a pixel starts as object."""
DOT = 2
"""Radius of a positive click, in pixels."""
FAINTEST = 0.5
"""A candidate covers at least this share of the positive clicks' hull, or joins the clicks, as a ring does."""


def segment(picture: Picture, clicks: Clicks) -> Matte:
    """The object under the clicks or in the box; all 0 if the cut finds nothing.

    Clicks without a box are cut once for each of `REACHES`. The cut whose outline lies on the strongest edges
    of the picture is kept. It gets the parts of another color that a still stronger outline encloses.
    """
    if clicks.box is not None:
        return _cut(picture, clicks, _inside(picture, clicks.box)).astype(np.float32)
    cuts = [_cut(picture, clicks, _around(picture, clicks, reach)) for reach in REACHES]
    hull = _hull(picture, clicks.positive)
    usable = [
        cut
        for cut in cuts
        if not cut.all() and (_joins(cut, clicks) or (cut & hull).sum() >= FAINTEST * hull.sum())
    ]
    if not usable:
        return cuts[-1].astype(np.float32)
    edges = _edges(picture)
    scores = [_outline(edges, cut) + _agreement(cut, usable) for cut in usable]
    best = usable[int(np.argmax(scores))]
    whole = completed(picture, clicks, best)
    is_stronger = _outline(edges, whole) > _outline(edges, best)
    return (whole if is_stronger else best).astype(np.float32)


def _cut(picture: Picture, clicks: Clicks, labels: NDArray[np.uint8]) -> Mask:
    """GrabCut from these labels, kept where it hangs together with a positive click or lies in the box."""
    for x, y in clicks.negative:
        cv2.circle(labels, (round(x), round(y)), 2 * DOT, cv2.GC_BGD, -1)
    for x, y in clicks.positive:
        cv2.circle(labels, (round(x), round(y)), DOT, cv2.GC_FGD, -1)
    if not _is_mixed(labels):
        return np.zeros(labels.shape, bool)
    cv2.setRNGSeed(0)  # the color models start from k-means
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, labels, None, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    found: Mask = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return found if clicks.box is not None and not clicks.positive else _touching(found, clicks)


def _is_mixed(labels: NDArray[np.uint8]) -> bool:
    """GrabCut fits two color models and needs samples of both."""
    background = np.isin(labels, (cv2.GC_BGD, cv2.GC_PR_BGD))
    return bool(background.any() and not background.all())


def _touching(found: Mask, clicks: Clicks) -> Mask:
    _, parts = cv2.connectedComponents(found.astype(np.uint8))
    height, width = found.shape
    at = [(min(round(y), height - 1), min(round(x), width - 1)) for x, y in clicks.positive]
    kept = {int(parts[place]) for place in at} - {0}
    return np.isin(parts, list(kept))


def _joins(found: Mask, clicks: Clicks) -> bool:
    """True if one part holds all positive clicks."""
    parts = cv2.connectedComponents(found.astype(np.uint8))[1]
    height, width = found.shape
    at = [(min(round(y), height - 1), min(round(x), width - 1)) for x, y in clicks.positive]
    return len({int(parts[place]) for place in at}) == 1


def _around(picture: Picture, clicks: Clicks, reach: float) -> NDArray[np.uint8]:
    """Labels for one candidate extent: probable object near the clicks, background beyond the reach."""
    height, width = picture.shape[:2]
    points = np.array(clicks.positive, np.float64)
    spread = max(float(np.hypot(*(points - point).T).max()) for point in points)
    radius = reach * (spread if len(points) > 1 else 4 * ALONE * width)
    rows, columns = np.mgrid[:height, :width]
    distance = np.min([np.hypot(columns - x, rows - y) for x, y in points], axis=0)
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    labels[distance < radius] = cv2.GC_PR_BGD
    labels[distance < CORE * radius] = cv2.GC_PR_FGD
    return labels


def _inside(picture: Picture, box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    left, top, right, bottom = (max(round(edge), 0) for edge in box)
    labels = np.full(picture.shape[:2], cv2.GC_BGD, np.uint8)
    labels[top:bottom, left:right] = cv2.GC_PR_FGD
    return labels


def _hull(picture: Picture, points: Sequence[tuple[float, float]]) -> Mask:
    hull = np.zeros(picture.shape[:2], np.uint8)
    corners = cv2.convexHull(np.array(points, np.float32)).astype(np.int32)
    cv2.fillConvexPoly(hull, corners, (1,))
    return hull.astype(bool)


def _edges(picture: Picture) -> NDArray[np.float32]:
    """Strength of the edge at each pixel, 0 to 1, of the strongest channel in Lab."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    strength = cv2.morphologyEx(lab, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).max(axis=-1)
    return np.asarray(strength, np.float32) / np.float32(255)


def _outline(edges: NDArray[np.float32], cut: Mask) -> float:
    inner = cv2.erode(cut.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    outline = cut & ~inner
    return float(np.median(edges[outline])) if outline.any() else 0.0


def _agreement(cut: Mask, others: Sequence[Mask]) -> float:
    """A tenth of the mean overlap with all candidates: it decides between outlines that are equally strong."""
    overlaps = [(cut & other).sum() / max((cut | other).sum(), 1) for other in others]
    return 0.1 * float(np.mean(overlaps))
