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
from numpy.typing import NDArray

from voidbridge_backend.engine.base import Clip, Pixels, Sight, Watch
from voidbridge_backend.pool import Pool
from voidbridge_protocol.messages import Settings

from . import plan
from .align import Laid, Surrounding, lay, surrounding
from .camera import Camera, shown
from .combine import combined
from .fill import joined, smooth
from .geometry import Box, Mask, around, mapped, union
from .invent import invented
from .lasting import Lasting
from .sources import Source, Sources, piece
from .tone import Tone, exposed

VERSION = 3
KEPT = 3
"""Inventions that are remembered, to be brought along to later frames."""
SLIVER = 0.004
"""A gap of less than this part of the hole is closed smoothly; it is not worth an invention."""


CONTEXT = 0.5
"""How much wider the context of an invention is than the frame's box, as a part of the gap's larger side."""
BAND_BLOCKS = 3
"""Blocks of the seam's gain that the band around a hole is wide."""


class Cleanplate:
    """Scene-linear light at the plate's own size in and out, nothing clamped."""

    name = "cleanplate"

    def sight(self, height: int, width: int, settings: Settings) -> Sight:
        return Sight("scene", joins=True)

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "version": VERSION}

    def remove(self, clip: Clip, settings: Settings, watch: Watch) -> Iterator[tuple[int, Pixels]]:
        holes = [frame for frame in clip.frames if clip.has_hole(frame)]
        if not holes:
            return
        shot = _explored(clip, watch)
        progress = _Progress(watch, len(holes))
        with Pool(progress.pulse) as pool:
            sources = Sources(clip, shot.tone, plan.MOST + 1, pool.pulse)
            inventions: list[Source] = []
            scene = shot.camera.scene(holes[0])
            targets = pool.ahead(lambda frame: _Target(frame, clip), holes)
            for block in plan.blocks(holes, shot.camera):
                if shot.camera.scene(block[0]) != scene:
                    inventions.clear()
                    scene = shot.camera.scene(block[0])
                chosen = plan.sources(block, shot.holes, clip.frames, shot.camera)
                around_holes = _Surroundings(clip, shot, block)
                needed = {frame: around_holes.needed(frame) for frame in chosen}
                for _ in block:
                    task = _Task(clip, shot, next(targets), around_holes, sources, pool)
                    yield task.frame, task.removed(needed, inventions)
                    progress.done += 1
            pool.pulse()


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
    holes: dict[int, Mask] = {}
    with Pool(lambda: watch.step("camera", len(holes), len(frames))) as pool:
        spread = sorted({frames[0], frames[len(frames) // 2], frames[-1]})
        tone = exposed(list(pool.each(lambda at: _small(clip.plate(at), camera.size), spread)))
        looks = pool.each(lambda frame: _look(clip, frame, camera.size, tone), frames)
        for frame, look in zip(frames, looks, strict=True):
            camera.add(frame, look.grey, look.free)
            holes[frame] = look.hole
        pool.pulse()
    return _Shot(tone, camera, holes)


@dataclass(frozen=True)
class _Look:
    """A frame at the camera's size, `free` is 255 where nothing is hidden; and its hole at the planning size."""

    grey: NDArray[np.uint8]
    free: NDArray[np.uint8]
    hole: Mask


def _look(clip: Clip, frame: int, size: tuple[int, int], tone: Tone) -> _Look:
    hole = clip.quadmask(frame) != 255
    grey = tone.grey8(_small(clip.plate(frame), size))
    free = cv2.erode(shown(hole, size), np.ones((5, 5), np.uint8), borderValue=255)
    return _Look(grey, np.asarray(free, np.uint8), plan.reduced(hole))


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


class _Target:
    """A frame that has a hole, decoded."""

    def __init__(self, frame: int, clip: Clip) -> None:
        self.frame = frame
        self.plate = clip.plate(frame)
        self.hole = clip.quadmask(frame) != 255


@dataclass(frozen=True)
class _Gap:
    """A frame's hole with the band around it on which the seam is measured; all of one box."""

    box: Box
    light: Pixels
    """The plate's own, to be written to."""
    hole: Mask
    wanted: Mask


@dataclass
class _Task:
    """The work on one frame."""

    clip: Clip
    shot: _Shot
    target: _Target
    surroundings: _Surroundings
    sources: Sources
    pool: Pool
    frame: int = field(init=False)
    _block_px: int = field(init=False)

    def __post_init__(self) -> None:
        self.frame = self.target.frame
        self._block_px = max(2, round(self.clip.width / 480))

    def removed(self, needed: dict[int, Box | None], inventions: list[Source]) -> Pixels:
        """`needed` are the frames to ask, best first, and which part of each."""
        plate, hole = self.target.plate, self.target.hole
        box = self.surroundings.box(self.frame)
        reach = self.surroundings.reach(self.frame)
        target = surrounding(box, plate[box.slices], hole[box.slices], reach, self.shot.tone)
        laid = self._laid(target, needed)
        gap = self._gap(target)
        fill, known = combined(laid, self.frame, gap.box, gap.wanted, self.shot.tone, self.pool)
        self._complete(target, gap, (fill, known), inventions)
        known |= gap.hole
        self.pool.pulse()
        joint = joined(fill, known, gap.light, gap.hole, self._block_px, self.shot.tone)
        cv2.copyTo(gap.light, (~gap.hole).view(np.uint8), joint)
        gap.light[...] = joint
        return plate

    def _gap(self, target: Surrounding) -> _Gap:
        wanted = target.near <= BAND_BLOCKS * self._block_px
        part = around(wanted) or Box(0, 0, target.box.width, target.box.height)
        box = part.moved(target.box.left, target.box.top)
        plate, hole = self.target.plate, self.target.hole
        return _Gap(box, plate[box.slices], hole[box.slices], wanted[part.slices])

    def _laid(self, target: Surrounding, needed: dict[int, Box | None]) -> list[Laid]:
        sources = (
            self.sources.get(frame, box)
            for frame, box in needed.items()
            if box is not None and frame != self.frame
        )
        return list(self.pool.each(lambda source: self._lay(target, source), sources))

    def _lay(self, target: Surrounding, source: Source) -> Laid:
        motion = self.shot.camera.between(source.frame, self.frame)
        return lay(target, source, motion, self.shot.tone)

    def _complete(
        self,
        target: Surrounding,
        gap: _Gap,
        result: tuple[Pixels, Mask],
        inventions: list[Source],
    ) -> None:
        """Fill what no source showed, in place: from earlier inventions, or with a new one."""
        fill, known = result
        area = int(gap.hole.sum())
        for source in reversed(inventions):
            missing = gap.hole & ~known
            if missing.sum() <= SLIVER * area:
                break
            self.pool.pulse()
            one = self._lay(target, source)
            more, shown = combined([one], self.frame, gap.box, missing, self.shot.tone, self.pool)
            fill[shown], known[shown] = more[shown], True
        missing = gap.hole & ~known
        if not missing.any():
            return
        if missing.sum() <= SLIVER * area:
            light = np.where((known & gap.hole)[..., None], fill, gap.light)
            fill[missing] = smooth(light, missing)[missing]
            return
        new = self._invention(gap, fill, missing)
        inventions.append(new)
        del inventions[:-KEPT]
        fill[missing] = new.light[gap.box.within(new.box)][missing]

    def _invention(self, gap: _Gap, fill: Pixels, missing: Mask) -> Source:
        """The part `missing` of `gap` completed from a wider context, as a source for later frames."""
        part = around(missing) or gap.box
        box = self.surroundings.box(self.frame)
        wide = box.grown(
            int(CONTEXT * max(part.width, part.height)), self.clip.height, self.clip.width
        )
        inside = gap.box.within(wide)
        unknown = np.zeros((wide.height, wide.width), bool)
        unknown[inside] = missing
        plate, hole = self.target.plate, self.target.hole
        shown = Lasting(self.frame, self.clip, self.shot.camera, self.shot.tone, self.pool)
        reach = self.surroundings.reach(self.frame)
        light = shown.seen(wide, plate[wide.slices], hole[wide.slices], reach)
        self.pool.pulse()
        filled = gap.hole & ~missing
        light[inside][filled] = fill[filled]
        new = invented(light, unknown, self.shot.tone, self.pool.pulse)
        self.pool.pulse()
        return piece(self.frame, wide, new, np.zeros_like(unknown), self.shot.tone)
