"""The nearness of pixels to fractions of a step, and where exactly the border between two depths lies.

Least squares on the sources' slopes give the fractions (Lucas and Kanade, 1981). They spread to even patches, but
not across a border. A border goes where each of its pixels agrees best with its sources.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import Floats

from .agreement import BOTH, ReducedSource, ReducedTarget, by_side, expected, fetched, fetched_at
from .border import placed

ROUNDS = 4
"""Rounds of least squares."""
WINDOW = 2.0
"""Deviation of the blur over which they are summed up, in pixels."""
HOLD, SPREADS = 2.0, 60
"""How much nearness is held to its neighbors', beside the usual trust, and rounds in which it spreads."""
EVEN = 1.5
"""Steps between neighbors from which on there is a border between them."""
REGION = 3
"""Pixels on each side over which the cost of a side is averaged."""
BESIDE = 3
"""Pixels that a border is moved by at most, in one go."""
SUPPORT = 3
"""Neighbors of the same depth that a pixel needs to change its own."""
AROUND = ((0, 1), (0, -1), (1, 0), (-1, 0))
"""Where the other side of a border is looked for."""
CLEAR, TELLING = 10.0, 0.1
"""Slope of a picture up to which it tells more, and how much in the hole: even patches agree at any nearness."""
MOVED = 0.4
"""Steps of 8 bits by which another nearness has to agree better beside a border."""


def refined(
    view: ReducedTarget, pieces: Sequence[ReducedSource], nearness: Floats, step: float
) -> tuple[Floats, Mask]:
    """(nearness to fractions of a step, [source, height, width]: the pixels that a source is to be asked for)."""
    delta = np.float32(0.5 * step)
    sides = np.array([one.side for one in pieces])
    nearness = _settled(view, pieces, nearness, step)
    for _ in range(ROUNDS):
        luma, shown = _all(pieces, nearness)
        chosen = _chosen(view, sides, luma, shown, nearness, step)
        shown &= (chosen == BOTH) | (chosen == sides[:, None, None])
        apart = expected(view.grey, view.free, luma, shown) - luma
        slopes = _all(pieces, nearness + delta)[0] - _all(pieces, nearness - delta)[0]
        slopes /= 2 * delta
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
    nearness = _settled(view, pieces, nearness, step)
    nearness, hidden = placed(view, pieces, nearness, step)
    luma, shown = _all(pieces, nearness)
    chosen = _chosen(view, sides, luma, shown & ~hidden, nearness, step)
    return nearness, ((chosen == BOTH) | (chosen == sides[:, None, None])) & ~hidden


def _all(pieces: Sequence[ReducedSource], nearness: Floats) -> tuple[Floats, Mask]:
    found = [fetched(one, nearness) for one in pieces]
    return np.stack([grey for grey, _ in found]), np.stack([free for _, free in found])


def _chosen(
    view: ReducedTarget,
    sides: NDArray[np.intp],
    luma: Floats,
    shown: Mask,
    nearness: Floats,
    step: float,
) -> NDArray[np.uint8]:
    """[height, width]: the side whose sources agree best around a pixel, at its own depth."""
    costs = by_side(view.grey, view.free, sides, luma, shown)
    across, down = _links(nearness, step)
    count = np.ones(nearness.shape, np.float32)
    for links, axis in ((across, -1), (down, -2)):
        costs, count = _summed(costs, links, axis), _summed(count, links, axis)
    return np.asarray((costs / count).argmin(0), np.uint8)


def _links(nearness: Floats, step: float) -> tuple[Mask, Mask]:
    """Whether there is no border between neighbors, of a row [height, width - 1] and of a column."""
    across, down = (np.abs(np.diff(nearness, axis=axis)) < EVEN * step for axis in (1, 0))
    return across, down


def _summed(values: Floats, links: Mask, axis: int) -> Floats:
    """The sum of up to REGION neighbors on each side along an axis, as far as they are linked."""
    total = values.copy()
    moved, source = np.moveaxis(total, axis, -1), np.moveaxis(values, axis, -1)
    joint = np.moveaxis(links, axis, -1)
    reached = joint.copy()
    for away in range(1, REGION + 1):
        moved[..., :-away] += source[..., away:] * reached
        moved[..., away:] += source[..., :-away] * reached
        reached = reached[..., :-1] & joint[..., away:]
    return total


def _settled(
    view: ReducedTarget, pieces: Sequence[ReducedSource], nearness: Floats, step: float
) -> Floats:
    """Pixels beside a border get the nearness of its other side where their sources agree better there."""
    across, down = _links(nearness, step)
    border = np.zeros(nearness.shape, np.uint8)
    border[:, 1:] |= ~across
    border[1:] |= ~down
    near = cv2.dilate(border, np.ones((2 * BESIDE + 1, 2 * BESIDE + 1), np.uint8))
    y, x = np.nonzero(near)
    if not len(y):
        return nearness
    steep = [replace(one, grey=_steep(one.grey)) for one in pieces]
    sides = np.array([one.side for one in pieces])
    plate, free = view.grey[y, x], view.free[y, x]
    best = nearness[y, x].copy()
    least = np.full(len(y), np.inf, np.float32)
    height, width = nearness.shape
    ways = [(0, 0)] + [(dy * by, dx * by) for by in range(1, BESIDE + 1) for dy, dx in AROUND]
    for dy, dx in ways:
        tried = nearness[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
        other = np.abs(tried - best) > step if dy or dx else np.ones(len(y), bool)
        if not other.any():
            continue
        at = y[other], x[other], tried[other]
        found = [fetched_at(one, *at) for one in pieces]
        luma, shown = (np.stack(parts) for parts in zip(*found, strict=True))
        cost = by_side(plate[other], free[other], sides, luma, shown).min(0)
        slope = np.stack([fetched_at(one, *at)[0] for one in steep])
        slope = np.clip((slope * shown).sum(0) / np.maximum(shown.sum(0), 1), 0, CLEAR)
        cost -= np.where(free[other], 0, TELLING * slope)
        # Nothing tells of pixels that too few sources show: they stay as they are.
        told = shown.sum(0) >= np.where(free[other], 1, 2)
        cost[~told] = np.inf if dy or dx else -np.inf
        here = np.flatnonzero(other)
        better = cost + (MOVED if dy or dx else 0) < least[here]
        best[here[better]], least[here[better]] = tried[here[better]], cost[better]
    settled = nearness.copy()
    settled[y, x] = best
    return np.where(_alone(settled, step), nearness, settled)


def _steep(grey: Floats) -> Floats:
    """How much a picture changes from pixel to pixel."""
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *way, scale=1 / 8) for way in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(across, down), np.float32)


def _alone(nearness: Floats, step: float) -> Mask:
    """Pixels at whose depth fewer than SUPPORT of the eight neighbors are."""
    padded = np.pad(nearness, 1, mode="edge")
    height, width = nearness.shape
    like = np.zeros(nearness.shape, np.uint8)
    for top, left in itertools.product(range(3), repeat=2):
        like += np.abs(padded[top : top + height, left : left + width] - nearness) < EVEN * step
    return like <= SUPPORT


def _even(old: Floats, wanted: Floats, trust: Floats, step: float) -> Floats:
    """The values `wanted`, as far as they are trusted; elsewhere as neighbors are, but not across a border."""
    across, down = (links * np.float32(HOLD) for links in _links(old, step))
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
