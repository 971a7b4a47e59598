"""Removes passing objects from the surroundings of a gap, so that none of them is continued into it.

A few other frames, near and far, decide that on a reduced picture. The plate's own pixels, grain and all, stay
wherever those agree with them; only where something passes is the background fetched at full size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from voidbridge_backend.engines.base import Clip, Pixels
from voidbridge_backend.parallel import Pool

from .combine import combined
from .geometry import FrameBox, Homography, Mask, around, inverse, mapped, scaling, shift
from .motion import plan
from .motion.align import NEUTRAL, WarpedSource, surrounding, warp_source
from .motion.camera import Camera
from .motion.sources import piece
from .tone import Tone

LOOK_PIXELS = 300_000
"""Pixels of the reduced picture, at most."""
RECENT = 1000.0
"""Whether a thing lasts is decided without preferring the frames nearby."""
PASSING = 0.06
"""Encoded difference to what other frames show in the same place, from which on a pixel is passing through."""
CROWD = 5, 0.25
"""Side of the blocks, and the part of their pixels that has to be passing for what is more than grain."""
MARGIN = 24
"""Pixels of a reference around those that are fetched from it, for the resampling to reach."""


@dataclass(frozen=True)
class _Look:
    """A part of a frame, reduced: light, what is hidden, and what takes the plate's pixels to its own."""

    light: Pixels
    hidden: Mask
    there: Homography

    @property
    def box(self) -> FrameBox:
        return FrameBox(0, 0, self.hidden.shape[1], self.hidden.shape[0])


@dataclass(frozen=True)
class _Reference:
    """Another frame: its reduced part laid over the target's, and what takes its plate to the target's."""

    laid: WarpedSource
    motion: Homography


@dataclass(frozen=True)
class TransientRemoval:
    """Of one frame of a shot."""

    frame: int
    clip: Clip
    camera: Camera
    tone: Tone
    pool: Pool

    def seen(self, box: FrameBox, light: Pixels, hidden: Mask, reach: int) -> Pixels:
        """`light` [height, width, 3] of `box` without what passes; `hidden` [height, width] is not looked at.

        Motions are refined on what lies up to `reach` pixels from what is hidden.
        """
        kept = light.copy()
        factor = min(1.0, (LOOK_PIXELS / hidden.size) ** 0.5)
        own = _look(light, hidden, box, factor)
        references = self._references(own, box, reach, factor)
        if not references:
            return kept
        passing = self._passing(own, [reference.laid for reference in references]).view(np.uint8)
        size = box.width, box.height
        gone = (cv2.resize(passing, size, interpolation=cv2.INTER_NEAREST) > 0) & ~hidden
        part = around(gone)
        if part is not None:
            voted, known = self._fetched(
                references, part.moved(box.left, box.top), gone[part.slices]
            )
            kept[part.slices][known] = voted[known]
        return kept

    def _references(self, own: _Look, box: FrameBox, reach: int, factor: float) -> list[_Reference]:
        target = surrounding(
            own.box, own.light, own.hidden, max(round(reach * factor), 2), self.tone
        )

        def laid(frame: int) -> _Reference | None:
            motion = self.camera.between(frame, self.frame)
            part = mapped(inverse(motion), box, self.clip.height, self.clip.width)
            if part is None:
                return None
            look = _look(*_cut(self.clip, frame, part), part, factor)
            source = piece(frame, look.box, look.light, look.hidden, self.tone)
            one = warp_source(target, source, own.there @ motion @ inverse(look.there), self.tone)
            if one is None:
                return None
            return _Reference(one, inverse(own.there) @ one.homography @ look.there)

        frames = plan.references(self.frame, self.clip.frames, self.camera)
        return [reference for reference in self.pool.each(laid, frames) if reference is not None]

    def _passing(self, own: _Look, laid: list[WarpedSource]) -> Mask:
        """Where `own` differs from what it and the references agree on."""
        misfit = min(one.misfit for one in laid)
        itself = piece(self.frame, own.box, own.light, own.hidden, self.tone)
        votes = [*laid, WarpedSource(itself, np.eye(3), NEUTRAL, misfit)]
        voted = combined(votes, self.frame, own.box, ~own.hidden, self.tone, self.pool, RECENT)
        apart = np.abs(self.tone.encode(voted.light) - self.tone.encode(own.light)).max(-1)
        side, share = CROWD
        crowd = cv2.blur((voted.known & (apart > PASSING)).astype(np.float32), (side, side))
        return np.asarray(crowd > share)

    def _fetched(
        self, references: list[_Reference], box: FrameBox, wanted: Mask
    ) -> tuple[Pixels, Mask]:
        laid = []
        for one, motion in ((reference.laid, reference.motion) for reference in references):
            part = mapped(inverse(motion), box, self.clip.height, self.clip.width)
            if part is not None:
                wide = part.grown(MARGIN, self.clip.height, self.clip.width)
                source = piece(
                    one.source.frame, wide, *_cut(self.clip, one.source.frame, wide), self.tone
                )
                laid.append(WarpedSource(source, motion, one.exposure, one.misfit))
        voted = combined(laid, self.frame, box, wanted, self.tone, self.pool, RECENT)
        return voted.light, voted.known


def _cut(clip: Clip, frame: int, box: FrameBox) -> tuple[Pixels, Mask]:
    """The light of a frame in a box, and what is hidden there."""
    return clip.plate(frame)[box.slices], clip.quadmask(frame)[box.slices] != 255


def _look(light: Pixels, hidden: Mask, box: FrameBox, factor: float) -> _Look:
    size = max(round(box.width * factor), 1), max(round(box.height * factor), 1)
    there = scaling(size[0] / box.width, size[1] / box.height) @ shift(-box.left, -box.top)
    small = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
    # 255, so that a pixel of a few hundred still leaves something after rounding to 8 bits.
    share = cv2.resize(hidden.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    return _Look(np.asarray(small, np.float32), np.asarray(share > 0), there)
