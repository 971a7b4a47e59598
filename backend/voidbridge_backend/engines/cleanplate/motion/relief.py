"""Backgrounds at any depth: the nearness of each pixel, and the sources laid over the hole by it.

`parallax` finds how the camera moved. Here each pixel gets the nearness at which its sources fit the plate, and in
the hole each other (plane sweep; Collins, 1996). A step between neighbors has a price (semi-global matching,
Hirschmueller, 2008). Least squares on the sources' slopes (Lucas and Kanade, 1981) give the fractions of a step.

Pictures are 8 bit lumas [height, width] of the target's box at reduced size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import (
    Homography,
    Mask,
    inverse,
    scaling,
    shift,
)
from voidbridge_backend.engines.cleanplate.tone import STEEP as RISE
from voidbridge_backend.engines.cleanplate.tone import WHITE, Floats, Tone
from voidbridge_backend.parallel import Pool

from . import camera, plan
from .align import Relief, Surrounding, WarpedSource, warp_relief
from .analyze_camera import Shot
from .depth import along_paths
from .parallax import Parallax, Way

Grey = NDArray[np.uint8]

DEEP = 0.3
"""Part of the sources whose points have to tell of depth."""
BETTER = 0.8
"""A relief is used if the samples stray by less than this fraction of what they do without."""
PIXELS = 50_000
"""Pixels of the reduced picture, at most."""
STEP_PX, LABELS = 0.7, 40
"""Motion of a usual source for one step of nearness, and steps at most."""
UNLIKE = 12.0
"""Difference of two lumas beyond which it counts no more."""
GENTLE, STEEP = 1.5, 20.0
"""Cost of a step to the next nearness, and to any other one."""
BOTH, ONE_SIDED, ALONE = 0, 0.7, 1.5
"""The number of both sides, and the cost of asking one side only, and a single source."""
NEIGHBORS, REGION = 3, 7
"""Sides of the boxes over which costs are averaged: for the nearness, and for the side of the sources."""
REFINED = 4
"""Rounds of least squares."""
WINDOW = 2.0
"""Deviation of the blur over which they are summed up, in pixels."""
HOLD, SPREADS = 2.0, 60
"""How much nearness is held to its neighbors', beside the usual trust, and rounds in which it spreads."""


@dataclass(frozen=True)
class _View:
    """The target's box, reduced; `reduce` takes its plate's pixels there."""

    grey: Floats
    free: Mask
    reduce: Homography


@dataclass(frozen=True)
class _Piece:
    """A source, reduced: luma as bright as the target's, 255 where it shows background, the way to its pixels."""

    grey: Floats
    free: Grey
    way: Way
    side: int
    """1 or 2: to which side near things move in it."""


@dataclass
class Reliefs:
    """The reliefs of one shot. The camera is fitted once for each block of frames."""

    shot: Shot
    pool: Pool
    _stretch: tuple[int, ...] = ()
    _found: Parallax | None = None

    def laid(
        self,
        frame: int,
        block: Sequence[int],
        sources: Sequence[int],
        target: Surrounding,
        laid: Sequence[WarpedSource],
    ) -> list[WarpedSource]:
        """`laid`, each by the nearness of the target's pixels; none where one plane explains all points.

        `block` are the frames of a block, and `sources` those of any of them.
        """
        camera = self.shot.camera
        tells = [plan.deep(camera, one.source.frame, frame, target.box) for one in laid]
        if len(laid) < 2 or sum(one is not None for one in tells) < DEEP * len(laid):
            return []
        stretch = *block, *sources
        if self._stretch != stretch:
            self._stretch = stretch
            self._found = camera.parallax(block[len(block) // 2], stretch)
        here = None if self._found is None else self._found.seen_from(frame)
        return [] if here is None else _laid(target, laid, here, self.shot, self.pool)


def _laid(
    target: Surrounding, laid: Sequence[WarpedSource], found: Parallax, shot: Shot, pool: Pool
) -> list[WarpedSource]:
    own = [one for one in laid if one.source.frame in found.ways]
    if len(own) < 2:
        return []
    nearness, chosen, sides = _nearness(_view(target, shot.tone), target, own, found, pool)

    def followed(pair: tuple[WarpedSource, int]) -> WarpedSource | None:
        one, side = pair
        way = found.ways[one.source.frame]
        relief = Relief(target.box, nearness, way.plane, way.shift)
        moved = warp_relief(target, one, relief, shot.tone)
        if moved is None:
            return None
        return replace(moved, where=(target.box, (chosen == BOTH) | (chosen == side)))

    pairs = zip(own, sides, strict=True)
    return [one for one in pool.each(followed, pairs) if one is not None]


def fits_better(relief: Sequence[WarpedSource], other: Sequence[WarpedSource]) -> bool:
    """Whether the relief leaves clearly less of the plate beside the hole than the `other` way."""
    if len(relief) < 2:
        return False
    ours, theirs = (sum(one.stray for one in laid) / len(laid) for laid in (relief, other))
    return ours < BETTER * theirs


def _view(target: Surrounding, tone: Tone) -> _View:
    factor = min(1.0, (PIXELS / (target.box.width * target.box.height)) ** 0.5)
    size = max(round(target.box.width * factor), 1), max(round(target.box.height * factor), 1)
    light = cv2.resize(target.light, size, interpolation=cv2.INTER_AREA)
    free = camera.shown(target.near == 0, size) > 0
    reduce = scaling(size[0] / target.box.width, size[1] / target.box.height)
    reduce = reduce @ shift(-target.box.left, -target.box.top)
    grey = tone.grey8(np.asarray(light, np.float32)).astype(np.float32)
    return _View(grey, free, reduce)


def _nearness(
    view: _View,
    target: Surrounding,
    laid: Sequence[WarpedSource],
    found: Parallax,
    pool: Pool,
) -> tuple[Floats, NDArray[np.uint8], list[int]]:
    """(nearness [height, width] of the target's box, each pixel's side, each source's side)."""
    reduced = found.scaled(inverse(view.reduce))
    steps, sides = _steps(view, reduced, [one.source.frame for one in laid])
    pieces = [
        _piece(view, one, reduced.ways[one.source.frame], reduced, side)
        for one, side in zip(laid, sides, strict=True)
    ]
    tried = list(pool.each(lambda near: _cost(view, pieces, float(near)), steps))
    costs, alone = (np.stack(parts) for parts in zip(*tried, strict=True))
    # A single source agrees with anything: it is a bit worse than several that agree as usual.
    usual = float(np.median(costs.min(0)[view.free])) if view.free.any() else 0.0
    costs[alone] = min(usual + ALONE, UNLIKE)
    nearness = _between(steps, along_paths(costs, STEEP, GENTLE))
    step = float(steps[1] - steps[0])
    nearness, chosen = _refined(view, pieces, nearness, step)
    size = target.box.width, target.box.height
    chosen = cv2.resize(chosen, size, interpolation=cv2.INTER_NEAREST)
    return _enlarged(nearness, step, size), np.asarray(chosen, np.uint8), sides


def _steps(
    view: _View, found: Parallax, frames: Sequence[int]
) -> tuple[NDArray[np.float64], list[int]]:
    """The values of nearness that are tried, and the side to which each frame moves with them."""
    height, width = view.grey.shape
    away = np.maximum(np.abs(found.points / (width, height) - 0.5).max(1) - 0.5, 0)
    around = found.nearness[away < 0.5]
    low, high = np.percentile(around if len(around) >= 8 else found.nearness, [1, 99])
    wide = max(0.15 * (high - low), 1e-6)
    low, high = low - wide, high + wide
    moved, middle = [], np.array([width / 2, height / 2, 1.0])
    for frame in frames:
        ends = [found.ways[frame].at(near) @ middle for near in (low, high)]
        one, two = (end[:2] / end[2] for end in ends)
        moved.append(two - one)
    lengths = np.hypot(*np.transpose(moved))
    count = int(np.clip(np.median(lengths) / STEP_PX + 2, 4, LABELS))
    _, _, axes = np.linalg.svd(np.array(moved), full_matrices=False)
    sides = [1 if float(one @ axes[0]) > 0 else 2 for one in moved]
    return np.linspace(low, high, count), sides


def _piece(view: _View, one: WarpedSource, way: Way, found: Parallax, side: int) -> _Piece:
    """Its light is matched on pixels whose nearness is that of a followed point beside them."""
    source = one.source
    factor = float(view.reduce[0, 0])
    height, width = source.grey.shape
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    grey = cv2.resize(source.grey, size, interpolation=cv2.INTER_AREA)
    free = camera.shown(source.free == 0, size)
    # From the reduced target to the reduced piece.
    back = scaling(size[0] / width, size[1] / height) @ shift(-source.box.left, -source.box.top)
    # `way` leads to the source's plate in reduced pixels of the target's box.
    there = back @ inverse(view.reduce)
    moved = Way(there @ way.plane, there @ way.shift)
    made = _Piece(grey.astype(np.float32), free, moved, side)
    brighter = _brighter(view, made, found)
    if brighter is None:
        # Few points: the exposure that one plane found, in steps of 8 bits.
        gain = max(float(one.exposure.gain.mean()), 1e-3)
        brighter = 255 * math.log(gain) / math.log1p(RISE * WHITE)
    return replace(made, grey=made.grey + np.float32(brighter))


def _brighter(view: _View, one: _Piece, found: Parallax) -> float | None:
    """The usual difference of the target to a source, at followed points; None where these are few."""
    whole = np.column_stack([found.points, np.ones(len(found.points))])
    there = whole @ one.way.plane.T + found.nearness[:, None] * one.way.shift
    places = (found.points, there[:, :2] / there[:, 2:])
    values = []
    for picture, at in zip((view.grey, one.grey), places, strict=True):
        smooth = cv2.blur(picture, (5, 5))
        x, y = (at[:, k].astype(np.float32).reshape(1, -1) for k in range(2))
        border = cv2.BORDER_CONSTANT
        free = view.free.astype(np.uint8) if picture is view.grey else one.free
        values.append(cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=border).ravel())
        values.append(cv2.remap(free, x, y, cv2.INTER_NEAREST, borderMode=border).ravel() > 0)
    here, free, other, shown = values
    both = free & shown
    return float(np.median(here[both] - other[both])) if both.sum() >= 8 else None


def _warped(view: _View, one: _Piece, near: float) -> tuple[Floats, Mask]:
    height, width = view.grey.shape
    motion = one.way.at(near)
    flags = cv2.WARP_INVERSE_MAP
    grey = cv2.warpPerspective(
        one.grey,
        motion,
        (width, height),
        flags=flags | cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    free = cv2.warpPerspective(one.free, motion, (width, height), flags=flags | cv2.INTER_NEAREST)
    return np.asarray(grey, np.float32), free > 0


def _cost(view: _View, pieces: Sequence[_Piece], near: float) -> tuple[Floats, Mask]:
    """(how unlike the sources are to the plate at one nearness, in the hole to each other; where too few are)."""
    both = [_warped(view, one, near) for one in pieces]
    luma = np.stack([grey for grey, _ in both])
    shown = np.stack([free for _, free in both])
    cost = np.asarray(_unlike(view, pieces, luma, shown, NEIGHBORS).min(0), np.float32)
    return cost, np.asarray(shown.sum(0) < np.where(view.free, 1, 2))


def _unlike(view: _View, pieces: Sequence[_Piece], luma: Floats, shown: Mask, blur: int) -> Floats:
    """[side, height, width]: the cost for the sources of both sides, and of each side alone.

    A pixel beside something near is hidden in the sources of one side (Kang, Szeliski and Chai, "Handling
    occlusions in dense multi-view stereo", 2001).
    """
    costs = np.full((3, *view.grey.shape), UNLIKE, np.float32)
    sides = np.array([one.side for one in pieces])
    for side in (BOTH, 1, 2):
        mine = np.ones(len(sides), bool) if side == BOTH else sides == side
        if mine.sum() < 2:
            continue
        some, free = luma[mine], shown[mine]
        apart = np.minimum(np.abs(some - _expected(view, some, free)), UNLIKE) * free
        voices = free.sum(0).astype(np.float32)
        cost = apart.sum(0) / np.maximum(voices, 1)
        if side == BOTH:
            cost[voices < np.where(view.free, 1, 2)] = UNLIKE / 2
        else:
            cost += ONE_SIDED
            cost[voices < 2] = UNLIKE
        costs[side] = cv2.blur(np.asarray(cost, np.float32), (blur, blur))
    return costs


def _expected(view: _View, luma: Floats, shown: Mask) -> Floats:
    """The plate around the hole; in it what the sources' median is."""
    hole = ~view.free
    expected = view.grey.copy()
    expected[hole] = _middle(luma[:, hole], shown[:, hole])
    return expected


def _middle(luma: Floats, shown: Mask) -> Floats:
    """The median of what is shown."""
    values = np.where(shown, luma, np.float32(np.inf))
    values.sort(axis=0)
    rank = np.maximum(shown.sum(0) - 1, 0)
    low = np.take_along_axis(values, (rank // 2)[None], 0)[0]
    high = np.take_along_axis(values, ((rank + 1) // 2)[None], 0)[0]
    found = (low + high) / 2
    return np.asarray(np.where(np.isfinite(found), found, 0), np.float32)


def _between(steps: NDArray[np.float64], paths: Floats) -> Floats:
    """The nearness of least cost, with the fraction of a step that a parabola gives."""
    best = paths.argmin(0)
    inner = np.clip(best, 1, len(steps) - 2)
    below, here, above = (np.take_along_axis(paths, (inner + by)[None], 0)[0] for by in (-1, 0, 1))
    bend = below - 2 * here + above
    off = np.where(bend > 1e-6, (below - above) / (2 * np.maximum(bend, 1e-6)), 0)
    off = np.where(inner == best, np.clip(off, -0.5, 0.5), 0)
    step = steps[1] - steps[0]
    return np.asarray(steps[best] + off * step, np.float32)


def _fetched(one: _Piece, nearness: Floats) -> tuple[Floats, Mask]:
    height, width = nearness.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    plane, move = one.way.plane.astype(np.float32), one.way.shift.astype(np.float32)
    u, v, w = (
        plane[k, 0] * x + plane[k, 1] * y + plane[k, 2] + nearness * move[k] for k in range(3)
    )
    at = np.asarray(u / w, np.float32), np.asarray(v / w, np.float32)
    grey = cv2.remap(one.grey, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    free = cv2.remap(one.free, *at, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(grey, np.float32), free > 0


def _refined(
    view: _View, pieces: Sequence[_Piece], nearness: Floats, step: float
) -> tuple[Floats, NDArray[np.uint8]]:
    """(nearness to fractions of a step, the side that each pixel is seen from)."""
    delta = np.float32(0.5 * step)
    sides = np.array([one.side for one in pieces])[:, None, None]
    chosen = np.zeros(nearness.shape, np.uint8)
    for turn in range(REFINED + 1):
        now = [_fetched(one, nearness) for one in pieces]
        luma, shown = np.stack([grey for grey, _ in now]), np.stack([free for _, free in now])
        chosen = _unlike(view, pieces, luma, shown, REGION).argmin(0).astype(np.uint8)
        if turn == REFINED:
            break
        shown &= (chosen == BOTH) | (chosen == sides)
        apart = _expected(view, luma, shown) - luma
        slopes = np.stack(
            [
                (_fetched(one, nearness + delta)[0] - _fetched(one, nearness - delta)[0])
                for one in pieces
            ]
        ) / (2 * delta)
        trust = shown / (1 + np.square(apart / 3.0))
        share = np.maximum(trust.sum(0), 1e-6)
        # In the hole nothing is given but how the sources differ.
        slopes -= np.where(view.free, 0, (trust * slopes).sum(0) / share)
        apart -= np.where(view.free, 0, (trust * apart).sum(0) / share)
        energy = cv2.GaussianBlur((trust * slopes * slopes).sum(0), (0, 0), WINDOW)
        pull = cv2.GaussianBlur((trust * slopes * apart).sum(0), (0, 0), WINDOW)
        usual = max(float(np.median(energy)), 1e-6)
        change = np.clip(pull / (energy + 0.02 * usual), -step, step)
        nearness = _even(nearness, nearness + change, energy / usual, step)
    return nearness, chosen


def _even(old: Floats, wanted: Floats, trust: Floats, step: float) -> Floats:
    """The values `wanted`, as far as they are trusted; elsewhere as neighbors are, but not across a border."""
    across, down = (
        (np.abs(np.diff(old, axis=axis)) < 1.5 * step) * np.float32(HOLD) for axis in (1, 0)
    )
    weight = trust.astype(np.float32)
    weight[:, 1:] += across
    weight[:, :-1] += across
    weight[1:] += down
    weight[:-1] += down
    weight = np.maximum(weight, 1e-6)
    given, found = np.asarray(trust * wanted, np.float32), wanted.astype(np.float32)
    for _ in range(SPREADS):
        total = given.copy()
        total[:, 1:] += across * found[:, :-1]
        total[:, :-1] += across * found[:, 1:]
        total[1:] += down * found[:-1]
        total[:-1] += down * found[1:]
        found = total / weight
    return found


def _enlarged(nearness: Floats, step: float, size: tuple[int, int]) -> Floats:
    """At the plate's size; nothing between two depths is made up at their border."""
    if nearness.shape[::-1] == size:
        return nearness
    smooth = cv2.resize(nearness, size, interpolation=cv2.INTER_LINEAR)
    sharp = cv2.resize(nearness, size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.where(np.abs(smooth - sharp) > step, sharp, smooth), np.float32)
