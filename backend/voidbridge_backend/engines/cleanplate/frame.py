"""The work on one frame: the vote over its hole, which needs no other frame's result, and its completion,
which does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from voidbridge_backend.engines.base import Clip, Pixels
from voidbridge_backend.parallel import Pool

from . import rim
from .choice import faded, fittest, gained
from .combine import Combination, combined
from .geometry import FrameBox, Mask, around
from .mixing import mixed, unmatched
from .motion import plan
from .motion.align import Surrounding, WarpedSource, surrounding, useful, warp_source
from .motion.analyze_camera import Shot
from .motion.brightness import ceiling
from .motion.depth import layered
from .motion.relief import Reliefs
from .motion.sources import Source, Sources, depth, piece
from .painted import Carried, PaintedSources, carried, kept, laid_on
from .texture.fill import joined, smooth
from .texture.focus import softened
from .texture.fringe import background, passing
from .texture.synthesize import synthesized
from .tone import Floats
from .transient_removal import TransientRemoval
from .verdict import INVENTED, SHALLOW, check, edge, risky

KEPT = 3
"""Inventions that are remembered, to be brought along to later frames."""
SLIVER = 0.004
"""A gap of less than this part of the hole is closed smoothly; it is not worth an invention."""
CONTEXT = 0.5
"""How much wider the context of an invention is than the frame's box, as a part of the gap's larger side."""
RIM = 1.5
"""Outermost pixels of the artist's matte that count as no growth: a matte's corners are further from the hole's
edge than it grew, by less than this.
"""
BAND_BLOCKS = 3
"""Blocks of the seam's gain that the band around a hole is wide."""


@dataclass(frozen=True)
class Task:
    """A frame that has a hole, the boxes of its block, and which part of which other frames to ask, best first.

    `painted` says the same of the frames that the artist painted. `passed` are the tasks before it that are not
    done, and `is_late` says that one of them is of its scene.
    """

    frame: int
    surroundings: plan.Surroundings
    needed: dict[int, FrameBox | None]
    painted: dict[int, FrameBox | None] = field(default_factory=dict)
    passed: tuple[Task, ...] = ()
    is_late: bool = False

    def sources(self) -> Iterator[tuple[int, FrameBox]]:
        """The other frames to ask, and the part of each."""
        for other, part in self.needed.items():
            if part is not None and other != self.frame:
                yield other, part

    def paints(self) -> Iterator[tuple[int, FrameBox]]:
        """The painted frames to ask, and the part of each."""
        for other, part in self.painted.items():
            if part is not None:
                yield other, part


@dataclass(frozen=True)
class Gap:
    """A frame's hole with the band around it on which the seam is measured; all of one box."""

    box: FrameBox
    light: Pixels
    """The plate's own, to be written to."""
    hole: Mask
    wanted: Mask


@dataclass(frozen=True)
class Voted:
    """A frame with what other frames show of its hole: light `fill` where it is `known`, of the gap's box.

    `confidence` [height, width] of the box: 1 where several frames agree, 0 where the result is invented.
    """

    frame: int
    plate: Pixels
    target: Surrounding
    reach: int
    gap: Gap
    fill: Pixels
    known: Mask
    confidence: Floats
    is_late: bool
    ceiling: Floats
    """[3]: the light that the plate is clipped at, or infinite."""
    paint: Carried | None = None

    def sure(self) -> Floats:
        """[height, width] of the whole plate: 1 outside the hole and where several frames agree."""
        whole = np.ones(self.plate.shape[:2], np.float32)
        whole[self.gap.box.slices] = self.confidence
        return whole


@dataclass
class FrameVerdicts:
    """The verdicts on the frames that voted, by frame."""

    unseen: dict[int, float] = field(default_factory=dict)
    """The part of the hole that no frame showed."""
    predicted: dict[int, float] = field(default_factory=dict)
    """How well the other frames predict what is kept around the hole, in dB."""
    rims: dict[int, rim.Rim] = field(default_factory=dict)
    """The remains of the object beside the matte."""
    painted: set[int] = field(default_factory=set)
    """The painted frames that reach a hole."""


class Removal:
    """Of one shot. `voted` may run ahead on another thread than `completed`; both take the frames in order."""

    def __init__(
        self,
        clip: Clip,
        shot: Shot,
        pool: Pool,
        findings: FrameVerdicts,
        grow: int = 0,
        soften: int = 0,
    ) -> None:
        """`grow` and `soften` are how far the holes reach beyond the artist's matte, in pixels.

        `findings` are written to.
        """
        self._clip, self._shot, self._pool = clip, shot, pool
        self._grow, self._soften = grow, soften
        self._findings = findings
        self._sources = Sources(clip, shot.tone, plan.MOST + 1)
        self._paints = PaintedSources(clip, shot.tone)
        self._inventions: list[Source] = []
        self._scene: int | None = None
        self._reliefs = Reliefs(shot, pool)
        self._block_px = max(2, round(clip.width / 480))

    def voted(self, task: Task) -> Voted:
        frame = task.frame
        plate, hole = self._clip.plate(frame), self._clip.quadmask(frame) != 255
        box, reach = task.surroundings.box(frame), task.surroundings.reach(frame)
        target = surrounding(box, plate[box.slices], hole[box.slices], reach, self._shot.tone)
        gap = self._gap(target, plate, hole)
        for passed in task.passed:
            for other, part in passed.sources():
                self._sources.reserve(other, part)
        sources = (self._sources.get(other, part) for other, part in task.sources())
        painted = self._painted(task, target)
        if frame in self._shot.camera.mixes:
            camera, tone = self._shot.camera, self._shot.tone
            pieces = unmatched(list(sources), frame, camera)
            seen = mixed(pieces, frame, target, gap.box, reach, camera, tone, self._pool)
            laid, paints = list[WarpedSource](), painted
        else:
            found = self._pool.each(lambda source: self._lay(frame, target, source), sources)
            every = [one for one in found if one is not None]
            plane = useful(every)
            laid, seen, paints = self._seen(task, target, gap, plane, painted)
            faint = [one for one in every if not any(one is bright for bright in plane)]
            self._add_faint(frame, faint, gap, seen)
            laid = [*laid, *faint]
        beside = gap.wanted & ~gap.hole & seen.known
        top = ceiling(gap.light[beside], seen.light[beside])
        np.minimum(seen.light, top, out=seen.light)
        fill, known = seen.light, seen.known
        deep, tone = depth(gap.hole), self._shot.tone
        beyond = self._beyond(gap.hole, deep)
        checked = edge(beyond, self._grow, self._soften)
        self._findings.predicted[frame] = check(gap.light, fill, known & checked, tone)
        self._findings.rims[frame] = rim.looked_at(gap.light, fill, known, beyond, self._grow, tone)
        paint = self._paint(frame, paints, gap, seen, checked)
        self._look_closer(frame, laid, gap, seen, deep)
        confidence, is_late = seen.confidence, task.is_late
        return Voted(frame, plate, target, reach, gap, fill, known, confidence, is_late, top, paint)

    def _painted(self, task: Task, target: Surrounding) -> list[WarpedSource]:
        for passed in task.passed:
            for other, part in passed.paints():
                self._paints.reserve(other, part)
        sources = (self._paints.get(other, part) for other, part in task.paints())
        found = self._pool.each(lambda source: self._lay(task.frame, target, source), sources)
        return [one for one in found if one is not None]

    def _paint(
        self,
        frame: int,
        paints: list[WarpedSource],
        gap: Gap,
        seen: Combination,
        checked: Mask,
    ) -> Carried | None:
        """Puts the artist's paint onto what was `seen`, in place, and returns it.

        The prediction is checked on the pixels `checked`.
        """
        tone, pool = self._shot.tone, self._pool
        paint = carried(paints, frame, gap.box, gap.wanted, tone, pool) if paints else None
        if paint is None:
            return None
        laid_on(paint, seen.light, seen.known)
        reached = (paint.weight > 0) & gap.hole
        seen.confidence[reached] = 1
        self._findings.painted.update(paint.frames if reached.any() else ())
        if reached.sum() > (1 - INVENTED) * int(gap.hole.sum()):
            # All of the hole is paint: what tells is how well its own frames predict the plate.
            own = combined(paints, frame, gap.box, checked, tone, pool)
            self._findings.predicted[frame] = check(gap.light, own.light, own.known & checked, tone)
        return paint

    def _seen(
        self,
        task: Task,
        target: Surrounding,
        gap: Gap,
        plane: list[WarpedSource],
        painted: list[WarpedSource],
    ) -> tuple[list[WarpedSource], Combination, list[WarpedSource]]:
        """The sources, of several depths or of one plane, whose pictures of the hole agree better; their
        combination; and the painted sources, moved as these are.
        """

        beside, tone, frame = gap.wanted & ~gap.hole, self._shot.tone, task.frame

        def as_sharp(light: Pixels, known: Mask) -> Pixels:
            return softened(light, gap.light, known, beside, tone)

        def voted(laid: list[WarpedSource]) -> Combination:
            return combined(laid, frame, gap.box, gap.wanted, tone, self._pool, shaped=as_sharp)

        one_plane = [*plane, *painted]
        layers = layered(frame, target, one_plane, self._shot, self._pool)
        relief = self._reliefs.laid(frame, task.surroundings, [*task.needed], target, one_plane)
        every = fittest(one_plane, layers, relief)
        deep = [one for one in every if one.source.painting is None]
        seen = voted(deep)
        if any(one.where for one in deep) and every is not relief:
            flat = voted(plane)
            share = gained(flat, seen, gap.hole)
            if share == 0:
                return plane, flat, painted
            seen = faded(flat, seen, share) if share < 1 else seen
        return deep, seen, [one for one in every if one.source.painting is not None]

    def _add_faint(
        self, frame: int, faint: list[WarpedSource], gap: Gap, seen: Combination
    ) -> None:
        """Take from sources much darker than the frame what no other shows, in place."""
        missing = gap.hole & ~seen.known
        if faint and missing.any():
            more = combined(faint, frame, gap.box, missing, self._shot.tone, self._pool)
            cv2.copyTo(more.light, more.known.view(np.uint8), seen.light)
            np.logical_or(seen.known, more.known, out=seen.known)
            seen.confidence[more.known] = more.confidence[more.known]

    def _look_closer(
        self, frame: int, laid: list[WarpedSource], gap: Gap, seen: Combination, deep: Floats
    ) -> None:
        """Take what was seen of no frame from the growth around other frames' mattes, in place.

        Only behind the artist's own matte: around it the growth of this frame is to be replaced too. `deep` is
        how far the gap's pixels lie in the hole.
        """
        fill, known, confidence = seen.light, seen.known, seen.confidence
        beyond, tone = self._grow + self._soften, self._shot.tone
        missing = gap.hole & ~known
        wanted = missing & (deep > beyond)
        # What the result only fades over is the plate's own.
        own = missing & (deep <= self._soften)
        growth = missing & ~own & (deep <= beyond - RIM)
        own |= background(gap.light, gap.hole, growth, deep - np.float32(beyond), tone.exposure)
        if laid and beyond and (own.any() or wanted.sum() > SLIVER * int(gap.hole.sum())):
            loose = [replace(one, source=one.source.loosened(max(beyond - RIM, 0))) for one in laid]
            more = combined(loose, frame, gap.box, wanted | own, tone, self._pool)
            own &= ~passing(gap.light, more.light, more.known & own, tone, self._grow)
            wanted &= more.known
            cv2.copyTo(more.light, wanted.view(np.uint8), fill)
            known |= wanted
            confidence[wanted] = more.confidence[wanted]
        cv2.copyTo(gap.light, own.view(np.uint8), fill)
        known |= own
        confidence[own | ~gap.hole] = 1
        confidence[gap.hole & ~known] = 0
        self._findings.unseen[frame] = self._unseen(gap, fill, known)

    def _beyond(self, hole: Mask, inside: Floats) -> Pixels:
        """The distance of each pixel from the artist's matte, 0 or less inside; `inside` the hole it is known."""
        outside = cv2.distanceTransform((~hole).view(np.uint8), cv2.DIST_L2, 5)
        return np.asarray(self._grow + self._soften - inside + outside, np.float32)

    def _unseen(self, gap: Gap, fill: Pixels, known: Mask) -> float:
        """The part of the hole that no frame showed and that an invention may get wrong."""
        missing, size = gap.hole & ~known, max(int(gap.hole.sum()), 1)
        if missing.sum() <= INVENTED * size:
            return float(missing.sum()) / size
        picture = np.where((known & gap.hole)[..., None], fill, gap.light)
        deep = SHALLOW * self._clip.height
        return float(risky(missing, picture, deep, self._shot.tone).sum()) / size

    def lacks(self, voted: Voted) -> bool:
        """Whether a part of the hole was seen in no frame, so that this or an earlier frame invents it."""
        hole, known = voted.gap.hole, voted.known
        return bool((hole & ~known).sum() > SLIVER * int(hole.sum()))

    def completed(self, voted: Voted) -> Pixels:
        """The plate of the frame, without what was in its hole."""
        scene = self._shot.camera.scene(voted.frame)
        if scene != self._scene:
            self._inventions.clear()
            self._scene = scene
        self._complete(voted)
        self._pool.heartbeat()
        gap, known = voted.gap, voted.known | voted.gap.hole
        joint = joined(voted.fill, known, gap.light, gap.hole, self._block_px, self._shot.tone)
        np.minimum(joint, voted.ceiling, out=joint)
        if voted.paint is not None:
            kept(voted.paint, joint)
        cv2.copyTo(gap.light, (~gap.hole).view(np.uint8), joint)
        gap.light[...] = joint
        return voted.plate

    def _gap(self, target: Surrounding, plate: Pixels, hole: Mask) -> Gap:
        wanted = target.near <= BAND_BLOCKS * self._block_px
        part = around(wanted) or FrameBox(0, 0, target.box.width, target.box.height)
        box = part.moved(target.box.left, target.box.top)
        return Gap(box, plate[box.slices], hole[box.slices], wanted[part.slices])

    def _lay(self, frame: int, target: Surrounding, source: Source) -> WarpedSource | None:
        motion = self._shot.camera.between(source.frame, frame)
        return warp_source(target, source, motion, self._shot.tone)

    def _complete(self, voted: Voted) -> None:
        """Fill what no source showed, in place: from earlier inventions, or with a new one."""
        gap, fill, known = voted.gap, voted.fill, voted.known
        sliver = SLIVER * int(gap.hole.sum())
        for source in reversed(self._inventions):
            missing = gap.hole & ~known
            if missing.sum() <= sliver:
                break
            self._pool.heartbeat()
            one = self._lay(voted.frame, voted.target, source)
            if one is None:
                continue
            more = combined([one], voted.frame, gap.box, missing, self._shot.tone, self._pool)
            fill[more.known], known[more.known] = more.light[more.known], True
        missing = gap.hole & ~known
        if not missing.any():
            return
        if missing.sum() <= sliver:
            light = np.where((known & gap.hole)[..., None], fill, gap.light)
            fill[missing] = smooth(light, missing)[missing]
            return
        new = self._invention(voted, missing)
        self._inventions.append(new)
        del self._inventions[:-KEPT]
        fill[missing] = new.light[gap.box.within(new.box)][missing]

    def _invention(self, voted: Voted, missing: Mask) -> Source:
        """The part `missing` of the gap completed from a wider context, as a source for later frames."""
        gap, frame = voted.gap, voted.frame
        part = around(missing) or gap.box
        wide = voted.target.box.grown(
            int(CONTEXT * max(part.width, part.height)), self._clip.height, self._clip.width
        )
        inside = gap.box.within(wide)
        unknown = np.zeros((wide.height, wide.width), bool)
        unknown[inside] = missing
        hidden = self._clip.quadmask(frame)[wide.slices] != 255
        lasting = TransientRemoval(
            frame, self._clip, self._shot.camera, self._shot.tone, self._pool
        )
        light = lasting.seen(wide, voted.plate[wide.slices], hidden, voted.reach)
        self._pool.heartbeat()
        filled = gap.hole & ~missing
        light[inside][filled] = voted.fill[filled]
        new = synthesized(light, unknown, self._shot.tone, self._pool.heartbeat)
        self._pool.heartbeat()
        return piece(frame, wide, new, np.zeros_like(unknown), self._shot.tone)
