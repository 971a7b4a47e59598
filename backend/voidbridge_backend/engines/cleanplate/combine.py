"""Combines several aligned sources into one background.

The sources vote on each pixel. The weighted median of their luma is the centre. Sources near it are averaged in
linear light; the others, such as somebody who walked through, do not count. The mean has hardly any grain, so one
source's grain is added. It is another source on each frame, so the grain of the hole moves as the plate's does.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.parallel import Pool

from .geometry import FrameBox, Mask, apply, inverse, mapped, shift, warp
from .motion.align import WarpedSource, warp_grey
from .motion.sources import widened
from .texture import glints
from .tone import WEIGHTS, Floats, Tone

Indices = NDArray[np.intp]

TILE = 256
"""Side of the tiles that are combined apart from each other, in pixels."""
AT_ONCE = 16384
"""Pixels that vote at once: of fewer a call costs more than its work, of more a dozen sources leave the cache."""
AGREE = 0.02
"""Encoded difference within which two sources show the same thing, besides what grain and misfit explain."""
GRAIN_PX = 2.5
"""Deviation in pixels of the blur that tells grain from shading."""
GRAIN_ONLY = 0.45
"""Part of the agreement beyond which a source differs by more than its grain."""
RECENT = 10.0
"""Frames after which a source counts half."""
ASTRAY = 0.4
"""The part of a glint's rise within which sources still show the same thing: resampling errs by as much."""
SAME_TRUST = 0.99
"""Sources that are trusted by more than this need no second look."""
SEVERAL = 3
"""Sources that have to agree for full confidence."""


@dataclass(frozen=True)
class Combination:
    """One background, all of one box.

    `light` [height, width, 3], `known` bool [height, width] where any source shows it. `confidence`
    [height, width] is the share of the sources that agree, 0 to 1, and less where fewer than SEVERAL do.
    """

    light: Floats
    known: Mask
    confidence: Floats


@dataclass(frozen=True)
class _Layers:
    """The pixels of a tile's sources, in the order in which they lend their grain."""

    light: Floats
    """[3, source, pixel]."""
    shown: Mask
    """[source, pixel]: whether it is background."""
    weights: Floats
    """[source]."""
    laid: Sequence[WarpedSource]


def combined(
    laid: Sequence[WarpedSource],
    target: int,
    box: FrameBox,
    wanted: Mask,
    tone: Tone,
    pool: Pool,
    recent: float = RECENT,
    shaped: Callable[[Floats, Mask], Floats] | None = None,
) -> Combination:
    """The background of `box`, for the pixels that are `wanted` in it.

    `shaped` gets the light without grain and where it is known. The grain goes onto what it returns.
    """
    light = np.zeros((box.height, box.width, 3), np.float32)
    grain = np.zeros_like(light)
    known = np.zeros((box.height, box.width), bool)
    confidence = np.zeros(known.shape, np.float32)
    turns = [laid[(target + turn) % len(laid)] for turn in range(len(laid))]
    weights = [_weight(one, target, laid, recent) for one in turns]
    spread = _spread(laid)

    def vote(tile: FrameBox) -> None:
        """Tiles do not overlap, so that each writes what came of it by itself."""
        layers = _layers(turns, weights, tile, tone)
        if layers is not None:
            inside = tile.within(box)
            means, grains, agreement = _voted(layers, spread, tone)
            shape = 3, tile.height, tile.width
            _look_at_glints(layers, tile, means, grains, spread, tone)
            light[inside] = means.reshape(shape).transpose(1, 2, 0)
            grain[inside] = grains.reshape(shape).transpose(1, 2, 0)
            known[inside] = layers.shown.any(0).reshape(shape[1:]) & wanted[inside]
            confidence[inside] = agreement.reshape(shape[1:])

    for _ in pool.each(vote, _tiles(box, wanted)):
        pass
    if len(laid) > 1:
        light = shaped(light, known) if shaped else light
        # What is left of a source at lower frequencies is no grain but its exposure and its misfit.
        grain -= cv2.GaussianBlur(grain, (0, 0), GRAIN_PX)
        light += grain
    return Combination(light, known, confidence)


def _layers(
    laid: Sequence[WarpedSource], weights: Sequence[float], tile: FrameBox, tone: Tone
) -> _Layers | None:
    """None where no source shows any of the tile."""
    light = np.empty((3, len(laid), tile.height * tile.width), np.float32)
    shown = np.empty(light.shape[1:], bool)
    votes: list[float] = []
    seen: list[WarpedSource] = []
    for one, weight in zip(laid, weights, strict=True):
        free = _shown(one, tile)
        if free.any():
            row = len(votes)
            shown[row] = free.ravel()
            # One plane for each channel: whatever is computed of them runs in vector instructions.
            fetched = _fetched(one, tile, tone).reshape(-1, 3)
            np.multiply(fetched.T, one.exposure.gain[:, None], out=light[:, row])
            if one.exposure.offset.any():
                light[:, row] += one.exposure.offset[:, None]
            votes.append(weight)
            seen.append(one)
    if not votes:
        return None
    some = len(votes)
    return _Layers(light[:, :some], shown[:some], np.array(votes, np.float32), seen)


def _voted(layers: _Layers, spread: float, tone: Tone) -> tuple[Floats, Floats, Floats]:
    """(light [3, pixel], grain [3, pixel], confidence [pixel]) of a tile."""
    pixels = layers.shown.shape[1]
    agreement = np.empty(pixels, np.float32)
    light, grain = np.empty((3, pixels), np.float32), np.empty((3, pixels), np.float32)
    for begin in range(0, pixels, AT_ONCE):
        some = np.s_[..., begin : begin + AT_ONCE]
        planes = np.ascontiguousarray(layers.light[some])
        votes = layers.shown[some] * layers.weights[:, None]
        mean, near = _vote(planes, votes, spread, tone)
        light[some], grain[some] = mean, _grain(planes, mean, near)
        agreement[some] = _confidence(near, layers.shown[some])
    return light, grain, agreement


def _look_at_glints(
    layers: _Layers, tile: FrameBox, means: Floats, grains: Floats, spread: float, tone: Tone
) -> None:
    """Beside lamps, the sources that needed no resampling count most, in place. Grain does not show there."""
    size = tile.height, tile.width
    known = np.asarray(layers.shown.any(0).reshape(size), np.bool_)
    where, rise = glints.steep(means.reshape(3, *size), known, tone)
    if not where.size or len(layers.laid) == 1:
        return
    trust = np.stack([glints.trust(_places(one, tile, where)) for one in layers.laid])
    if trust.min() > SAME_TRUST:
        return
    planes, shown = layers.light[..., where], layers.shown[:, where]
    wide = np.asarray(spread + ASTRAY * rise, np.float32)
    votes = shown * layers.weights[:, None]
    luma = np.einsum("c,ckp->kp", WEIGHTS, planes)
    away = tone.apart(planes, _of_each(planes, _median(luma, votes))) / (2 * wide)
    agree = np.square(np.maximum(1 - np.square(away), 0)) * votes * trust
    total = agree.sum(0)
    codes = tone.compress(planes)
    means[:, where] = tone.expand(
        np.einsum("kp,ckp->cp", agree, codes) / np.where(total > 0, total, 1)
    )
    grains[:, where] = 0


def _places(one: WarpedSource, tile: FrameBox, where: Indices) -> NDArray[np.float64]:
    """[pixel, 2]: the places (x, y) in the source of the pixels `where` of `tile`, numbered in rows."""
    y, x = np.divmod(where, tile.width)
    if one.relief is not None:
        across, down = one.places(tile)
        return np.column_stack([across[y, x], down[y, x]]).astype(np.float64)
    points = np.column_stack([x + tile.left, y + tile.top]).astype(np.float64)
    return apply(inverse(one.homography), points)


def _confidence(near: Mask, shown: Mask) -> Floats:
    """[pixel]: of the sources that are `shown`, the part that is `near`; both [source, pixel]."""
    agreeing = near.sum(0, dtype=np.float32)
    part = agreeing / np.maximum(shown.sum(0, dtype=np.float32), 1)
    return np.asarray(part * np.minimum(agreeing / SEVERAL, 1), np.float32)


def _tiles(box: FrameBox, wanted: Mask) -> Iterator[FrameBox]:
    for top in range(box.top, box.bottom, TILE):
        for left in range(box.left, box.right, TILE):
            tile = FrameBox(left, top, min(left + TILE, box.right), min(top + TILE, box.bottom))
            part = wanted[tile.within(box)]
            rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
            if rows.size:
                yield FrameBox(
                    left + int(columns[0]),
                    top + int(rows[0]),
                    left + int(columns[-1]) + 1,
                    top + int(rows[-1]) + 1,
                )


def _shown(one: WarpedSource, tile: FrameBox) -> Mask:
    if one.relief is not None:
        x, y = one.places(tile)
        free = cv2.remap(one.source.free, x, y, cv2.INTER_NEAREST)
    else:
        motion = one.homography @ shift(one.source.box.left, one.source.box.top)
        free = warp_grey(one.source.free, motion, tile, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    if one.where is None:
        return np.asarray(free > 0)
    box, mine = one.where
    return np.asarray(free > 0) & mine[tile.within(box)]


def _fetched(one: WarpedSource, tile: FrameBox, tone: Tone) -> Floats:
    """The source's light [height, width, 3] at the pixels of `tile`, without its gain."""
    box, source = one.source.box, one.source
    if one.relief is not None:
        return _by_relief(one, tile, tone)
    if np.array_equal(one.homography, np.eye(3)) and box.holds(tile):
        return widened(source.light[tile.within(box)])
    # Only the part of the source that the tile sees is widened to float32.
    seen = _part(one, tile)
    light = widened(source.light[seen.within(box)])
    motion = one.homography @ shift(seen.left, seen.top)
    if light.max() * tone.exposure < glints.HARSH:
        return warp(light, motion, tile)
    # Beside a lamp, Lanczos undershoots by a part of the lamp's light, far below black.
    return tone.expand(warp(tone.compress(light), motion, tile))


def _by_relief(one: WarpedSource, tile: FrameBox, tone: Tone) -> Floats:
    """Like `_fetched`."""
    x, y = one.places(tile)
    height, width = one.source.free.shape
    left, top = (int(np.clip(at.min() - 8, 0, size - 1)) for at, size in ((x, width), (y, height)))
    right, bottom = (
        int(np.clip(at.max() + 9, begin + 1, size))
        for at, begin, size in ((x, left, width), (y, top, height))
    )
    light = widened(one.source.light[top:bottom, left:right])
    at = x - np.float32(left), y - np.float32(top)

    def picked(picture: Floats) -> Floats:
        found = cv2.remap(picture, *at, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found, np.float32)

    if light.max() * tone.exposure < glints.HARSH:
        return picked(light)
    return tone.expand(picked(tone.compress(light)))


def _part(one: WarpedSource, tile: FrameBox) -> FrameBox:
    to_source = np.linalg.inv(one.homography)
    box = one.source.box
    seen = mapped(shift(-box.left, -box.top) @ to_source, tile, box.height, box.width)
    if seen is None:
        return FrameBox(box.left, box.top, box.left + 1, box.top + 1)
    return seen.grown(8, box.height, box.width).moved(box.left, box.top)


def _weight(one: WarpedSource, target: int, laid: Sequence[WarpedSource], recent: float) -> float:
    """Nearer in time and a better fit count more."""
    near = 1 / (1 + abs(one.source.frame - target) / recent)
    best = min(other.misfit for other in laid)
    if not np.isfinite(best):
        return near
    return float(near * ((best + 0.003) / (min(one.misfit, 1.0) + 0.003)) ** 2)


def _spread(laid: Sequence[WarpedSource]) -> float:
    """The encoded difference that grain and misfit explain."""
    best = min((one.misfit for one in laid), default=np.inf)
    return AGREE + 2 * min(best if np.isfinite(best) else 0.0, 0.03)


def _vote(planes: Floats, votes: Floats, spread: float, tone: Tone) -> tuple[Floats, Mask]:
    """One light [3, pixel] of `planes` [3, source, pixel], and which sources [source, pixel] are only grain away.

    `votes` [source, pixel] is the weight of each, 0 where it shows nothing; the light is 0 where all are.
    """
    luma = np.einsum("c,ckp->kp", WEIGHTS, planes)
    away = tone.apart(planes, _of_each(planes, _median(luma, votes)))
    away *= np.float32(1 / (2 * spread))
    agree = away * away
    np.subtract(1, agree, out=agree)
    _, agree = cv2.threshold(agree, 0, 0, cv2.THRESH_TOZERO)
    agree *= agree
    agree *= votes
    total = agree.sum(0)
    total[total == 0] = 1
    mean = np.einsum("kp,ckp->cp", agree, planes)
    mean /= total
    return mean, (away < GRAIN_ONLY) & (votes > 0)


def _median(luma: Floats, weight: Floats) -> Indices:
    """[pixel]: the layer with the weighted median of `luma` [layer, pixel].

    Of numbers whose lowest bits name the layer: a sorting network moves them in vector instructions.
    """
    layers, pixels = luma.shape
    names = np.int32((1 << max(layers - 1, 1).bit_length()) - 1)
    keys = luma.view(np.int32)
    # The bits of floats are in order when those below zero are turned round.
    keys = keys ^ ((keys >> 31) & np.int32(0x7FFFFFFF))
    keys &= ~names
    keys |= np.arange(layers, dtype=np.int32)[:, None]
    _sort(keys)
    keys &= names
    which = np.arange(pixels)
    heavy = np.take(weight, keys * np.intp(pixels) + which)
    for before, one in itertools.pairwise(heavy):
        one += before
    below = heavy < heavy[-1] * np.float32(0.5)
    rank = below.view(np.uint8).sum(0, dtype=np.uint8)
    return np.asarray(np.take(keys, rank * np.intp(pixels) + which), np.intp)


def _sort(rows: NDArray[np.int32]) -> None:
    """Every column of `rows` [n, pixel] in rising order, in place."""
    spare = np.empty_like(rows[0])
    for low, high in _network(len(rows)):
        np.minimum(rows[low], rows[high], out=spare)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low] = spare


@functools.cache
def _network(size: int) -> list[tuple[int, int]]:
    """Which pairs are put in order one after the other, so that all are.

    Merge exchange (Knuth, The Art of Computer Programming, volume 3, 5.2.2, algorithm M).
    """
    pairs = []
    first = 1 << max(size - 1, 0).bit_length() - 1 if size > 1 else 0
    p = first
    while p > 0:
        q, r, d = first, 0, p
        while True:
            pairs += [(i, i + d) for i in range(size - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    return pairs


def _grain(planes: Floats, mean: Floats, near: Mask) -> Floats:
    """Returns the difference of the first source that is `near` [source, pixel] to the mean [3, pixel]."""
    sources = len(near)
    # The first is the one with the highest number when they are counted down: a maximum beats a search.
    first = (near * np.arange(sources, 0, -1, dtype=np.uint8)[:, None]).max(0)
    grain = _of_each(planes, np.minimum(sources - first.astype(np.intp), sources - 1))
    grain -= mean
    grain *= first > 0
    return grain


def _of_each(planes: Floats, chosen: Indices) -> Floats:
    """[3, pixel]: of each pixel the source that is `chosen` [pixel] for it."""
    pixels = chosen.size
    flat = planes.reshape(3, -1)
    return np.take(flat, chosen * pixels + np.arange(pixels), axis=1)
