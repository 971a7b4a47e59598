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
    FrameBox,
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
from .nearness.agreement import UNLIKE, ReducedSource, ReducedTarget, by_side, warped
from .nearness.refinement import refined
from .parallax import Parallax, Way

Grey = NDArray[np.uint8]

DEEP = 0.3
"""Part of the sources whose points have to tell of depth."""
BETTER, BETTER_DEEP = 0.8, 0.98
"""A relief is used if the samples stray by less than this fraction of what they do by one plane, and by several."""
PIXELS = 50_000
"""Pixels of the reduced picture, at most."""
STEP_PX, LABELS = 0.7, 40
"""Motion of a usual source for one step of nearness, and steps at most."""
ALONE = 1.5
"""Cost of a single source, beside the usual one."""
ALONE_SHARE = 0.35
"""Where that is less: the part of the way from the usual cost to that of a wrong nearness."""
GENTLE, STEEP = 1.5, 20.0
"""Cost of a step to the next nearness, and to any other one."""
NEIGHBORS = 3
"""Side of the box over which costs are averaged."""


@dataclass
class Reliefs:
    """The reliefs of one shot. The camera is fitted once for each block of frames."""

    shot: Shot
    pool: Pool
    _stretch: tuple[int, ...] = ()
    _found: Parallax | None = None
    _is_deep: bool = False
    """Whether half of the block's frames tell of depth."""

    def laid(
        self,
        frame: int,
        around: plan.Surroundings,
        sources: Sequence[int],
        target: Surrounding,
        laid: Sequence[WarpedSource],
    ) -> list[WarpedSource]:
        """`laid`, each by the nearness of the target's pixels; none where one plane explains all points.

        `sources` are those of any frame of the block that `around` is of.
        """
        stretch = *around.block, *sources
        if self._stretch != stretch:
            self._stretch, self._found = stretch, None
            tells = [self._tells(one, sources, around.box(one)) for one in around.block]
            self._is_deep = 2 * sum(tells) >= len(tells)
        own = [one.source.frame for one in laid]
        if len(laid) < 2 or not (self._is_deep or self._tells(frame, own, target.box)):
            return []
        if self._found is None:
            middle = around.block[len(around.block) // 2]
            self._found = self.shot.camera.parallax(middle, stretch)
        here = None if self._found is None else self._found.seen_from(frame)
        return [] if here is None else _laid(target, laid, here, self.shot, self.pool)

    def _tells(self, frame: int, sources: Sequence[int], box: FrameBox) -> bool:
        """Whether the points beside a frame's hole tell of depth."""
        others = [one for one in sources if one != frame]
        deep = [plan.deep(self.shot.camera, one, frame, box) for one in others]
        return sum(one is not None for one in deep) >= DEEP * len(others)


def _laid(
    target: Surrounding, laid: Sequence[WarpedSource], found: Parallax, shot: Shot, pool: Pool
) -> list[WarpedSource]:
    own = [one for one in laid if one.source.frame in found.ways]
    if len(own) < 2:
        return []
    nearness, asked = _nearness(_view(target, shot.tone), target, own, found, pool)

    def followed(pair: tuple[WarpedSource, Mask]) -> WarpedSource | None:
        one, mine = pair
        way = found.ways[one.source.frame]
        relief = Relief(target.box, nearness, way.plane, way.shift)
        moved = warp_relief(target, one, relief, shot.tone)
        if moved is None:
            return None
        return replace(moved, where=(target.box, mine))

    pairs = zip(own, asked, strict=True)
    return [one for one in pool.each(followed, pairs) if one is not None]


def fits_better(relief: Sequence[WarpedSource], other: Sequence[WarpedSource]) -> bool:
    """Whether the relief leaves less of the plate beside the hole than layers, or clearly less than a plane."""
    if len(relief) < 2:
        return False
    ours, theirs = (sum(one.stray for one in laid) / len(laid) for laid in (relief, other))
    return ours < (BETTER_DEEP if any(one.where for one in other) else BETTER) * theirs


def _view(target: Surrounding, tone: Tone) -> ReducedTarget:
    factor = min(1.0, (PIXELS / (target.box.width * target.box.height)) ** 0.5)
    size = max(round(target.box.width * factor), 1), max(round(target.box.height * factor), 1)
    light = cv2.resize(target.light, size, interpolation=cv2.INTER_AREA)
    free = camera.shown(target.near == 0, size) > 0
    reduce = scaling(size[0] / target.box.width, size[1] / target.box.height)
    reduce = reduce @ shift(-target.box.left, -target.box.top)
    grey = tone.grey8(np.asarray(light, np.float32)).astype(np.float32)
    return ReducedTarget(grey, free, reduce)


def _nearness(
    view: ReducedTarget,
    target: Surrounding,
    laid: Sequence[WarpedSource],
    found: Parallax,
    pool: Pool,
) -> tuple[Floats, list[Mask]]:
    """Nearness [height, width] of the target's box, and for each source the pixels that it is to be asked for."""
    reduced = found.scaled(inverse(view.reduce))
    steps, along = _steps(view, reduced, [one.source.frame for one in laid])
    pieces = [
        _piece(view, one, reduced.ways[one.source.frame], reduced, moved)
        for one, moved in zip(laid, along, strict=True)
    ]
    tried = list(pool.each(lambda near: _cost(view, pieces, float(near)), steps))
    costs, alone = (np.stack(parts) for parts in zip(*tried, strict=True))
    costs[alone] = _of_alone(view, costs, alone)
    nearness = _between(steps, along_paths(costs, STEEP, GENTLE))
    step = float(steps[1] - steps[0])
    nearness, asked = refined(view, pieces, nearness, step)
    size = target.box.width, target.box.height
    enlarged = (
        cv2.resize(one.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for one in asked
    )
    return _enlarged(nearness, step, size), list(enlarged)


def _of_alone(view: ReducedTarget, costs: Floats, alone: Mask) -> float:
    """The cost of too few sources. A single one agrees with anything: it is a bit worse than several that agree
    as usual, and better than several at a wrong nearness."""
    usual = float(np.median(costs.min(0)[view.free])) if view.free.any() else 0.0
    several = ~alone & ~view.free
    wrong = float(np.median(costs[several])) if several.any() else UNLIKE
    return min(usual + min(ALONE, ALONE_SHARE * max(wrong - usual, 0.0)), UNLIKE)


def _steps(
    view: ReducedTarget, found: Parallax, frames: Sequence[int]
) -> tuple[NDArray[np.float64], list[float]]:
    """The values of nearness that are tried, and how far each frame moves with them along the main axis."""
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
    return np.linspace(low, high, count), [float(one @ axes[0]) for one in moved]


def _piece(
    view: ReducedTarget, one: WarpedSource, way: Way, found: Parallax, along: float
) -> ReducedSource:
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
    made = ReducedSource(grey.astype(np.float32), free, moved, along, there)
    brighter = _brighter(view, made, found)
    if brighter is None:
        # Few points: the exposure that one plane found, in steps of 8 bits.
        gain = max(float(one.exposure.gain.mean()), 1e-3)
        brighter = 255 * math.log(gain) / math.log1p(RISE * WHITE)
    return replace(made, grey=made.grey + np.float32(brighter))


def _brighter(view: ReducedTarget, one: ReducedSource, found: Parallax) -> float | None:
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


def _cost(view: ReducedTarget, pieces: Sequence[ReducedSource], near: float) -> tuple[Floats, Mask]:
    """(how unlike the sources are to the plate at one nearness, in the hole to each other; where too few are)."""
    both = [warped(view, one, near) for one in pieces]
    luma = np.stack([grey for grey, _ in both])
    shown = np.stack([free for _, free in both])
    sides = np.array([one.side for one in pieces])
    costs = by_side(view.grey, view.free, sides, luma, shown)
    cost = np.min([cv2.blur(one, (NEIGHBORS, NEIGHBORS)) for one in costs], 0)
    return cost, np.asarray(shown.sum(0) < np.where(view.free, 1, 2))


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


def _enlarged(nearness: Floats, step: float, size: tuple[int, int]) -> Floats:
    """At the plate's size; nothing between two depths is made up at their border."""
    if nearness.shape[::-1] == size:
        return nearness
    smooth = cv2.resize(nearness, size, interpolation=cv2.INTER_LINEAR)
    sharp = cv2.resize(nearness, size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.where(np.abs(smooth - sharp) > step, sharp, smooth), np.float32)
