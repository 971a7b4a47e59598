"""Backgrounds at several depths: each is laid over the hole by a motion of its own.

The layers' motions come from `layers`. Around the hole the plate tells which layer a pixel belongs to. In the hole
the sources do: those of the right layer agree with each other (Collins, "A space-sweep approach to true multi-image
matching", 1996).

Pictures are 8 bit lumas [height, width] of the target's box at reduced size.
"""

from __future__ import annotations

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
"""Steps of 8 bits, over all blurs, that a layer must bring the mean cost around the hole down by."""
BLURS = (3, 31)
"""Sides of the boxes over which a layer's cost is averaged."""


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
        moved = warp_source(parts[layer], one.source, motion, shot.tone)
        return None if moved is None else replace(moved, where=(target.box, full == layer))

    pairs = [
        (one, motion, layer)
        for one, motions in zip(plane, ways, strict=True)
        for layer, motion in enumerate(motions)
        if motion is not None
    ]
    found = [one for one in pool.each(followed, pairs) if one is not None]
    return found if _strays(found) < BETTER * _strays(plane) else plane


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
        brighter = np.median(view.grey[both].astype(np.float32)) - np.median(grey[both])
        grey = np.clip(grey + np.rint(brighter), 0, 255).astype(np.uint8)
    return grey, free


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
    total = np.zeros_like(several)
    for side in BLURS:
        # Pixels that nothing is known of take their neighbors' costs.
        weight = np.stack([cv2.blur(one, (side, side)) for one in several])
        value = np.stack(
            [cv2.blur(c * k, (side, side)) for c, k in zip(costs, several, strict=True)]
        )
        total += (value + UNKNOWN * UNLIKE / 2) / (weight + UNKNOWN)
    for layer in _needless(total, view.free):
        total[layer] = np.inf
    return np.asarray(total.argmin(0), np.uint8)


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
    voices = np.where(view.free, count, count - 1)
    return np.asarray(total / np.maximum(voices, 1), np.float32), voices > 0


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
