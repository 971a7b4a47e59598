"""Continues structure into a gap: lines, edges, and patterns that repeat.

Structure is found again some way along a line, or a few bricks further. Such offsets are searched from tiles on the
gap's edge, since a few of them explain the picture (He and Sun, "Statistics of Patch Offsets for Image Completion",
2012). Each pixel of the gap takes one offset. Neighbors that take different ones pay for the seam between them
(Pritch, Kav-Venaki and Peleg, "Shift-Map Image Editing", 2009). Belief propagation finds a cheap choice, in sweeps
along rows and columns (Tappen and Freeman 2003). Blocks of pixels choose first, and then pixels from fewer offsets.

All pictures are the reduced one, logarithmic, [height, width, 3].
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import Floats

from .evenness import energy, surroundings

TILES = 24
"""Tiles along the gap's edge, about."""
SIDE, SMALLEST = 0.32, 13
"""Side of a tile, over the square root of the gap's area, and at least in pixels."""
WHOLE, PARTIAL = 2, 4
"""Offsets that each tile brings: those at which all of the gap is known, and those at which half of the tile's part
of it is.
"""
LEAST, APART = 0.3, 0.15
"""Length of an offset at least, and distance of two from the same tile, over the square root of the gap's area."""
FAR = 4e-4
"""Cost of an offset as long as the square root of the gap's area, added to its mean squared difference."""
REPEATS = 0.5
"""Error of the tiles' best offsets over that of a blur, up to which structure repeats."""
BLUR = 0.14
"""Deviation of that blur, over a tile's side."""
OFFSETS, BLOCKS, KEPT = 64, 900, 16
"""Offsets and blocks of the first choice, and offsets of the second, at most."""
ROUNDS_OF_BLOCKS, ROUNDS_OF_PIXELS = 6, 4
EDGE, STRAY = 2.0, 0.1
"""Weight of a difference to known pixels, and cost of an offset that no block near the pixel took."""
LENGTH, CHANGE = 2e-4, 0.8
"""Cost of an offset as long as the square root of the gap's area. Cost of a change between neighbors, over
the gradient's energy around the gap: pieces of a pattern that fit by chance would lose its rhythm.
"""
FORBIDDEN = np.float32(1e3)
"""Cost of an offset that leads to nothing known."""
WAYS = ((0, 1), (0, -1), (1, 0), (-1, 0))

Offsets = NDArray[np.intp]


@dataclass(frozen=True)
class Nodes:
    """Squares of `side` pixels with corners at `ys` and `xs` [n]; `index` [rows, columns] is their number or -1."""

    ys: NDArray[np.intp]
    xs: NDArray[np.intp]
    index: NDArray[np.intp]
    side: int


def shifted(
    picture: Floats,
    gap: Mask,
    at: tuple[NDArray[np.intp], NDArray[np.intp]],
    heartbeat: Callable[[], None],
) -> Offsets | None:
    """[n, 2]: the offset (y, x) from each pixel `at` (ys, xs) to the one that it is copied from.

    The pixels are those of the `gap` and of its edge. None where nothing beside the gap repeats.
    """
    offsets = repeating(picture, gap)
    heartbeat()
    if offsets is None:
        return None
    ys, xs = at
    side = max(2, int(np.ceil((len(ys) / BLOCKS) ** 0.5)))
    blocks = _nodes(np.unique(np.column_stack([ys // side, xs // side]), axis=0), gap.shape, side)
    label, _ = _labelled(picture, gap, offsets, blocks, ROUNDS_OF_BLOCKS)
    heartbeat()
    count = np.bincount(label, minlength=len(offsets))
    often = np.argsort(-count, kind="stable")[:KEPT]
    kept = often[count[often] > 0]
    stray = np.empty((len(ys), len(kept)), np.float32)
    for number, one in enumerate(kept):
        took = np.zeros(blocks.index.shape, np.uint8)
        took[blocks.ys // side, blocks.xs // side] = label == one
        near = cv2.dilate(took, np.ones((3, 3), np.uint8))
        stray[:, number] = STRAY * (near[ys // side, xs // side] == 0)
    pixels = _nodes(np.column_stack([ys, xs]), gap.shape, 1)
    label, legal = _labelled(picture, gap, offsets[kept], pixels, ROUNDS_OF_PIXELS, stray)
    return offsets[kept][label] if legal.all() else None


def repeating(picture: Floats, gap: Mask) -> Offsets | None:
    """[n, 2]: the offsets (y, x) at which the edge of the `gap` is found again, the commonest first.

    None if it is not.
    """
    size = float(gap.sum()) ** 0.5
    side = max(SMALLEST, round(SIDE * size))
    level = np.where(gap[..., None], 0, picture - picture[~gap].mean(0)).astype(np.float32)
    detail = np.square(level - _blurred(level, ~gap, BLUR * side)).sum(-1) * ~gap
    known, hidden = (_padded(one.astype(np.float32), side) for one in (~gap, gap))
    light, detail = _padded(level, side), _padded(detail, side)
    square = np.square(light).sum(-1)
    free = _free(known, hidden)
    votes: dict[tuple[int, int], int] = {}
    rank: dict[tuple[int, int], tuple[int, float]] = {}
    missed, blurred = 0.0, 0.0
    for top, left in _tiles(gap, side):
        part = np.s_[top : top + side, left : left + side]
        own, beyond = known[part], hidden[part]
        if own.sum() < side:
            continue
        cost = _match(square, own) - 2 * _match(light, light[part]) + square[part].sum()
        y, x = np.ogrid[-top : cost.shape[0] - top, -left : cost.shape[1] - left]
        length = (y * y + x * x) / size**2
        cost = np.maximum(cost, 0) / own.sum() + (FAR * length).astype(np.float32)
        cost[(_match(known, own) < own.sum() - 0.5) | (length < LEAST**2)] = np.inf
        whole = np.where(free[_from(top, left, known.shape, cost.shape)], cost, np.inf)
        cost[_match(known, beyond) < 0.5 * beyond.sum()] = np.inf
        least = min(float(cost.min()), float(whole.min()))
        missed += least * float(own.sum()) if np.isfinite(least) else float(detail[part].sum())
        blurred += float(detail[part].sum())
        for most, some in ((WHOLE, whole), (PARTIAL, cost)):
            for place, (one, price) in enumerate(_lowest(some, most, max(2, round(APART * size)))):
                key = one[0] - top, one[1] - left
                votes[key] = votes.get(key, 0) + 1
                rank[key] = min(rank.get(key, (place, price)), (place, price))
    if not votes or missed > REPEATS * blurred:
        return None
    best = sorted(votes, key=lambda one: (-votes[one], rank[one], one))
    return np.array(best[:OFFSETS], np.intp)


def _match(picture: Floats, tile: Floats) -> Floats:
    return np.asarray(cv2.matchTemplate(picture, tile, cv2.TM_CCORR), np.float32)


def _padded(one: Floats, by: int) -> Floats:
    """With nothing known around it, so that tiles reach over the picture's edge."""
    edges = (by, by, by, by)
    return np.asarray(cv2.copyMakeBorder(one, *edges, cv2.BORDER_CONSTANT, value=0), np.float32)


def _blurred(level: Floats, known: Mask, by: float) -> Floats:
    share = cv2.GaussianBlur(known.astype(np.float32), (0, 0), by)
    total = cv2.GaussianBlur(level, (0, 0), by)
    return np.asarray(total / np.maximum(share, 1e-6)[..., None], np.float32)


def _free(known: Floats, hidden: Floats) -> Mask:
    """[2 * height, 2 * width]: whether all of what is `hidden` is known at an offset (y - height, x - width)."""
    height, width = known.shape
    ys, xs = np.nonzero(hidden)
    top, left = int(ys.min()), int(xs.min())
    shape = hidden[top : ys.max() + 1, left : xs.max() + 1]
    seen = _match(known, shape) > shape.sum() - 0.5
    free = np.zeros((2 * height, 2 * width), bool)
    free[_from(top, left, known.shape, seen.shape)] = seen
    return free


def _from(
    top: int, left: int, shape: tuple[int, ...], size: tuple[int, ...]
) -> tuple[slice, slice]:
    """Where in `_free` the offsets lie that take a tile at (top, left) to the places of a map of `size`."""
    y, x = shape[0] - top, shape[1] - left
    return slice(y, y + size[0]), slice(x, x + size[1])


def _tiles(gap: Mask, side: int) -> Iterator[tuple[int, int]]:
    """Corners of tiles along the edge of the `gap`, in the padded picture."""
    inner = cv2.erode(gap.view(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    ys, xs = np.nonzero(gap & (inner == 0))
    cell = max(len(ys) / TILES, 4.0)
    cells = np.column_stack([ys // cell, xs // cell]).astype(np.intp)
    for one in np.unique(cells, axis=0):
        here = (cells == one).all(1)
        yield int(ys[here].mean()) + side - side // 2, int(xs[here].mean()) + side - side // 2


def _lowest(cost: Floats, most: int, apart: int) -> Iterator[tuple[tuple[int, int], float]]:
    """Up to `most` places (y, x) of the lowest cost, with it, no two within `apart`. Overwrites `cost`."""
    for _ in range(most):
        y, x = divmod(int(cost.argmin()), cost.shape[1])
        price = float(cost[y, x])
        if not np.isfinite(price):
            return
        yield (y, x), price
        cost[max(y - apart, 0) : y + apart + 1, max(x - apart, 0) : x + apart + 1] = np.inf


def _nodes(cells: NDArray[np.intp], shape: tuple[int, ...], side: int) -> Nodes:
    index = np.full((-(-shape[0] // side), -(-shape[1] // side)), -1, np.intp)
    index[cells[:, 0], cells[:, 1]] = np.arange(len(cells))
    return Nodes(cells[:, 0] * side, cells[:, 1] * side, index, side)


def _labelled(
    picture: Floats,
    gap: Mask,
    offsets: Offsets,
    nodes: Nodes,
    rounds: int,
    extra: Floats | float = 0,
) -> tuple[NDArray[np.intp], Mask]:
    """The number of each node's offset, and whether it leads to what is known. `extra` costs more [n, offset]."""
    height, width = gap.shape
    down, along = np.mgrid[: nodes.side, : nodes.side].reshape(2, -1)
    y = np.minimum(nodes.ys[:, None] + down, height - 1)
    x = np.minimum(nodes.xs[:, None] + along, width - 1)
    from_y, from_x = (one[:, None] + by[:, None] for one, by in zip((y, x), offsets.T, strict=True))
    legal = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
    from_y, from_x = np.clip(from_y, 0, height - 1), np.clip(from_x, 0, width - 1)
    legal = (legal & ~gap[from_y, from_x]).all(2)
    seen = picture[from_y, from_x]
    missed = np.square(seen - picture[y, x][:, None]).sum(-1) * ~gap[y, x][:, None]
    length = np.square(offsets).sum(1) / gap.sum()
    cost = EDGE * missed.mean(-1) + LENGTH * length + extra
    cost = np.where(legal, cost, FORBIDDEN).astype(np.float32)
    flat = seen.reshape(len(y), len(offsets), -1) / np.float32(nodes.side)
    square = np.square(flat).sum(-1)
    seam = square[:, :, None] + square[:, None] - 2 * np.einsum("nkd,nld->nkl", flat, flat)
    change = np.float32(CHANGE * energy(picture, surroundings(gap)))
    seam = np.maximum(seam, 0) + change * (1 - np.eye(len(offsets), dtype=np.float32))
    label = believed(cost, seam, nodes.index, rounds)
    return label, legal[np.arange(len(y)), label]


def believed(cost: Floats, seam: Floats, index: NDArray[np.intp], rounds: int) -> NDArray[np.intp]:
    """The label of each node: `cost` [n, label], `seam` [n, label, label] its half of what a change costs there.

    Min-sum belief propagation. A message passes along whole rows or columns before the next direction's begin.
    """
    told = {way: np.zeros_like(cost) for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            lines = index.T if way[1] else index
            lines = lines if sum(way) > 0 else lines[::-1]
            others = [told[one] for one in WAYS if one != (-way[0], -way[1])]
            for here, there in itertools.pairwise(lines):
                both = (here >= 0) & (there >= 0)
                if both.any():
                    by, to = here[both], there[both]
                    belief = cost[by] + sum(one[by] for one in others)
                    news = (belief[:, :, None] + (seam[by] + seam[to])).min(1)
                    told[way][to] = news - news.min(1, keepdims=True)
    return np.asarray((cost + sum(told.values())).argmin(1), np.intp)
