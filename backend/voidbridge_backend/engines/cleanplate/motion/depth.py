"""Backgrounds at several depths: each is laid over the hole by a motion of its own.

The layers' motions come from `layers`. Around the hole the plate tells which layer a pixel belongs to. In the hole
the sources do: those of the right layer agree with each other (Collins, "A space-sweep approach to true multi-image
matching", 1996).

Pictures are 8 bit lumas [height, width] of the target's box at reduced size.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import (
    FrameBox,
    Homography,
    Mask,
    scaling,
    shift,
)
from voidbridge_backend.engines.cleanplate.tone import Floats, Tone
from voidbridge_backend.parallel import Pool

from . import camera
from .align import Surrounding, WarpedSource, warp_grey, warp_source
from .analyze_camera import Shot

Grey = NDArray[np.uint8]

PIXELS = 160_000
"""Pixels of the reduced picture, at most."""
BETTER = 0.8
"""Two planes are used if the samples stray by less than this fraction of their misfit with one plane."""
UNLIKE = 10.0
"""Difference of two lumas beyond which it counts no more."""
UNKNOWN = 0.05
"""Weight of not knowing, beside the part of a box that is known."""
NEEDED = 0.5
"""Steps of 8 bits that a layer must bring the mean cost around the hole down by."""
NEIGHBORS = np.array([1, 2, 3, 2, 1], np.float32)
"""Weights of neighboring differences that count as the same."""
BORDER = 20.0
"""Cost of a border between two layers."""
BLUR = 3
"""Side of the box over which a layer's cost is averaged."""


@dataclass(frozen=True)
class _View:
    """The target's box, reduced, and what takes its plate's pixels there."""

    grey: Grey
    free: Mask
    reduce: Homography

    @property
    def box(self) -> FrameBox:
        return FrameBox(0, 0, self.grey.shape[1], self.grey.shape[0])


def layered(
    frame: int, target: Surrounding, laid: Sequence[WarpedSource], shot: Shot, pool: Pool
) -> list[WarpedSource]:
    """`laid`, each for every layer where that fits better; the same sources where one plane is enough."""
    plane = list(laid)
    if len(plane) < 2:
        return plane
    ways = [shot.camera.ways(one.source.frame, frame) for one in plane]
    if not ways[0]:
        return plane
    view = _view(target, shot.tone)
    labels = _labels(view, plane, ways)
    size = target.box.width, target.box.height
    full = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    parts = [_part(target, labels, full, layer) for layer in range(len(ways[0]))]

    def followed(pair: tuple[WarpedSource, Homography, int]) -> WarpedSource | None:
        one, motion, layer = pair
        return warp_source(parts[layer], one.source, motion, shot.tone)

    pairs = [
        (one, motion, layer)
        for one, motions in zip(plane, ways, strict=True)
        for layer, motion in enumerate(motions)
        if motion is not None
    ]
    moved = list(pool.each(followed, pairs))
    # The chains of homographies drift: the layers are told apart anew by the motions that fit the plate.
    refined = iter(moved)
    ways = [[None if one is None else _homography(next(refined)) for one in way] for way in ways]
    again = cv2.resize(_labels(view, plane, ways), size, interpolation=cv2.INTER_NEAREST)
    found = [
        replace(one, where=(target.box, again == layer))
        for one, (_, _, layer) in zip(moved, pairs, strict=True)
        if one is not None
    ]
    return found if _strays(found) < BETTER * _strays(plane) else plane


def _homography(one: WarpedSource | None) -> Homography | None:
    return None if one is None else one.homography


def _strays(laid: Sequence[WarpedSource]) -> float:
    return sum(one.stray for one in laid) / max(len(laid), 1)


def _view(target: Surrounding, tone: Tone) -> _View:
    factor = min(1.0, (PIXELS / (target.box.width * target.box.height)) ** 0.5)
    size = max(round(target.box.width * factor), 1), max(round(target.box.height * factor), 1)
    light = cv2.resize(target.light, size, interpolation=cv2.INTER_AREA)
    free = camera.shown(target.near == 0, size) > 0
    reduce = scaling(size[0] / target.box.width, size[1] / target.box.height)
    reduce = reduce @ shift(-target.box.left, -target.box.top)
    return _View(tone.grey8(np.asarray(light, np.float32)), free, reduce)


def _warped(view: _View, one: WarpedSource, motion: Homography) -> tuple[Grey, Mask]:
    """(luma as bright as the target's, where it shows background) of a source moved by `motion`."""
    there = view.reduce @ motion @ shift(one.source.box.left, one.source.box.top)
    grey = warp_grey(one.source.grey, there, view.box, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    free = warp_grey(one.source.free, there, view.box, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT) > 0
    both = free & view.free
    if both.any():
        brighter = _usual(view.grey[both].astype(np.intp) - grey[both])
        grey = np.clip(grey.astype(np.intp) + brighter, 0, 255).astype(np.uint8)
    return grey, free


def _usual(differences: NDArray[np.intp]) -> int:
    """The most frequent difference of two lumas, within the width of NEIGHBORS.

    A median would belong to no layer: each covers but a part of the pixels.
    """
    counts = np.bincount(differences + 255, minlength=511).astype(np.float32)
    return int(np.convolve(counts, NEIGHBORS, "same").argmax()) - 255


def _labels(
    view: _View, laid: Sequence[WarpedSource], ways: Sequence[Sequence[Homography | None]]
) -> Grey:
    """The number of each pixel's layer: that which fits the plate, and in the hole that whose sources agree."""
    costs, known = [], []
    for layer in range(len(ways[0])):
        pairs = [(one, motions[layer]) for one, motions in zip(laid, ways, strict=True)]
        cost, told = _cost(view, [_warped(view, one, way) for one, way in pairs if way is not None])
        costs.append(cost)
        known.append(told)
    several = np.stack(known).astype(np.float32)
    # Pixels that nothing is known of take their neighbors' costs.
    weight = np.stack([cv2.blur(one, (BLUR, BLUR)) for one in several])
    value = np.stack([cv2.blur(c * k, (BLUR, BLUR)) for c, k in zip(costs, several, strict=True)])
    total = np.asarray((value + UNKNOWN * UNLIKE / 2) / (weight + UNKNOWN), np.float32)
    needless = _needless(total, view.free)
    total = along_paths(total, BORDER)
    total[needless] = np.inf
    return np.asarray(total.argmin(0), np.uint8)


def along_paths(costs: Floats, border: float, gentle: float | None = None) -> Floats:
    """`costs` [layer, height, width] summed up along rows and columns, both ways.

    Another layer costs `border`. The next layer costs `gentle`, if that is given. Semi-global matching
    (Hirschmueller, "Stereo processing by semiglobal matching and mutual information", 2008).
    """
    total = np.zeros_like(costs)
    for across in (costs, costs.transpose(0, 2, 1)):
        rows = np.ascontiguousarray(across.transpose(1, 0, 2))
        both = _down(rows, border, gentle)
        both += _down(rows[::-1], border, gentle)[::-1]
        summed = both.transpose(1, 0, 2)
        total += summed if across is costs else summed.transpose(0, 2, 1)
    return total


def _down(rows: Floats, border: float, gentle: float | None) -> Floats:
    """The least cost of a path from the first of `rows` [row, layer, pixel] down to each pixel."""
    paths = rows.copy()
    for above, here in itertools.pairwise(paths):
        rest = above - above.min(0)
        best = np.minimum(rest, np.float32(border))
        if gentle is not None:
            np.minimum(best[1:], rest[:-1] + np.float32(gentle), out=best[1:])
            np.minimum(best[:-1], rest[1:] + np.float32(gentle), out=best[:-1])
        here += best
    return paths


def _cost(view: _View, warped: Sequence[tuple[Grey, Mask]]) -> tuple[Floats, Mask]:
    """(how unlike the sources of a layer are to the plate, in the hole to each other; where that is known)."""
    if not warped:
        return np.zeros(view.grey.shape, np.float32), np.zeros(view.grey.shape, bool)
    luma = np.stack([grey for grey, _ in warped]).astype(np.float32)
    shown = np.stack([free for _, free in warped])
    count = shown.sum(0)
    own = _unlike(luma, shown, np.where(view.free, view.grey, 0).astype(np.float32))
    # In the hole, to the source that most of the others are like: something may stand before some of them.
    others = np.full(view.grey.shape, np.inf, np.float32)
    for one, free in zip(luma, shown, strict=True):
        others = np.where(free, np.minimum(others, _unlike(luma, shown, one)), others)
    total = np.where(view.free, own, np.where(count > 1, others, 0))
    votes = np.where(view.free, count, count - 1)
    return np.asarray(total / np.maximum(votes, 1), np.float32), votes > 0


def _unlike(luma: Floats, shown: Mask, one: Floats) -> Floats:
    """[pixel]: the sum of the differences of all `luma` [source, pixel] that are `shown` to `one`."""
    apart = np.minimum(np.abs(luma - one), UNLIKE)
    apart *= shown
    return np.asarray(apart.sum(0), np.float32)


def _needless(costs: Floats, free: Mask) -> list[int]:
    """Layers that the others explain nearly as well: a motion between two others' fits a bit of both."""
    left, gone = list(range(len(costs))), list[int]()
    while len(left) > 1 and free.any():
        least = costs[left][:, free].min(0).mean()
        without = [costs[[k for k in left if k != one]][:, free].min(0).mean() for one in left]
        best = int(np.argmin(without))
        if without[best] > least + NEEDED:
            break
        gone.append(left.pop(best))
    return gone


def _part(target: Surrounding, labels: Grey, full: Grey, layer: int) -> Surrounding:
    """The target with nothing but one layer to be aligned on."""
    y, x = target.samples.T
    mine = full[y, x] == layer
    grey = target.seen.grey
    size = grey.shape[1], grey.shape[0]
    inside = cv2.resize((labels == layer).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    at = np.rint(target.seen.points).astype(int)
    points = target.seen.points[inside[at[:, 1], at[:, 0]] > 0] if len(at) else target.seen.points
    seen = camera.View(grey, np.asarray(target.seen.free * inside, np.uint8), points)
    return replace(target, seen=seen, samples=target.samples[mine])
