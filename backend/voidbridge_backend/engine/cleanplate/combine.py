"""One background out of several sources that are laid over each other.

Per pixel the sources vote: the weighted median of their luma is the centre, those near it are averaged in
linear light, the rest (somebody who walked through) has no say. The mean has hardly any grain; one source's
is put back, another source's on each frame, so that the hole lives as the plate does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.pool import Pool

from .align import Laid, warp_grey
from .geometry import Box, Mask, mapped, shift, warp
from .tone import WEIGHTS, Floats, Tone

Indices = NDArray[np.intp]

TILE = 256
"""Side of the tiles that are combined apart from each other, in pixels."""
AT_ONCE = 4096
"""Pixels that vote at once: what is computed of a dozen sources stays in a core's own cache."""
AGREE = 0.02
"""Encoded difference within which two sources show the same thing, besides what grain and misfit explain."""
HARSH = 2.0
"""Light, after exposure, from which on a piece is resampled logarithmically."""
GRAIN_PX = 2.5
"""Deviation in pixels of the blur that tells grain from shading."""
GRAIN_ONLY = 0.45
"""Part of the agreement beyond which a source differs by more than its grain."""
RECENT = 10.0
"""Frames after which a source counts half."""


@dataclass(frozen=True)
class _Voted:
    """What came of the pixels of a tile: light [n, 3], grain [n, 3], whether it is known [n]."""

    light: Floats
    grain: Floats
    known: Mask


def combined(
    laid: Sequence[Laid],
    target: int,
    box: Box,
    wanted: Mask,
    tone: Tone,
    pool: Pool,
    recent: float = RECENT,
) -> tuple[Floats, Mask]:
    """(light [height, width, 3], where it is known) of `box`, for the pixels that are `wanted` in it."""
    light = np.zeros((box.height, box.width, 3), np.float32)
    grain = np.zeros_like(light)
    known = np.zeros((box.height, box.width), bool)
    weights = [_weight(one, target, laid, recent) for one in laid]

    def vote(tile: Box) -> None:
        """Tiles do not overlap, so that each writes what came of it by itself."""
        inside = np.s_[
            tile.top - box.top : tile.bottom - box.top, tile.left - box.left : tile.right - box.left
        ]
        pixels = np.flatnonzero(wanted[inside])
        if one := _voted(laid, weights, target, tile, pixels, tone):
            for whole, part in ((light, one.light), (grain, one.grain), (known, one.known)):
                filled = np.zeros((tile.height * tile.width, *part.shape[1:]), part.dtype)
                filled[pixels] = part
                whole[inside] = filled.reshape(whole[inside].shape)

    for _ in pool.each(vote, _tiles(box, wanted)):
        pass
    # What is left of a source at lower frequencies is no grain but its exposure and its misfit.
    return light + grain - cv2.GaussianBlur(grain, (0, 0), GRAIN_PX), known


def _voted(
    laid: Sequence[Laid],
    weights: Sequence[float],
    target: int,
    tile: Box,
    pixels: Indices,
    tone: Tone,
) -> _Voted | None:
    """Of these pixels of a tile, counted row by row; None where no source shows any of them."""
    stack = np.empty((len(laid), pixels.size, 3), np.float32)
    valid = np.empty((len(laid), pixels.size), bool)
    voices: list[float] = []
    turns: list[int] = []
    for number, one in enumerate(laid):
        shown = np.take(_shown(one, tile), pixels)
        if shown.any():
            # Ten times as fast as by a mask: it moves whole pixels.
            light = _fetched(one, tile, tone).reshape(-1, 3)
            np.take(light, pixels, axis=0, out=stack[len(voices)])
            valid[len(voices)] = shown
            voices.append(weights[number])
            turns.append((number - target) % len(laid))
    if not voices:
        return None
    stack, valid = stack[: len(voices)], valid[: len(voices)]
    misfit = min(one.misfit for one in laid)
    spread = AGREE + 2 * min(misfit if np.isfinite(misfit) else 0.0, 0.03)
    voted = _Voted(
        np.empty((pixels.size, 3), np.float32),
        np.empty((pixels.size, 3), np.float32),
        np.logical_or.reduce(valid),
    )
    for begin in range(0, pixels.size, AT_ONCE):
        some = np.s_[begin : begin + AT_ONCE]
        layers = stack[:, some]
        mean, away = _vote(layers, valid[:, some], voices, spread, tone)
        voted.light[some], voted.grain[some] = mean, _grain(layers, mean, away, turns)
    return voted


def _tiles(box: Box, wanted: Mask) -> Iterator[Box]:
    for top in range(box.top, box.bottom, TILE):
        for left in range(box.left, box.right, TILE):
            tile = Box(left, top, min(left + TILE, box.right), min(top + TILE, box.bottom))
            part = wanted[
                tile.top - box.top : tile.bottom - box.top,
                tile.left - box.left : tile.right - box.left,
            ]
            rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
            if rows.size:
                yield Box(
                    left + int(columns[0]),
                    top + int(rows[0]),
                    left + int(columns[-1]) + 1,
                    top + int(rows[-1]) + 1,
                )


def _shown(one: Laid, tile: Box) -> Mask:
    motion = one.homography @ shift(one.source.box.left, one.source.box.top)
    free = warp_grey(one.source.free, motion, tile, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    return np.asarray(free > 0)


def _fetched(one: Laid, tile: Box, tone: Tone) -> Floats:
    """The source's light, with its gain, at the pixels of `tile`."""
    box, source = one.source.box, one.source
    if np.array_equal(one.homography, np.eye(3)) and box.holds(tile):
        top, left = tile.top - box.top, tile.left - box.left
        same = source.light[top : top + tile.height, left : left + tile.width]
        return np.asarray(same * one.gain, np.float32)
    # Only the part of the source that the tile sees is widened to float32.
    seen = _part(one, tile)
    part = source.light[
        seen.top - box.top : seen.bottom - box.top, seen.left - box.left : seen.right - box.left
    ]
    motion = one.homography @ shift(seen.left, seen.top)
    widened = np.asarray(part, np.float32)
    if widened.max() * tone.exposure < HARSH:
        return warp(widened, motion, tile) * one.gain
    # Beside a lamp, Lanczos undershoots by a part of the lamp's light, far below black.
    return tone.expand(warp(tone.compress(widened), motion, tile)) * one.gain


def _part(one: Laid, tile: Box) -> Box:
    to_source = np.linalg.inv(one.homography)
    box = one.source.box
    seen = mapped(shift(-box.left, -box.top) @ to_source, tile, box.height, box.width)
    if seen is None:
        return Box(box.left, box.top, box.left + 1, box.top + 1)
    seen = seen.grown(8, box.height, box.width)
    return Box(
        seen.left + box.left, seen.top + box.top, seen.right + box.left, seen.bottom + box.top
    )


def _weight(one: Laid, target: int, laid: Sequence[Laid], recent: float) -> float:
    """Nearer in time and a better fit count more."""
    near = 1 / (1 + abs(one.source.frame - target) / recent)
    best = min(other.misfit for other in laid)
    if not np.isfinite(best):
        return near
    return float(near * ((best + 0.003) / (min(one.misfit, 1.0) + 0.003)) ** 2)


def _vote(
    layers: Floats, valid: Mask, weights: Sequence[float], spread: float, tone: Tone
) -> tuple[Floats, Floats]:
    """One light [pixel, 3] of `layers` [source, pixel, 3], and how far each layer is from it.

    `valid` is [source, pixel]; the light is 0 where none is. The distance [source, pixel] is 1 where a
    source loses its say and infinite where it is not valid.
    """
    weight = np.where(valid, np.asarray(weights, np.float32)[:, None], np.float32(0))
    luma = np.where(valid, layers @ WEIGHTS, np.float32(np.inf))
    centre = _median(luma, weight)
    away = tone.apart(layers, _of_each(layers, centre)) / np.float32(2 * spread)
    agree = np.maximum(1 - away * away, 0)
    weight *= agree * agree
    total = weight.sum(0)[:, None]
    mean = np.einsum("kp,kpc->pc", weight, layers) / np.where(total > 0, total, 1)
    return np.asarray(mean, np.float32), np.where(valid, away, np.float32(np.inf))


def _median(luma: Floats, weight: Floats) -> Indices:
    """[pixel]: the layer with the weighted median of `luma` [layer, pixel].

    For the dozen layers that there are, comparing each with each is faster than sorting every pixel's.
    """
    half = weight.sum(0) * np.float32(0.5)
    least = np.full_like(half, np.inf)
    centre = np.zeros(half.size, np.intp)
    for number, one in enumerate(luma):
        below = np.zeros_like(half)
        for other, heavy in zip(luma, weight, strict=True):
            below += heavy * (other <= one)
        nearer = (below >= half) & (one < least)
        least[nearer], centre[nearer] = one[nearer], number
    return centre


def _grain(layers: Floats, mean: Floats, away: Floats, turns: Sequence[int]) -> Floats:
    """What one of the agreeing layers has and the mean [pixel, 3] has not: that of the lowest turn."""
    order = np.argsort(turns)
    pick = (away[order] < GRAIN_ONLY).argmax(0)
    chosen = order[pick]
    sure = np.take_along_axis(away, chosen[None], 0)[0] < GRAIN_ONLY
    return np.asarray(np.where(sure[:, None], _of_each(layers, chosen) - mean, 0), np.float32)


def _of_each(layers: Floats, chosen: Indices) -> Floats:
    """[pixel, 3]: of each pixel the layer that is `chosen` [pixel] for it."""
    return layers[chosen, np.arange(chosen.size)]
