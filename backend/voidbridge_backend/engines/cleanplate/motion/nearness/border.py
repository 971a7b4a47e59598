"""Where the border between two depths lies in the hole: it moves as one of them does, or stands in the picture.

Other frames show both depths behind the hole, and their agreement does not tell where one ends. But each source has
a border of its own: there a pixel belongs to the depth by which the other sources are like it (layers: Wang and
Adelson, "Representing moving images with layers", 1994). Beside the hole the plate tells how the border moves. A
source in which a pixel belongs to the other depth is not asked for it.

Places are (x, y) [2, pixel].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Homography, Mask, inverse
from voidbridge_backend.engines.cleanplate.tone import Floats

from .agreement import ROW, Grey, ReducedSource, ReducedTarget, by_side

EVEN = 1.5
"""Steps by which pixels of one depth may be off its plane."""
SOME, NEARLY_ALL = 0.04, 0.8
"""Parts of the pixels beside the hole that a depth has at least, and both together."""
ROUNDS = 4
"""Rounds of least squares for a plane."""
BESIDE, FEWEST = 16, 40
"""Distance from a border up to which the plate tells how it moves and it may move, and pixels that have to tell."""
WRONG = 0.1
"""Part of these pixels that may be on the wrong side of a border that moves so."""
APART = 0.04
"""How much larger that part is for another motion of the border."""
CLEAR = 4.0
"""Steps of 8 bits beyond which it makes no difference how much better one of the depths agrees."""
AGREED = 4.0
"""Difference of two lumas up to which a depth agrees at all."""
SURE = 0.3
"""Steps of 8 bits by which one of the depths has to agree better."""
SEVERAL = 2
"""Sources that have to tell."""
AROUND = 3
"""Side of the box over which that is averaged."""
STILL = 2
"""The number of a border that stands in the picture; 0 and 1 are those of the depths."""

Plane = NDArray[np.float64]
"""(a, b, c) of a nearness a * x + b * y + c."""
Pixels = NDArray[np.intp]


@dataclass(frozen=True)
class _Picture:
    """A frame: its luma, and 255 where it shows background.

    `ways` lead from pixels of the target to it: by each of the depths, and to the same place of the picture.
    """

    grey: Floats
    free: Grey
    ways: tuple[Homography, Homography, Homography]
    along: float


def placed(
    view: ReducedTarget, pieces: Sequence[ReducedSource], nearness: Floats, step: float
) -> tuple[Floats, Mask]:
    """The nearness with the border of two depths where the sources have it, and what they hide.

    The latter is [source, height, width]: the pixels in whose place a source shows the other depth. Nothing changes
    where there are not two depths, or where the border moves in another way.
    """
    hidden = np.zeros((len(pieces), *nearness.shape), bool)
    planes = None if view.free.all() else _two_planes(nearness, view.free, EVEN * step)
    if planes is None:
        return nearness, hidden
    depths = np.stack([_values(plane, nearness.shape) for plane in planes])
    away = np.abs(depths - nearness)
    label, known = away.argmin(0), view.free & (away.min(0) < EVEN * step)
    pictures = [_picture(one, planes) for one in pieces]
    near = _beside_border(label)
    motion = _motion(view, pictures, label, known & near)
    if motion is None:
        return nearness, hidden
    votes = np.where(known, np.where(label > 0, CLEAR, -CLEAR), 0).astype(np.float32)
    strip = ~view.free & near
    if not strip.any():
        return nearness, hidden
    hole = np.nonzero(strip)
    votes[hole] = _mean(*_told(view, pictures, hole, motion))
    votes = cv2.blur(votes, (AROUND, AROUND))
    told = strip & (np.abs(votes) > SURE)
    label[told] = votes[told] > 0
    for depth, sign in enumerate((1, -1)):
        where = np.nonzero(strip & (label == depth))
        if len(where[0]):
            hidden[:, where[0], where[1]] = sign * _told(view, pictures, where, depth)[0] > SURE
    own = np.take_along_axis(depths, label[None], 0)[0]
    return np.where(told & (np.abs(own - nearness) > EVEN * step), own, nearness), hidden


def _picture(one: ReducedSource, planes: Sequence[Plane]) -> _Picture:
    first, second = (one.way.plane + np.outer(one.way.shift, plane) for plane in planes)
    return _Picture(one.grey, one.free, (first, second, one.still), one.along)


def _motion(
    view: ReducedTarget, pictures: Sequence[_Picture], label: Pixels, known: Mask
) -> int | None:
    """The depth that the border moves with, or STILL; None where it moves as none of them."""
    where = np.nonzero(known)
    if len(where[0]) < FEWEST:
        return None
    wrong = []
    for motion in (0, 1, STILL):
        votes = _mean(*_told(view, pictures, where, motion))
        told = votes != 0
        missed = ((votes > 0) != label[where])[told]
        wrong.append(float(missed.mean()) if len(missed) >= FEWEST else 1.0)
    best = int(np.argmin(wrong))
    # A border along the motion of both depths lies where they end: it needs no help.
    return best if wrong[best] <= min(WRONG, max(wrong) - APART) else None


def _beside_border(label: Pixels) -> Mask:
    ring = np.ones((3, 3), np.uint8)
    edge = cv2.morphologyEx(label.astype(np.uint8), cv2.MORPH_GRADIENT, ring)
    return np.asarray(cv2.distanceTransform(1 - edge, cv2.DIST_L2, 3) < BESIDE)


def _mean(better: Floats, shown: Mask) -> Floats:
    """[pixel]: the mean of those that are shown; 0 where fewer than SEVERAL of them tell anything."""
    several = (shown & (better != 0)).sum(0) >= SEVERAL
    return np.asarray((better * shown).sum(0) * several / np.maximum(shown.sum(0), 1), np.float32)


def _told(
    view: ReducedTarget, pictures: Sequence[_Picture], where: tuple[Pixels, ...], motion: int
) -> tuple[Floats, Mask]:
    """[source, pixel]: by how much better the second depth agrees than the first, and which pixels are shown.

    A source is looked at where the pixels are that move so.
    """
    eye = np.eye(3)
    grown = view.free.astype(np.uint8) * np.uint8(255)
    everyone = [*pictures, _Picture(view.grey, grown, (eye, eye, eye), 0.0)]
    at = np.stack(where[::-1]).astype(np.float32)
    every = np.ones(at.shape[1], bool)
    told, known = [], []
    for one in pictures:
        there = _moved(one.ways[motion], at)
        plate, shown = _read(one, there)
        others = [other for other in everyone if other is not one]
        sides = np.array([1 if other.along > one.along else 2 for other in others])
        costs = []
        for depth in range(2):
            back = inverse(one.ways[depth])
            seen = [_read(other, _moved(other.ways[depth] @ back, there)) for other in others]
            luma, free = (np.stack(parts) for parts in zip(*seen, strict=True))
            costs.append(by_side(plate, every, sides, luma, free).min(0))
        better = np.clip(costs[0] - costs[1], -CLEAR, CLEAR)
        told.append(better * (np.minimum(*costs) < AGREED))
        known.append(shown)
    return np.stack(told), np.stack(known)


def _two_planes(nearness: Floats, free: Mask, off: float) -> list[Plane] | None:
    """Those of two depths; None where they do not explain nearly all that is `free`."""
    left, planes = np.ones(nearness.shape, bool), []
    for _ in range(2):
        plane = _plane(nearness, left, off)
        if plane is None:
            return None
        mine = left & (np.abs(_values(plane, nearness.shape) - nearness) < off)
        if (mine & free).sum() < SOME * free.sum():
            return None
        planes.append(plane)
        left &= ~mine
    return planes if (left & free).sum() <= (1 - NEARLY_ALL) * free.sum() else None


def _plane(nearness: Floats, left: Mask, off: float) -> Plane | None:
    """The one of the largest connected part of what is `left`; None where that is small."""
    links = left.copy()
    links[:, 1:] &= np.abs(np.diff(nearness, axis=1)) < off
    links[1:] &= np.abs(np.diff(nearness, axis=0)) < off
    count, parts, stats, _ = cv2.connectedComponentsWithStats(links.view(np.uint8), connectivity=4)
    if count < 2:
        return None
    mine = parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    plane = np.zeros(3)
    for _ in range(ROUNDS):
        y, x = np.nonzero(mine)
        if len(y) < FEWEST:
            return None
        rows = np.column_stack([x, y, np.ones(len(x))])
        # Not a product of matrices, whose last bits depend on the number of threads.
        energy = np.einsum("ni,nj->ij", rows, rows) + 1e-6 * np.eye(3)
        plane = np.linalg.solve(energy, np.einsum("ni,n->i", rows, nearness[mine]))
        mine = left & (np.abs(_values(plane, nearness.shape) - nearness) < off)
    return plane


def _values(plane: Plane, shape: tuple[int, ...]) -> Floats:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(plane[0] * x + plane[1] * y + plane[2], np.float32)


def _moved(motion: Homography, at: Floats) -> Floats:
    m = motion.astype(np.float32)
    u, v, w = (m[k, 0] * at[0] + m[k, 1] * at[1] + m[k, 2] for k in range(3))
    return np.asarray(np.stack([u / w, v / w]), np.float32)


def _read(one: _Picture, at: Floats) -> tuple[Floats, Mask]:
    """The luma at places of a picture, and where it shows background."""
    # A row of a picture that OpenCV resamples has fewer than 32768 pixels.
    count = at.shape[1]
    x, y = (np.resize(part, (-(-count // ROW), ROW)) for part in at)
    grey = cv2.remap(one.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    free = cv2.remap(one.free, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(grey.ravel()[:count], np.float32), free.ravel()[:count] > 0
