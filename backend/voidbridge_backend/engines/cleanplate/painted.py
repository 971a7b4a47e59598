"""Painted clean frames: the background of some frames as the artist painted it, carried to all other frames.

A painted frame is a source like any other: the camera's motion and the layers' take it along, and the plate around
the hole aligns it. It comes first: where paint reaches, no other source counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from voidbridge_backend.engines.base import Clip, PaintedClip
from voidbridge_backend.parallel import Pool

from .combine import combined
from .geometry import FrameBox, Mask, shift, warp
from .motion.align import WarpedSource
from .motion.camera import Camera
from .motion.sources import Painting, Pieces, Source, piece
from .tone import Floats, Tone

MOST = 4
"""Painted frames that are asked for one frame: the nearest."""
FARTHER = 1e-6
"""Share of a painted frame behind another one: it counts only if the nearer one does not reach."""
FAINT = 0.1
"""Alpha from which on paint is taken alone where nothing else is known."""


@dataclass(frozen=True)
class Carried:
    """Paint as it reaches a box: light [height, width, 3], and its weight [height, width], 0 to 1.

    `patch` [height, width] is the part of the weight that comes from patches: their light is final.
    """

    light: Floats
    weight: Floats
    patch: Floats
    frames: frozenset[int]
    """The painted frames that reach it."""


def painted_frames(clip: Clip) -> list[int]:
    """The frames with paint, rising."""
    return list(clip.painted) if isinstance(clip, PaintedClip) else []


def nearest(frame: int, painted: Sequence[int], camera: Camera) -> list[int]:
    """The painted frames of the same scene that are asked for `frame`: one on each side, then the nearest."""
    if frame in camera.mixes:  # no paint of another frame is mixed as this one is
        return [frame] if frame in painted else []
    same = [other for other in painted if camera.scene(other) == camera.scene(frame)]
    before = [other for other in same if other <= frame][-1:]
    behind = [other for other in same if other > frame][:1]
    rest = sorted({*same} - {*before, *behind}, key=lambda other: (abs(other - frame), other))
    return sorted([*before, *behind, *rest][:MOST])


def repeated(repeats: frozenset[int], painted: Sequence[int]) -> frozenset[int]:
    """`repeats` without the runs in which the artist painted two frames: these fade into one another."""
    begins: dict[int, int] = {}
    for frame in sorted(repeats):
        begins[frame] = begins.get(frame - 1, frame - 1)
    paints = Counter(begins.get(frame, frame) for frame in painted)
    return frozenset(frame for frame in repeats if paints[begins[frame]] < 2)


class PaintedSources(Pieces):
    """Pieces of painted frames, with their paint."""

    def __init__(self, clip: Clip, tone: Tone) -> None:
        super().__init__(self._piece, MOST)
        self._clip, self._tone = clip, tone

    def _piece(self, frame: int, box: FrameBox) -> Source:
        assert isinstance(self._clip, PaintedClip)
        paint = self._clip.paint(frame)
        weight = np.ascontiguousarray(paint.weight[box.slices])
        light = self._clip.plate(frame)[box.slices].copy()
        hidden = self._clip.quadmask(frame)[box.slices] != 255
        on = weight > 0
        shown = light.copy()
        shown[on] = paint.light[box.slices][on]
        # Paint keeps its float32: on its own frame it comes back as it is.
        made = replace(piece(frame, box, shown, hidden & ~on, self._tone), light=shown)
        painting = Painting(made, weight, paint.is_whole)
        # A patch is aligned and exposed by the plate around it, a whole frame by itself.
        seen = made if paint.is_whole else piece(frame, box, light, hidden, self._tone)
        return replace(seen, painting=painting)


def carried(
    laid: Sequence[WarpedSource],
    frame: int,
    box: FrameBox,
    wanted: Mask,
    tone: Tone,
    pool: Pool,
) -> Carried | None:
    """The paint of `laid`, whose sources all have some, for the pixels that are `wanted` in `box`.

    None if none reaches it. Between two painted frames one is faded into the other.
    """
    by_frame: dict[int, list[WarpedSource]] = {}
    for one in laid:
        by_frame.setdefault(one.source.frame, []).append(one)
    total = np.zeros((box.height, box.width, 3), np.float32)
    sums, weight, patch = (np.zeros(total.shape[:2], np.float32) for _ in range(3))
    reaching = set()
    for other, share in _shares(frame, sorted(by_frame)).items():
        light, own = _moved(by_frame[other], frame, box, wanted, tone, pool)
        counted = own * np.float32(share)
        reaching |= {other} if own.any() else set()
        total += light * counted[..., None]
        sums += counted
        np.maximum(weight, own, out=weight)
        painting = by_frame[other][0].source.painting
        if painting is not None and not painting.is_whole:
            patch += counted
    if not weight.any():
        return None
    safe = np.where(sums > 0, sums, np.float32(1))
    light = np.asarray(total / safe[..., None], np.float32)
    final = np.asarray(weight * (patch / safe), np.float32)
    return Carried(light, weight, final, frozenset(reaching))


def _shares(frame: int, painted: Sequence[int]) -> Mapping[int, float]:
    """How much each painted frame counts: the nearest on each side by their distance, all others hardly."""
    before = [other for other in painted if other <= frame][-1:]
    behind = [other for other in painted if other > frame][:1]
    shares = {other: FARTHER / (1 + abs(other - frame)) for other in painted}
    pair = [*before, *behind]
    for other in pair:
        apart = abs(pair[-1] - pair[0])
        near = 1 - abs(other - frame) / apart if apart else 1.0
        shares[other] = max(near, FARTHER)
    return shares


def _moved(
    laid: Sequence[WarpedSource],
    frame: int,
    box: FrameBox,
    wanted: Mask,
    tone: Tone,
    pool: Pool,
) -> tuple[Floats, Floats]:
    """(light, weight) of one painted frame in `box`; the weight is 0 where it does not reach."""
    source = laid[0].source
    own = source.painting
    if source.frame == frame and own is not None and not own.is_whole and source.box.holds(box):
        inside = box.within(source.box)
        return np.asarray(own.source.light[inside], np.float32), own.weight[inside]
    paints = [replace(one, source=_paint(one)) for one in laid]
    found = combined(paints, frame, box, wanted, tone, pool)
    weight = np.zeros(found.known.shape, np.float32)
    for one in laid:
        painting = one.source.painting
        assert painting is not None
        moved = _weight(one, painting, box)
        if one.where is not None:
            outer, mine = one.where
            moved = np.where(mine[box.within(outer)], moved, 0)
        np.maximum(weight, moved, out=weight)
    weight[~found.known] = 0
    return found.light, np.clip(weight, 0, 1)


def _weight(one: WarpedSource, painting: Painting, box: FrameBox) -> Floats:
    """The weight of the paint [height, width] at the pixels of `box`."""
    own = one.source.box
    if one.relief is not None:
        x, y = one.places(box)
        return np.asarray(cv2.remap(painting.weight, x, y, cv2.INTER_LINEAR), np.float32)
    if np.array_equal(one.homography, np.eye(3)) and own.holds(box):
        return painting.weight[box.within(own)]
    return warp(painting.weight, one.homography @ shift(own.left, own.top), box, cv2.INTER_LINEAR)


def _paint(one: WarpedSource) -> Source:
    assert one.source.painting is not None
    return one.source.painting.source


def laid_on(found: Carried, fill: Floats, known: Mask) -> None:
    """Puts the paint onto `fill` and `known`, in place. Soft paint is mixed with what other sources show."""
    weight = np.where(known, found.weight, (found.weight >= FAINT).astype(np.float32))
    fill += (found.light - fill) * weight[..., None]
    exact = weight == 1
    fill[exact] = found.light[exact]
    known |= weight > 0


def kept(found: Carried, joint: Floats) -> None:
    """Puts the paint of patches back onto the `joint` light, in place: no seam changes them."""
    joint += (found.light - joint) * found.patch[..., None]
    exact = found.patch >= 1
    joint[exact] = found.light[exact]
