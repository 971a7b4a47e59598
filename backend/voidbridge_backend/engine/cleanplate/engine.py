"""The engine `cleanplate`: the background behind the object, fetched from the frames that show it.

No weights and no GPU. In three stages: where the camera looked (`camera`), which frames show what is
hidden (`plan`), and then frame by frame the background itself: laid over the hole (`align`), put to the vote
(`combine`), completed where no frame shows it (`invent`) and joined with its surroundings (`fill`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from voidbridge_backend.engine.base import Clip, Pixels, Sight, Watch
from voidbridge_protocol.messages import Settings

from . import plan
from .align import Laid, Surrounding, lay, surrounding
from .camera import Camera
from .combine import combined
from .fill import joined, spread
from .geometry import Box, Mask, around, mapped, union
from .invent import invented
from .sources import Source, Sources, piece
from .tone import Tone, exposed

VERSION = 1
KEPT = 3
"""Inventions that are remembered, to be brought along to later frames."""
SLIVER = 0.004
"""A gap of less than this part of the hole is closed smoothly; it is not worth an invention."""


PASSING = 0.06
"""Encoded difference to what other frames show in the same place, from which on a pixel is passing through."""


class Cleanplate:
    """Scene-linear light at the plate's own size in and out, nothing clamped."""

    name = "cleanplate"

    def sight(self, height: int, width: int, settings: Settings) -> Sight:
        return Sight("scene")

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "version": VERSION}

    def remove(self, clip: Clip, settings: Settings, watch: Watch) -> Iterator[tuple[int, Pixels]]:
        holes = [frame for frame in clip.frames if clip.has_hole(frame)]
        if not holes:
            return
        shot = _explored(clip, watch)
        progress = _Progress(watch, len(holes))
        sources = Sources(clip, shot.tone, plan.MOST + 1, progress.pulse)
        inventions: list[Source] = []
        scene = shot.camera.scene(holes[0])
        for block in plan.blocks(holes, shot.camera):
            if shot.camera.scene(block[0]) != scene:
                inventions.clear()
                scene = shot.camera.scene(block[0])
            chosen = plan.sources(block, shot.holes, clip.frames, shot.camera)
            around_holes = _Surroundings(clip, shot, block)
            for frame in block:
                progress.pulse()
                task = _Task(clip, shot, frame, around_holes, sources, progress)
                yield frame, task.removed(chosen, inventions)
                progress.done += 1
        progress.pulse()


@dataclass(frozen=True)
class _Shot:
    """What is known of the whole shot: little for each frame."""

    tone: Tone
    camera: Camera
    holes: dict[int, Mask]
    """Which pixels of the planning size are hidden, by frame."""


@dataclass
class _Progress:
    watch: Watch
    of: int
    done: int = 0

    def pulse(self) -> None:
        self.watch.step("removing", self.done, self.of)


def _explored(clip: Clip, watch: Watch) -> _Shot:
    """One pass over all frames for the camera's motion and for what is hidden where."""
    frames = clip.frames
    camera = Camera(clip.height, clip.width)
    samples = []
    for frame in sorted({frames[0], frames[len(frames) // 2], frames[-1]}):
        watch.step("camera", 0, len(frames))
        samples.append(_small(clip.plate(frame), camera.size))
    tone = exposed(samples)
    holes: dict[int, Mask] = {}
    for done, frame in enumerate(frames):
        watch.step("camera", done, len(frames))
        hole = clip.quadmask(frame) != 255
        holes[frame] = plan.reduced(hole)
        grey = tone.grey8(_small(clip.plate(frame), camera.size))
        share = cv2.resize((~hole).astype(np.float32), camera.size, interpolation=cv2.INTER_AREA)
        free = np.where(share >= 0.999, 255, 0).astype(np.uint8)
        camera.add(frame, grey, cv2.erode(free, np.ones((5, 5), np.uint8), borderValue=255))
    watch.step("camera", len(frames), len(frames))
    return _Shot(tone, camera, holes)


def _small(light: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), np.float32)


class _Surroundings:
    """The boxes of a block's holes, known before its frames are worked on."""

    def __init__(self, clip: Clip, shot: _Shot, block: list[int]) -> None:
        self._shot, self._block = shot, block
        self._height, self._width = clip.height, clip.width
        self._boxes = {frame: self._padded(frame) for frame in block}

    def reach(self, frame: int) -> int:
        """How far around the hole of `frame` its surroundings are looked at."""
        hole = self._estimate(frame)
        return int(np.clip(0.2 * max(hole.width, hole.height), 32, 320))

    def box(self, frame: int) -> Box:
        return self._boxes[frame]

    def needed(self, source: int) -> Box | None:
        """The part of `source` that any frame of the block may want."""
        boxes = []
        for frame in self._block:
            motion = self._shot.camera.between(frame, source)
            seen = mapped(motion, self._boxes[frame], self._height, self._width)
            if seen is not None:
                boxes.append(seen.grown(24, self._height, self._width))
        return union(boxes) if boxes else None

    def _padded(self, frame: int) -> Box:
        return self._estimate(frame).grown(self.reach(frame), self._height, self._width)

    def _estimate(self, frame: int) -> Box:
        small = self._shot.holes[frame]
        box = around(small) or Box(0, 0, small.shape[1], small.shape[0])
        across, down = self._width / small.shape[1], self._height / small.shape[0]
        return Box(
            int(box.left * across),
            int(box.top * down),
            min(int(box.right * across) + 1, self._width),
            min(int(box.bottom * down) + 1, self._height),
        )


@dataclass
class _Task:
    """One frame."""

    clip: Clip
    shot: _Shot
    frame: int
    surroundings: _Surroundings
    sources: Sources
    progress: _Progress
    _block_px: int = field(init=False)

    def __post_init__(self) -> None:
        self._block_px = max(2, round(self.clip.width / 480))

    def removed(self, chosen: list[int], inventions: list[Source]) -> Pixels:
        plate = self.clip.plate(self.frame)
        hole = self.clip.quadmask(self.frame) != 255
        box = self.surroundings.box(self.frame)
        reach = self.surroundings.reach(self.frame)
        target = surrounding(box, plate[box.slices], hole[box.slices], reach, self.shot.tone)
        wanted = self._with_band(target.hole)
        laid = self._laid(target, chosen)
        fill, known = combined(laid, self.frame, box, wanted, self.shot.tone, self.progress.pulse)
        self._complete(target, fill, known, inventions)
        known |= target.hole
        joint = joined(
            fill, known & wanted, target.light, target.hole, self._block_px, self.shot.tone
        )
        plate[box.slices] = np.where(target.hole[..., None], joint, target.light)
        return plate

    def _with_band(self, hole: Mask) -> Mask:
        """The hole and the band around it on which the seam is measured."""
        size = 2 * 3 * self._block_px + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        return np.asarray(cv2.dilate(hole.astype(np.uint8), kernel) > 0)

    def _laid(self, target: Surrounding, chosen: list[int]) -> list[Laid]:
        laid = []
        for frame in chosen:
            needed = None if frame == self.frame else self.surroundings.needed(frame)
            if needed is None:
                continue
            source = self.sources.get(frame, needed)
            self.progress.pulse()
            motion = self.shot.camera.between(frame, self.frame)
            laid.append(lay(target, source, motion, self.shot.tone))
        return laid

    def _complete(
        self, target: Surrounding, fill: Pixels, known: Mask, inventions: list[Source]
    ) -> None:
        """Fill what no source showed, in place: from earlier inventions, or with a new one."""
        area = int(target.hole.sum())
        for source in reversed(inventions):
            missing = target.hole & ~known
            if missing.sum() <= SLIVER * area:
                break
            motion = self.shot.camera.between(source.frame, self.frame)
            one = lay(target, source, motion, self.shot.tone)
            more, shown = combined(
                [one], self.frame, target.box, missing, self.shot.tone, self.progress.pulse
            )
            fill[shown], known[shown] = more[shown], True
        missing = target.hole & ~known
        if not missing.any():
            return
        light = np.where(known[..., None] & target.hole[..., None], fill, target.light)
        if missing.sum() <= SLIVER * area:
            smooth = spread(np.where(missing[..., None], 0, light), (~missing).astype(np.float32))
            fill[missing] = smooth[missing]
            return
        lasting = np.where(target.hole[..., None], light, self._lasting(target))
        new = invented(lasting, missing, self.shot.tone, self.progress.pulse)
        fill[missing] = new[missing]
        nothing_hidden = np.zeros_like(missing)
        inventions.append(piece(self.frame, target.box, new, nothing_hidden, self.shot.tone))
        del inventions[:-KEPT]

    def _lasting(self, target: Surrounding) -> Pixels:
        """The surroundings without what only passes through them, so that none of it is continued.

        The target's own pixels, grain and all, wherever other frames agree with them.
        """
        own = piece(self.frame, target.box, target.light, target.hole, self.shot.tone)
        every = plan.witnesses(self.frame, self.clip.frames, self.shot.camera)
        still = [Laid(own, np.eye(3), np.ones(3, np.float32), 0.0)]
        laid = [*still, *self._laid(target, every)]
        voted, seen = combined(
            laid, self.frame, target.box, ~target.hole, self.shot.tone, self.progress.pulse
        )
        apart = np.abs(self.shot.tone.encode(voted) - self.shot.tone.encode(target.light)).max(-1)
        passing = cv2.blur((seen & (apart > PASSING)).astype(np.float32), (9, 9)) > 0.3
        return np.asarray(np.where(passing[..., None], voted, target.light), np.float32)
