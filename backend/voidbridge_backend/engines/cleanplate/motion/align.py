"""Aligns a source with the surroundings of a hole: to a fraction of a pixel, and at the same exposure.

The camera's motion was found on small pictures of the whole frame. Here the plate's own pixels around the
hole decide, so that a background at another depth fits too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import (
    SAME_PX,
    FrameBox,
    Homography,
    Mask,
    apply,
    inverse,
    is_sane,
    moves,
    scaling,
    shift,
)
from voidbridge_backend.engines.cleanplate.tone import Floats, Tone

from . import camera
from .brightness import clipped, reach
from .sources import Source

ALIGN_PIXELS = 700_000
"""A larger surrounding is aligned on a reduced picture."""
POINTS = 260
"""Points of a surrounding that are followed."""
FURTHEST = 0.02
"""Part of the surrounding's width by which the camera's motion is corrected at most."""
BETTER = 0.95
"""The refined motion is used if its misfit is below this fraction of the camera's. Grain alone goes below 0.98
at times: sources would then move from frame to frame, and the hole flickers.
"""
WHOLE_PX, WHOLE_BETTER = 0.15, 0.8
"""A motion this near to one by whole pixels is that one, if that has less than this part of its misfit."""
ROBUST_ROUNDS = 6
"""Rounds in which outliers lose their say on an exposure."""
SAMPLES = 4000
"""Pixels around the hole that exposures are compared on."""
FLOOR = 0.003
"""Light, before exposure, that is added to both sides of a ratio so that darkness compares as equal."""
GAIN_LIMIT = 64.0
"""A source that has to be brightened or darkened by more than this shows nothing; black itself is reached."""
STRAY = 0.08
"""Encoded difference of a sample that does not follow the motion at all."""
FAINT_GAIN = 8.0
"""A source that has to be brightened by more than this is left out where another shows the same."""
AFFINE_BETTER = 0.7
"""An offset is used if it brings the misfit below this fraction of that with a gain alone."""


@dataclass(frozen=True)
class Surrounding:
    """A target's pixels in the box around its hole: light, its reduced view, and samples next to the hole."""

    box: FrameBox
    light: Floats
    near: Floats
    """[height, width]: how far it is to the hole in pixels, 0 in it."""
    seen: camera.View
    reduce: Homography
    samples: NDArray[np.intp]
    """[n, 2] (y, x) in the box."""


@dataclass(frozen=True)
class Exposure:
    """Takes a source's light to the target's: light * `gain` + `offset`, each float32 [3]."""

    gain: Floats
    offset: Floats

    def applied(self, light: Floats) -> Floats:
        """`light` [n, 3] as bright as the target."""
        return np.asarray(light * self.gain + self.offset, np.float32)


NEUTRAL = Exposure(np.ones(3, np.float32), np.zeros(3, np.float32))


@dataclass(frozen=True)
class Relief:
    """Where the target's pixels are in a source, at any depth: at `plane` @ (x, y, 1) + nearness * `shift`.

    `nearness` float32 [height, width] is of `box`, and the same for all sources.
    """

    box: FrameBox
    nearness: Floats
    plane: Homography
    shift: NDArray[np.float64]

    def at(self, tile: FrameBox) -> tuple[Floats, Floats]:
        """The places (x, y) in the source's plate of the pixels of `tile`, [height, width] each."""
        y, x = np.mgrid[tile.top : tile.bottom, tile.left : tile.right].astype(np.float32)
        return self._places(x, y, self.nearness[tile.within(self.box)])

    def at_points(self, y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.float64]:
        """[n, 2]: the places (x, y) of pixels of the box."""
        near = self.nearness[y, x]
        places = self._places(
            (x + self.box.left).astype(np.float32), (y + self.box.top).astype(np.float32), near
        )
        return np.stack(places, -1).astype(np.float64)

    def _places(self, x: Floats, y: Floats, near: Floats) -> tuple[Floats, Floats]:
        plane, move = self.plane.astype(np.float32), self.shift.astype(np.float32)
        u, v, w = (
            plane[k, 0] * x + plane[k, 1] * y + plane[k, 2] + near * move[k] for k in range(3)
        )
        return np.asarray(u / w, np.float32), np.asarray(v / w, np.float32)

    def usual(self) -> Homography:
        """From the source's plate to the target's, for the usual nearness."""
        moved = self.plane.copy()
        moved[:, 2] += float(np.median(self.nearness)) * self.shift
        return inverse(moved / moved[2, 2])


@dataclass(frozen=True)
class WarpedSource:
    """A source with what takes it to the target: a homography, the exposure of each channel, a mean misfit."""

    source: Source
    homography: Homography
    exposure: Exposure
    misfit: float
    """Median difference of encoded luma on the samples; infinite where there was nothing to compare."""
    stray: float = 0.0
    """0 to 1: the mean difference of the samples, each cut off at STRAY; 1 where none follows the motion."""
    where: tuple[FrameBox, Mask] | None = None
    """The pixels of a box of the target that it is to be asked for; None: all."""
    relief: Relief | None = None
    """Takes the place of the homography."""

    def places(self, tile: FrameBox) -> tuple[Floats, Floats]:
        """By the relief: where the pixels of `tile` are in the source's piece, (x, y) [height, width] each."""
        assert self.relief is not None
        x, y = self.relief.at(tile)
        box = self.source.box
        return x - np.float32(box.left), y - np.float32(box.top)


def surrounding(box: FrameBox, light: Floats, hole: Mask, reach: int, tone: Tone) -> Surrounding:
    """`light` and `hole` are of `box`; samples are taken up to `reach` pixels from the hole."""
    size = _aligning_size(box)
    reduce = scaling(size[0] / box.width, size[1] / box.height)
    grey = cv2.resize(tone.grey8(light), size, interpolation=cv2.INTER_AREA)
    seen = camera.view(np.asarray(grey, np.uint8), camera.shown(hole, size), POINTS)
    near = np.asarray(cv2.distanceTransform((~hole).view(np.uint8), cv2.DIST_L2, 3), np.float32)
    where = np.flatnonzero((near > 1.5) & (near <= reach))
    samples = where[:: max(len(where) // SAMPLES, 1)]
    at = np.column_stack(np.divmod(samples, box.width))
    return Surrounding(box, light, near, seen, reduce, at)


def _aligning_size(box: FrameBox) -> tuple[int, int]:
    factor = min(1.0, (ALIGN_PIXELS / (box.width * box.height)) ** 0.5)
    return max(round(box.width * factor), 1), max(round(box.height * factor), 1)


def warp_source(
    target: Surrounding, source: Source, motion: Homography, tone: Tone
) -> WarpedSource | None:
    """Refine `motion`, which takes the source's plate to the target's plate, and match the exposure.

    None where the source is too dark to show anything of the target.
    """
    refined = _refined(target, source, motion)
    ways = [motion] if refined is None else [motion, refined]
    best: WarpedSource | None = None
    for way in ways:
        if moves(way, target.box) < SAME_PX:
            way = np.eye(3)
        matched = _matched(target, source, way, tone)
        if matched is None:
            continue
        exposure, misfit, stray = matched
        # Few points around the hole can be worse than many all over the frame.
        if best is None or misfit < BETTER * best.misfit or not np.isfinite(best.misfit):
            best = WarpedSource(source, way, exposure, misfit, stray)
    return best and _unshifted(target, best, tone)


def _unshifted(target: Surrounding, one: WarpedSource, tone: Tone) -> WarpedSource:
    """`one` moved by whole pixels, if that fits better: then nothing is resampled."""
    corners = target.box.corners()
    whole = shift(*np.rint((apply(one.homography, corners) - corners).mean(0)))
    if not 0 < moves(inverse(whole) @ one.homography, target.box) < WHOLE_PX:
        return one
    matched = _matched(target, one.source, whole, tone)
    better = matched is not None and matched[1] < WHOLE_BETTER * one.misfit
    return WarpedSource(one.source, whole, *matched) if matched and better else one


def warp_relief(
    target: Surrounding, one: WarpedSource, relief: Relief, tone: Tone
) -> WarpedSource | None:
    """`one` moved by the relief, refined and matched; None where the source is too dark."""
    source, best = one.source, None
    rest = _rest(target, source, relief)
    refined = [] if rest is None else [replace(relief, plane=relief.plane @ rest)]
    ys, xs = target.samples.T
    for way in (relief, *refined):
        at = way.at_points(ys, xs) - np.array([source.box.left, source.box.top])
        matched = _matched_at(target, source, at, tone)
        if matched is None:
            continue
        exposure, misfit, stray = matched
        if best is None or misfit < BETTER * best.misfit or not np.isfinite(best.misfit):
            best = WarpedSource(source, way.usual(), exposure, misfit, stray, relief=way)
    return best


def _rest(target: Surrounding, source: Source, relief: Relief) -> Homography | None:
    """The remaining motion, from the target's plate to where the relief should have looked."""
    to_small = target.reduce @ shift(-target.box.left, -target.box.top)
    view = target.seen.box
    x, y = relief.at(target.box)
    size = view.width, view.height
    x, y = (
        cv2.resize(one, size, interpolation=cv2.INTER_LINEAR)
        for one in (x - np.float32(source.box.left), y - np.float32(source.box.top))
    )
    grey = cv2.remap(source.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    free = cv2.remap(source.free, x, y, cv2.INTER_NEAREST)
    there = camera.View(
        np.asarray(grey, np.uint8), np.asarray(free, np.uint8), np.zeros((0, 2), np.float32)
    )
    rest = camera.track(target.seen, there, np.eye(3), levels=1)
    if rest is None or moves(rest, view) > max(FURTHEST * view.width, 3.0):
        return None
    moved = inverse(to_small) @ rest @ to_small
    moved /= moved[2, 2]
    return moved if is_sane(moved, target.box) else None


def useful(laid: Sequence[WarpedSource]) -> list[WarpedSource]:
    """Without the sources that are much darker than the target, if any other is left."""
    bright = [one for one in laid if one.exposure.gain.max() <= FAINT_GAIN]
    return bright or list(laid)


def _refined(target: Surrounding, source: Source, motion: Homography) -> Homography | None:
    to_small = target.reduce @ shift(-target.box.left, -target.box.top)
    to_view = to_small @ motion @ shift(source.box.left, source.box.top)
    view = target.seen.box
    grey = warp_grey(source.grey, to_view, view, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    free = warp_grey(source.free, to_view, view, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    there = camera.View(grey, free, np.zeros((0, 2), np.float32))
    rest = camera.track(target.seen, there, np.eye(3), levels=1)
    if rest is None or moves(rest, view) > max(FURTHEST * view.width, 3.0):
        return None
    refined = inverse(to_small) @ inverse(rest) @ to_small @ motion
    refined /= refined[2, 2]
    return refined if is_sane(refined, target.box) else None


def warp_grey(
    picture: NDArray[np.uint8], homography: Homography, box: FrameBox, flags: int, border: int
) -> NDArray[np.uint8]:
    """Like `geometry.warp`, for 8 bit pictures; beyond a constant border lies 0."""
    to_source = inverse(homography) @ shift(box.left, box.top)
    fetched = cv2.warpPerspective(
        picture,
        to_source,
        (box.width, box.height),
        flags=flags | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )
    return np.asarray(fetched, np.uint8)


def _matched(
    target: Surrounding, source: Source, motion: Homography, tone: Tone
) -> tuple[Exposure, float, float] | None:
    if not len(target.samples):
        return NEUTRAL, np.inf, 0.0
    ys, xs = target.samples.T
    offset = np.array([target.box.left, target.box.top], np.float64)
    points = np.asarray(np.column_stack([xs, ys]) + offset, np.float64)
    at = apply(inverse(motion), points) - np.array([source.box.left, source.box.top])
    return _matched_at(target, source, at, tone)


def _matched_at(
    target: Surrounding, source: Source, at: NDArray[np.float64], tone: Tone
) -> tuple[Exposure, float, float] | None:
    """`at` [n, 2] are the places of the target's samples in the source's piece."""
    ys, xs = target.samples.T
    whole = np.rint(np.clip(at, -1e6, 1e6)).astype(int)
    height, width = source.free.shape
    inside = (whole >= 0).all(1) & (whole[:, 0] < width) & (whole[:, 1] < height)
    inside[inside] &= source.free[whole[inside, 1], whole[inside, 0]] > 0
    if inside.sum() < 30:
        return NEUTRAL, np.inf, 0.0
    here = target.light[ys[inside], xs[inside]]
    return _exposed(here, _sampled(source, at[inside]), tone)


def _exposed(here: Floats, there: Floats, tone: Tone) -> tuple[Exposure, float, float] | None:
    """How `there` [n, 3] becomes as bright as `here`, the misfit, and the part that strays.

    None where `there` is too dark for it, or too even.
    """
    # Each channel lies in one piece: sums along it take a sixth of the time.
    here, there = np.asfortranarray(here), np.asfortranarray(there)
    gain, top = clipped(here, there, _gain(here, there, tone))
    if gain.max() > GAIN_LIMIT or reach(here) > GAIN_LIMIT * reach(there):
        return None
    best = Exposure(gain, np.zeros(3, np.float32))
    apart = _apart(here, np.minimum(best.applied(there), top), tone)
    affine = Exposure(*_affine(here, there))
    if np.isinf(top).all() and 0 <= affine.gain.min() and affine.gain.max() <= GAIN_LIMIT:
        other = _apart(here, affine.applied(there), tone)
        if np.median(other) < AFFINE_BETTER * np.median(apart):
            best, apart = affine, other
    misfit = float(np.median(apart))
    return best, misfit, float(np.minimum(apart, STRAY).mean() / STRAY)


def _apart(here: Floats, there: Floats, tone: Tone) -> Floats:
    return np.asarray(np.abs(tone.encode(here) - tone.encode(there)).mean(1), np.float32)


def _gain(here: Floats, there: Floats, tone: Tone) -> Floats:
    """The light that `there` [n, 3] is multiplied with to be as bright as `here`, for each channel."""
    floor = np.float32(FLOOR / tone.exposure)
    lit = np.minimum(here.min(1), there.min(1)) > 4 * floor
    if lit.sum() >= max(0.2 * len(here), 30):
        return np.asarray(np.median(here[lit] / there[lit], axis=0), np.float32)
    if _size(there) < floor and _size(here) < floor:
        # Grain rules the dark: two black pictures are as bright as each other.
        return np.asarray(np.ones(3) if here.any() else np.zeros(3), np.float32)
    # One of the two is dark: the slope through zero, on which the brightest samples have the most to say.
    weight = np.ones((len(here), 1), np.float32)
    slope = np.zeros(3, np.float32)
    for _ in range(ROBUST_ROUNDS):
        energy = np.maximum((weight * there * there).sum(0), 1e-20)
        slope = np.maximum((weight * here * there).sum(0) / energy, 0)
        weight = _trust(here - there * slope)
    return np.asarray(slope, np.float32)


def _affine(here: Floats, there: Floats) -> tuple[Floats, Floats]:
    """(gain [3], offset [3]) of the line that most of `there` -> `here` [n, 3] lie on.

    Iteratively reweighted least squares with Cauchy's weights (Holland and Welsch, 1977).
    """
    weight = np.ones((len(here), 1), np.float32)
    gain, offset = np.ones(3, np.float32), np.zeros(3, np.float32)
    for _ in range(ROBUST_ROUNDS):
        total = weight.sum()
        middle, other = (weight * here).sum(0) / total, (weight * there).sum(0) / total
        spread = np.maximum((weight * (there - other) ** 2).sum(0), 1e-20)
        gain = (weight * (there - other) * (here - middle)).sum(0) / spread
        offset = middle - gain * other
        weight = _trust(here - there * gain - offset)
    return np.asarray(gain, np.float32), np.asarray(offset, np.float32)


def _trust(residual: Floats) -> Floats:
    """[n, 1]: Cauchy's weights of residuals [n, 3], about 1 for those no larger than the usual one."""
    red, green, blue = np.abs(residual).T
    size = np.maximum(np.maximum(red, green), blue)[:, None]
    usual = max(float(np.median(size)), 1e-9)
    return np.asarray(1 / (1 + (size / (2 * usual)) ** 2), np.float32)


def _size(light: Floats) -> float:
    return float(np.sqrt(np.square(light, dtype=np.float64).mean()))


def _sampled(source: Source, at: NDArray[np.float64]) -> Floats:
    """Bilinear light [n, 3] at the points `at` [n, 2] (x, y) of the source's piece."""
    height, width = source.free.shape
    x = np.clip(at[:, 0], 0, max(width - 1.001, 0))
    y = np.clip(at[:, 1], 0, max(height - 1.001, 0))
    left, top = x.astype(int), y.astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    u, v = (part[:, None].astype(np.float32) for part in (x - left, y - top))
    pixels = source.light.reshape(-1, 3)

    def corner(row: NDArray[np.intp], column: NDArray[np.intp]) -> Floats:
        return np.asarray(np.take(pixels, row * width + column, axis=0), np.float32)

    above = corner(top, left) * (1 - u) + corner(top, right) * u
    below = corner(bottom, left) * (1 - u) + corner(bottom, right) * u
    return np.asarray(above * (1 - v) + below * v, np.float32)
