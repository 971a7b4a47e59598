"""Fills pixels that no frame shows with pieces of the same picture.

It is patch-based completion over several scales. Every patch that touches the gap looks for the most similar
patch of the known picture (PatchMatch: Barnes et al. 2009). The found patches then vote on each pixel of the
gap (Wexler, Shechtman and Irani, "Space-Time Completion of Video", 2007). The search runs on a reduced picture.
The result is copied from the plate at its own size, so detail and grain are real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import Floats, Tone

from .bands import broad, full_size, joined, parted
from .evenness import energy, piece, surroundings
from .fill import smooth
from .seams import healed
from .shifts import shifted

PATCH = 7
RADIUS = PATCH // 2
WORK_PIXELS, WORK_GAP = 120_000, 14_000
"""Pixels of the reduced picture, and of the gap in it, at most."""
COARSEST = 5.0
"""A pyramid ends where the gap is at most this many pixels deep."""
ROUNDS = 4
"""Searches, each followed by a vote, on the finest scale. Each coarser scale has two more than the one below,
because it decides the large shapes and a search costs little there."""
FEW = 40
"""Known patches below which there is nothing to copy from, and the gap is filled smoothly."""
CHUNK = 4096
NEAR, UPRIGHT, SIDEWAYS = 6e-3, 2.5, 0.6
"""Cost of a patch at a distance of the picture's height, added to its mean squared difference. The two factors
weight that distance upwards and sideways, because pictures are layered from the ground to the sky."""
RANDOM = 0.5
"""Randomness from which on pixels of a texture are copied as one piece."""
SEAMS = 0.25
"""Squared steps between continued pieces, over the gradient's energy around the gap, up to which they are taken."""
INWARD = 1.25
"""Pixels of the gap are trusted less by this factor for each pixel of distance from its edge."""


def synthesized(light: Floats, gap: Mask, tone: Tone, heartbeat: Callable[[], None]) -> Floats:
    """`light` [height, width, 3] with the `gap` [height, width] filled; the rest as it came."""
    if not gap.any():
        return light
    if gap.all():
        return np.zeros_like(light)
    factor = min(1.0, (WORK_PIXELS / gap.size) ** 0.5, (WORK_GAP / max(int(gap.sum()), 1)) ** 0.5)
    picture, small_gap = _reduced(tone.encode(light), gap, factor)
    heartbeat()
    continued = _continued(light, gap, picture, small_gap, tone, heartbeat)
    if continued is not None:
        return continued
    levels = _pyramid(picture, small_gap)
    field: _Field | None = None
    for index, (level, level_gap) in enumerate(reversed(levels)):
        finest = index == len(levels) - 1
        rounds = ROUNDS + 2 * (len(levels) - 1 - index)
        field = _matched(level, level_gap, field, rounds, heartbeat)
        if field is None and finest:
            return smooth(light, gap)
    if field is None:
        return smooth(light, gap)
    hidden = cv2.resize(gap.astype(np.float32), picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    return _finished(light, gap, picture, np.asarray(hidden > 1e-3), field, tone, heartbeat)


def _continued(
    light: Floats,
    gap: Mask,
    picture: Floats,
    hidden: Mask,
    tone: Tone,
    heartbeat: Callable[[], None],
) -> Floats | None:
    """`light` with structure continued into the `gap`; None where none fits.

    `picture` and `hidden` are the same, reduced.
    """
    near = cv2.dilate(hidden.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8))
    ys, xs = np.nonzero(near)
    offsets = shifted(picture, hidden, (ys, xs), heartbeat)
    if offsets is None:
        return None
    every = np.zeros((*hidden.shape, 2), np.intp)
    every[ys, xs] = offsets
    new, step = healed(picture, hidden, every)
    if step > SEAMS * energy(picture, surroundings(hidden)):
        return None
    index = np.full(hidden.shape, -1, np.intp)
    index[ys, xs] = np.arange(len(ys))
    field = _Field(ys, xs, index, np.column_stack([ys, xs]) + offsets, new)
    sources = field.sources()
    old = np.where(near[..., None] > 0, picture[sources[..., 0], sources[..., 1]], picture)
    filled = _copied(light, gap, field, heartbeat)
    before, after = full_size((old, new), gap, tone)
    filled[gap] = tone.expand(tone.compress(filled[gap]) - before + after)
    return filled


def _finished(
    light: Floats,
    gap: Mask,
    picture: Floats,
    hidden: Mask,
    field: _Field,
    tone: Tone,
    heartbeat: Callable[[], None],
) -> Floats:
    """`light` with the `gap` filled from what the field found; `picture` and `hidden` are the same, reduced."""
    active = field.index >= 0
    bands = parted(picture, field.sources(), active, hidden)
    if bands.is_texture and (offset := piece(picture, hidden, field.ys, field.xs)):
        # Patches found apart meet in fine lines. A piece that is copied whole has none.
        alone = bands.random[field.ys, field.xs] > RANDOM
        field.found[alone] = (np.column_stack([field.ys, field.xs]) + offset)[alone]
    sources = field.sources()
    low = bands.low[sources[..., 0], sources[..., 1]]
    new = broad(bands, picture, field.picture, sources, active, hidden)
    return joined(_copied(light, gap, field, heartbeat), light, gap, (low, new), bands, tone)


def _reduced(encoded: Floats, gap: Mask, factor: float) -> tuple[Floats, Mask]:
    height, width = gap.shape
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    known = (~gap).astype(np.float32)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(
        np.where(gap[..., None], 0, encoded), size, interpolation=cv2.INTER_AREA
    ).reshape(size[1], size[0], 3)
    mean = total / np.where(share > 0, share, 1)[..., None]
    return np.asarray(mean, np.float32), np.asarray(share < 0.999)


def _pyramid(picture: Floats, gap: Mask) -> list[tuple[Floats, Mask]]:
    """Finest first; each level half as large, until the gap is shallow."""
    levels = [(picture, gap)]
    while min(gap.shape) >= 8 * PATCH:
        deep = cv2.distanceTransform(_bordered(gap), cv2.DIST_L2, 3).max()
        if deep <= COARSEST:
            break
        picture, gap = _reduced(picture, gap, 0.5)
        levels.append((picture, gap))
    return levels


def _bordered(gap: Mask) -> NDArray[np.uint8]:
    return gap.astype(np.uint8)


@dataclass
class _Field:
    """For each active pixel (whose patch touches the gap): the centre of the patch that it found.

    `ys` and `xs` [n] are the active pixels; `index` [height, width] is their number, or -1. `found` [n, 2] is
    (y, x). `picture` [height, width, 3] is encoded, with the gap filled.
    """

    ys: NDArray[np.intp]
    xs: NDArray[np.intp]
    index: NDArray[np.intp]
    found: NDArray[np.intp]
    picture: Floats

    def sources(self) -> NDArray[np.intp]:
        """[height, width, 2]: the (y, x) that each active pixel found."""
        return self.found[np.maximum(self.index, 0)]


def _matched(
    level: Floats, gap: Mask, coarse: _Field | None, rounds: int, heartbeat: Callable[[], None]
) -> _Field | None:
    """The field of one level, begun from the coarser one's; None where too little is known."""
    height, width = gap.shape
    kernel = np.ones((PATCH, PATCH), np.uint8)
    whole = cv2.erode(
        (~gap).astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    usable = whole > 0
    if int(usable.sum()) < FEW:
        return None
    ys, xs = np.nonzero(cv2.dilate(gap.astype(np.uint8), kernel))
    index = np.full(gap.shape, -1, np.intp)
    index[ys, xs] = np.arange(len(ys))
    rng = np.random.default_rng(len(ys))
    picture = level.copy()
    known = np.argwhere(usable)
    if coarse is None:
        picture[gap] = smooth(level, gap)[gap]
        found = known[rng.integers(len(known), size=len(ys))]
    else:
        at = cv2.resize(coarse.picture, (width, height), interpolation=cv2.INTER_LINEAR)
        picture[gap] = at[gap]
        found = _lifted(coarse, ys, xs, usable, known, rng)
    field = _Field(ys, xs, index, found, picture)
    depth = cv2.distanceTransform(gap.astype(np.uint8), cv2.DIST_L2, 3)
    trust = (INWARD**-depth).astype(np.float32)
    patches = _patches(level)
    rows = np.ascontiguousarray(patches).reshape(*patches.shape[:2], -1)
    for turn in range(rounds):
        wanted, weight = _wanted(field, trust)
        cost = _search(field, rows, usable, wanted, weight, rng, turn, heartbeat)
        _vote(field, gap, level, cost, trust)
    return field


def _lifted(
    coarse: _Field,
    ys: NDArray[np.intp],
    xs: NDArray[np.intp],
    usable: Mask,
    known: NDArray[np.intp],
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """The coarser level's offsets, doubled; a random known patch where that lands on nothing known."""
    height, width = coarse.index.shape
    up, left = np.minimum(ys // 2, height - 1), np.minimum(xs // 2, width - 1)
    number = coarse.index[up, left]
    found = 2 * coarse.found[np.maximum(number, 0)] + np.column_stack([ys - 2 * up, xs - 2 * left])
    inside = (number >= 0) & (found[:, 0] < usable.shape[0]) & (found[:, 1] < usable.shape[1])
    inside[inside] &= usable[found[inside, 0], found[inside, 1]]
    found[~inside] = known[rng.integers(len(known), size=int((~inside).sum()))]
    return np.asarray(found, np.intp)


def _patches(picture: Floats) -> Floats:
    """[top, left, PATCH, PATCH, channel] of a picture [height, width, channel].

    A view in which a patch's rows are contiguous, which copies several times faster than channels before rows.
    """
    window = np.lib.stride_tricks.sliding_window_view(picture, (PATCH, PATCH), (0, 1))
    return np.moveaxis(window, 2, -1)


def _wanted(field: _Field, trust: Floats) -> tuple[Floats, Floats]:
    """Returns the patch of each active pixel [n, 3 * PATCH**2], and the weights of its values."""
    pad = [(RADIUS, RADIUS), (RADIUS, RADIUS)]
    padded = np.pad(field.picture, [*pad, (0, 0)], mode="edge")
    # What lies beyond the picture's edge is no part of a patch.
    counts = np.pad(trust, pad, constant_values=0)
    patch = _patches(padded)[field.ys, field.xs]
    share = _patches(counts[..., None])[field.ys, field.xs]
    share = np.broadcast_to(share, patch.shape).reshape(len(patch), -1)
    return patch.reshape(len(patch), -1), share / share.sum(1, keepdims=True)


def _search(
    field: _Field,
    rows: Floats,
    usable: Mask,
    wanted: Floats,
    weight: Floats,
    rng: np.random.Generator,
    turn: int,
    heartbeat: Callable[[], None],
) -> Floats:
    """Better patches for everybody: what the neighbours found, moved along, and random ones around."""
    height, width = usable.shape

    def costs(found: NDArray[np.intp], indices: NDArray[np.intp]) -> Floats:
        total = np.empty(len(indices), np.float32)
        for start in range(0, len(indices), CHUNK):
            part = indices[start : start + CHUNK]
            at = found[start : start + CHUNK]
            apart = rows[at[:, 0] - RADIUS, at[:, 1] - RADIUS] - wanted[part]
            unlike = np.einsum("nk,nk,nk->n", apart, apart, weight[part])
            down = (at[:, 0] - field.ys[part]) * np.float32(UPRIGHT / height)
            along = (at[:, 1] - field.xs[part]) * np.float32(SIDEWAYS / height)
            total[start : start + CHUNK] = unlike + NEAR * (down * down + along * along)
        heartbeat()
        return total

    every = np.arange(len(field.ys))
    best = costs(field.found, every)

    def offer(found: NDArray[np.intp], indices: NDArray[np.intp]) -> None:
        inside = (found >= 0).all(1) & (found[:, 0] < height) & (found[:, 1] < width)
        inside[inside] &= usable[found[inside, 0], found[inside, 1]]
        found, indices = found[inside], indices[inside]
        cost = costs(found, indices)
        better = cost < best[indices]
        best[indices[better]] = cost[better]
        field.found[indices[better]] = found[better]

    for reach in (8, 4, 2, 1, 1) if turn < 2 else (2, 1):
        for dy, dx in ((0, reach), (reach, 0), (0, -reach), (-reach, 0)):
            y, x = field.ys + dy, field.xs + dx
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            number = np.full(len(every), -1)
            number[inside] = field.index[y[inside], x[inside]]
            which = every[number >= 0]
            offer(field.found[number[which]] - (dy, dx), which)
    radius = max(height, width)
    while radius >= 1:
        jump = rng.integers(-radius, radius + 1, size=(len(every), 2))
        offer(field.found + jump, every)
        radius //= 3
    return best


def _vote(field: _Field, gap: Mask, level: Floats, cost: Floats, trust: Floats) -> None:
    """Each pixel of the gap becomes the mean of what the patches over it found for it."""
    ys, xs = np.nonzero(gap)
    height, width = gap.shape
    scale = max(float(np.percentile(cost, 60)), 1e-9)
    say = (np.exp(-cost / scale) + 1e-4).astype(np.float32) * trust[field.ys, field.xs]
    total = np.zeros((len(ys), 3), np.float32)
    weight = np.zeros(len(ys), np.float32)
    for dy in range(-RADIUS, RADIUS + 1):
        for dx in range(-RADIUS, RADIUS + 1):
            y, x = ys - dy, xs - dx
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            number = field.index[y[inside], x[inside]]
            at = field.found[number] + (dy, dx)
            total[inside] += say[number, None] * level[at[:, 0], at[:, 1]]
            weight[inside] += say[number]
    field.picture[ys, xs] = total / weight[:, None]


def _copied(light: Floats, gap: Mask, field: _Field, heartbeat: Callable[[], None]) -> Floats:
    """The gap at full size: each pixel copied from where the patches around it point.

    Four neighbours on the reduced picture each name an offset. If they agree, the pixel is an exact copy. Between
    regions that point to different places it is a blend.
    """
    height, width = gap.shape
    rows, columns = field.index.shape
    ys, xs = np.nonzero(gap)
    filled = light.copy()
    lost = np.zeros(gap.shape, bool)
    for start in range(0, len(ys), 1 << 18):
        heartbeat()
        y, x = ys[start : start + (1 << 18)], xs[start : start + (1 << 18)]
        v = np.clip((y + 0.5) * rows / height - 0.5, 0, rows - 1)
        u = np.clip((x + 0.5) * columns / width - 0.5, 0, columns - 1)
        top, left = v.astype(int), u.astype(int)
        total = np.zeros((len(y), 3), np.float32)
        weight = np.zeros(len(y), np.float32)
        for dy in (0, 1):
            for dx in (0, 1):
                row, column = np.minimum(top + dy, rows - 1), np.minimum(left + dx, columns - 1)
                number = field.index[row, column]
                share = np.abs(1 - dy - (v - top)) * np.abs(1 - dx - (u - left))
                offset = field.found[np.maximum(number, 0)] - np.column_stack([row, column])
                from_y = y + np.rint(offset[:, 0] * (height / rows)).astype(int)
                from_x = x + np.rint(offset[:, 1] * (width / columns)).astype(int)
                good = (number >= 0) & (from_y >= 0) & (from_y < height)
                good &= (from_x >= 0) & (from_x < width)
                good[good] &= ~gap[from_y[good], from_x[good]]
                counted = share[good].astype(np.float32)
                total[good] += counted[:, None] * light[from_y[good], from_x[good]]
                weight[good] += counted
        empty = weight < 1e-3
        lost[y[empty], x[empty]] = True
        filled[y, x] = total / np.where(empty, 1, weight)[:, None]
    if lost.any():
        filled[lost] = smooth(light, gap)[lost]
    return filled
