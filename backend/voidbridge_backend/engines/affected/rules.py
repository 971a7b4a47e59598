"""Applies the rules to a shot: which areas does the object change, frame by frame?

They are offers: nothing is found where the object rests in every frame, because its background is not known there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from . import reflection, shadow
from .background import Background, Change, Mask

RULES = ("shadow", "reflection", "contact")
STEP = 3
"""Frames between two looks at a region's motion."""
FOLLOWS = 0.4
"""Overlap of a region, moved as the object moved, with the regions `STEP` frames later."""
SAMPLES = 9
"""Frames in which a mirror is looked for."""


@dataclass(frozen=True)
class Found:
    """The region that one rule found in one frame, bool [height, width]."""

    rule: str
    frame: int
    region: Mask


@dataclass(frozen=True)
class _Look:
    """One frame beside its background, with its darkened regions."""

    frame: int
    change: Change
    dark: Mask


def apply(
    background: Background, rules: Sequence[str], heartbeat: Callable[[], None]
) -> Iterator[Found]:
    """Each rule's region of every frame, in the order of frames. `heartbeat` is called for each and may raise."""
    side = _mirror_side(background, heartbeat) if "reflection" in rules else None
    looks: dict[int, _Look] = {}
    frames = background.frames
    for index, frame in enumerate(frames):
        heartbeat()
        ahead = frames[min(index + STEP, len(frames) - 1)]
        behind = frames[max(index - STEP, 0)]
        for needed in {frame, ahead} - {*looks}:
            change = background.change(needed)
            looks[needed] = _Look(needed, change, shadow.darkened(change))
        for old in [number for number in looks if number < behind]:
            del looks[old]
        look = looks[frame]
        if "shadow" in rules:
            beside = [looks[n] for n in (ahead, behind) if n != frame]
            yield Found("shadow", frame, look.change.closed(_shadow(background, look, beside)))
        if "reflection" in rules:
            yield Found("reflection", frame, _reflection(look.change, side))
        if "contact" in rules:
            yield Found("contact", frame, look.change.closed(shadow.contact(look.change)))


def _shadow(background: Background, look: _Look, beside: Sequence[_Look]) -> Mask:
    """Darkened regions that come near the object, or that move as it does."""
    found = shadow.near(look.dark, look.change.object)
    rest = look.dark & ~found
    for other in beside:
        if rest.any() and background.same_scene(look.frame, other.frame):
            found |= _following(background, rest, look, other)
    return found


def _following(background: Background, rest: Mask, look: _Look, other: _Look) -> Mask:
    """The parts of `rest` that lie in the other frame where the object's motion takes them."""
    nothing = np.zeros_like(rest)
    here, there = _center(look.change.object), _center(other.change.object)
    if here is None or there is None:
        return nothing
    camera = background.motion(look.frame, other.frame)
    resting = camera @ np.array([*here, 1.0])
    step = there - resting[:2] / resting[2]
    if np.hypot(*step) < 1:
        return nothing
    count, labels = cv2.connectedComponents(rest.astype(np.uint8), connectivity=8)
    shift = np.array([[1, 0, step[0]], [0, 1, step[1]], [0, 0, 1.0]])
    stays = _shares(labels, count, camera, other.dark)
    moved = _shares(labels, count, shift @ camera, other.dark)
    kept = np.flatnonzero(moved >= np.maximum(FOLLOWS, stays))
    return np.isin(labels, kept[kept > 0])


def _shares(
    labels: NDArray[np.int32], count: int, motion: NDArray[np.float64], dark: Mask
) -> NDArray[np.float64]:
    """For each label the share of its pixels that are dark in the other frame, after this motion."""
    size = labels.shape[::-1]
    flags = cv2.INTER_NEAREST
    placed = cv2.warpPerspective(labels.astype(np.float32), motion, size, flags=flags).astype(int)
    hits = np.bincount(placed[dark], minlength=count)
    return np.asarray(hits / np.maximum(np.bincount(placed.ravel(), minlength=count), 1))


def _mirror_side(background: Background, heartbeat: Callable[[], None]) -> reflection.Side | None:
    """The side on which most of a few frames show the mirrored object; a single frame may be chance."""
    count = min(SAMPLES, len(background.frames))
    chosen = [
        background.frames[round(i)] for i in np.linspace(0, len(background.frames) - 1, count)
    ]
    likeness: dict[reflection.Side, list[float]] = {}
    for frame in chosen:
        heartbeat()
        for mirror in reflection.mirrors(background.change(frame)):
            likeness.setdefault(mirror.side, []).append(mirror.likeness)
    medians = {side: float(np.median(values)) for side, values in likeness.items()}
    best = max(medians, key=lambda side: medians[side], default=None)
    return best if best is not None and medians[best] >= reflection.ALIKE else None


def _reflection(change: Change, side: reflection.Side | None) -> Mask:
    found = np.zeros(change.object.shape, bool)
    for mirror in reflection.mirrors(change) if side else []:
        if mirror.side == side:
            found |= reflection.reflected(change, mirror)
    return found


def _center(mask: Mask) -> NDArray[np.float64] | None:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()]) if len(rows) else None
