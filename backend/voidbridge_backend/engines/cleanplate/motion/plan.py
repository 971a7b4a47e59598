"""Which frames to fetch the background from, decided on small masks without decoding anything.

Masks are bool [height, width] at `WIDTH` columns at most; set means hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import (
    FrameBox,
    Homography,
    Mask,
    apply,
    around,
    inverse,
    mapped,
    scaling,
    union,
)

from .camera import Camera
from .sharpness import clear, worth

WIDTH = 256
BLOCK = 8
"""Frames that share their sources."""
SOURCES, MOST = 8, 14
"""Sources of a block; more only for pixels that no other source shows, and for a background of several depths."""
NEAR = 24
"""Frames up to this distance are all considered, farther ones every `STRIDE`."""
STRIDE = 4
FADE = 24.0
"""A source this many frames away counts half."""
STRAY_PX, STRAYS, FEWEST, WIDER = 1.5, 0.08, 12, 2.0
"""Tracked pixels beyond which a point does not follow one plane, the part of such points that tells of depth,
points without which nothing is told, and how many times wider the box is made then."""
REFERENCES = 6
WORTH = 0.002
"""The part of the holes that a source beyond `SOURCES` must be the first to show."""


def reduced(hole: Mask) -> Mask:
    """A hole at the planning size: set where any of the plate's pixels is set."""
    size = reduced_size(*hole.shape)[::-1]
    return np.asarray(cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)


def reduced_size(height: int, width: int) -> tuple[int, int]:
    """The planning size of a picture: (height, width)."""
    columns = min(width, WIDTH)
    return max(round(height * columns / width), 1), columns


def blocks(frames: Sequence[int], camera: Camera) -> list[list[int]]:
    """Frames with a hole in runs of at most BLOCK, none across a cut or a gap of more than BLOCK."""
    runs: list[list[int]] = []
    for frame in frames:
        last = runs[-1] if runs else []
        if (
            not last
            or len(last) == BLOCK
            or frame - last[0] >= 2 * BLOCK
            or camera.scene(frame) != camera.scene(last[0])
        ):
            runs.append([frame])
        else:
            last.append(frame)
    return runs


def sources(
    block: Sequence[int],
    holes: Mapping[int, Mask],
    every: Sequence[int],
    camera: Camera,
    sharpness: Mapping[int, float],
    contrast: Mapping[int, float],
    scene: int | None = None,
) -> list[int]:
    """The frames that together show most of what is hidden in a block, best first: of the block's scene, or of
    `scene`.

    The choice is greedy. A pick is worth the hidden pixels that it shows. Each pixel counts half as much for every
    earlier pick that shows it. A pick counts less the farther away it is in time, and the softer it is than the
    sharpest frame of the block, and the darker or foggier it is than the clearest one.
    """
    middle = block[len(block) // 2]
    asked = sorted({block[0], middle, block[-1]})
    wanted = camera.scene(middle) if scene is None else scene
    candidates = [
        frame
        for frame in every
        if camera.scene(frame) == wanted
        and (abs(frame - middle) <= NEAR or (frame - every[0]) % STRIDE == 0)
    ]
    shown = np.array([_shown(frame, asked, holes, camera) for frame in candidates])
    if not shown.size:
        return []
    distance = np.abs(np.array(candidates) - middle)
    sharpest, clearest = _most(sharpness, asked), _most(contrast, block)
    crisp = np.array([worth(sharpness[frame], sharpest) for frame in candidates])
    crisp *= [clear(contrast[frame], clearest) for frame in candidates]
    fade = crisp / (1 + distance / FADE)
    enough = MOST - 1 if camera.ways(middle, middle) else SOURCES
    weight = np.ones(shown.shape[1], np.float32)
    picked: list[int] = []
    while len(picked) < min(MOST, len(candidates)):
        first = shown @ (weight == 1).astype(np.float32)
        late = len(picked) >= enough
        gain = (first if late else shown @ weight) * fade
        gain[picked] = 0
        best = int(gain.argmax())
        if gain[best] <= 0 or (late and first[best] < WORTH * len(weight)):
            break
        picked.append(best)
        weight[shown[best] > 0] *= 0.5
    return [candidates[index] for index in picked]


def _most(values: Mapping[int, float], frames: Sequence[int]) -> float:
    known = [values[frame] for frame in frames if not np.isnan(values[frame])]
    return max(known, default=float("nan"))


class Surroundings:
    """The boxes of a block's holes, known before its frames are worked on."""

    def __init__(self, block: Sequence[int], holes: Mapping[int, Mask], camera: Camera) -> None:
        self.block = block
        self._holes, self._camera = holes, camera
        self._height, self._width = camera.height, camera.width
        self._boxes = {frame: self._padded(frame) for frame in block}

    def reach(self, frame: int) -> int:
        """How far around the hole of `frame` its surroundings are looked at."""
        hole = self._estimate(frame)
        return int(np.clip(0.2 * max(hole.width, hole.height), 32, 320))

    def box(self, frame: int) -> FrameBox:
        return self._boxes[frame]

    def needed(self, source: int) -> FrameBox | None:
        """The part of `source` that any frame of the block may want."""
        boxes = []
        for frame in self.block:
            ways = [inverse(way) for way in self._camera.ways(source, frame) if way is not None]
            for motion in [self._camera.between(frame, source), *ways]:
                seen = mapped(motion, self._boxes[frame], self._height, self._width)
                if seen is not None:
                    boxes.append(seen.grown(24, self._height, self._width))
            strays = deep(self._camera, source, frame, self._boxes[frame])
            if strays is not None and strays.width > 0 and strays.height > 0:
                boxes.append(strays.grown(24, self._height, self._width))
        return union(boxes) if boxes else None

    def _padded(self, frame: int) -> FrameBox:
        return self._estimate(frame).grown(self.reach(frame), self._height, self._width)

    def _estimate(self, frame: int) -> FrameBox:
        small = self._holes[frame]
        box = around(small) or FrameBox(0, 0, small.shape[1], small.shape[0])
        across, down = self._width / small.shape[1], self._height / small.shape[0]
        return FrameBox(
            int(box.left * across),
            int(box.top * down),
            min(int(box.right * across) + 1, self._width),
            min(int(box.bottom * down) + 1, self._height),
        )


def deep(camera: Camera, source: int, target: int, box: FrameBox) -> FrameBox | None:
    """Where a box of the `target` comes to lie in the `source`, if too many points do not follow one plane.

    None if they do. Points of the box are asked, and where they are few, those around it.
    """
    here, there = camera.tracks.common(source, target)
    factor = camera.size[0] / camera.width
    back = inverse(scaling(factor, camera.size[1] / camera.height))
    seen, own = apply(back, here), apply(back, there)
    sides = np.array([box.width, box.height]) / 2
    away = np.abs(own - (box.left, box.top) - sides) / sides
    inside = away.max(1) < 1
    if inside.sum() < FEWEST:
        inside = away.max(1) < WIDER
    if inside.sum() < FEWEST:
        return None
    seen, own = seen[inside], own[inside]
    missed = np.abs(apply(camera.between(target, source), own) - seen).max(1) * factor
    if (missed > STRAY_PX).mean() < STRAYS:
        return None
    moved = seen - own
    low, high = np.floor(moved.min(0)).astype(int), np.ceil(moved.max(0)).astype(int)
    part = FrameBox(
        box.left + int(low[0]),
        box.top + int(low[1]),
        box.right + int(high[0]),
        box.bottom + int(high[1]),
    )
    return part.grown(0, camera.height, camera.width)


def references(frame: int, every: Sequence[int], camera: Camera) -> list[int]:
    """A few other frames, near and far, that tell what stays in the picture from what passes through."""
    same = [other for other in every if camera.scene(other) == camera.scene(frame)]
    near = [other for other in same if abs(other - frame) <= 2 * NEAR and other != frame]
    if len(near) <= REFERENCES:
        return near
    return [near[round(n * (len(near) - 1) / (REFERENCES - 1))] for n in range(REFERENCES)]


def _shown(
    source: int, targets: Sequence[int], holes: Mapping[int, Mask], camera: Camera
) -> NDArray[np.float32]:
    """1 for each hidden pixel of the targets that `source` shows, in one row; anew for each layer of a target."""
    rows = []
    for target in targets:
        hole = holes[target]
        height, width = hole.shape
        reduce = scaling(width / camera.width, height / camera.height)
        for way in camera.ways(source, target) or [camera.between(source, target)]:
            if way is None or source == target:
                rows.append(np.zeros(int(hole.sum()), np.float32))
            else:
                free = _moved(~holes[source], reduce @ way @ inverse(reduce))
                rows.append(free[hole].astype(np.float32))
    return np.concatenate(rows).astype(np.float32)


def _moved(free: Mask, motion: Homography) -> Mask:
    height, width = free.shape
    moved = cv2.warpPerspective(free.astype(np.float32), motion, (width, height))
    return np.asarray(moved > 0.75)
