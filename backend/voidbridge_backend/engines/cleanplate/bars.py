"""Letterbox and pillarbox bars: rows and columns at the edges that are black in every frame.

The engine works on the picture between them, so that no bar is laid over the picture and no picture over a bar.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from voidbridge_backend.engines.base import Clip, JobContext, Paint, PaintedClip, Pixels, Quadmask
from voidbridge_backend.imaging.bounds import bounded

from .geometry import FrameBox, Mask, around, union

SPREAD = 5
"""Frames that are looked at first: most shots have no bars in the first of them, and no more is read."""
EVIDENCE = 0.25
"""Part of a row or column that some frame must show for it to be a bar."""


@dataclass(frozen=True)
class Inner:
    """The part of a clip inside `box`, as a clip of its own, whose plates are bounded."""

    clip: Clip
    box: FrameBox

    @property
    def frames(self) -> Sequence[int]:
        return self.clip.frames

    @property
    def height(self) -> int:
        return self.box.height

    @property
    def width(self) -> int:
        return self.box.width

    def plate(self, frame: int) -> Pixels:
        return bounded(np.ascontiguousarray(self.clip.plate(frame)[self.box.slices]))

    def quadmask(self, frame: int) -> Quadmask:
        return np.ascontiguousarray(self.clip.quadmask(frame)[self.box.slices])

    @property
    def painted(self) -> Sequence[int]:
        return self.clip.painted if isinstance(self.clip, PaintedClip) else ()

    def paint(self, frame: int) -> Paint:
        assert isinstance(self.clip, PaintedClip)
        whole = self.clip.paint(frame)
        light, weight = (
            np.ascontiguousarray(part[self.box.slices]) for part in (whole.light, whole.weight)
        )
        return Paint(light, weight, whole.is_whole)

    @property
    def is_whole(self) -> bool:
        return self.box == FrameBox(0, 0, self.clip.width, self.clip.height)

    def has_hole(self, frame: int) -> bool:
        if self.is_whole:
            return self.clip.has_hole(frame)
        return self.clip.has_hole(frame) and bool((self.quadmask(frame) != 255).any())

    def outer(
        self,
        results: Iterable[tuple[int, Pixels]],
        wanted: Collection[int],
        confident: bool = False,
    ) -> Iterator[tuple[int, Pixels]]:
        """`results` of this clip, of its `wanted` frames, as those of the whole, black in the bars.

        If they are `confident`, they have a fourth plane, which is 1 in the bars.
        """
        made = iter(results)
        for frame in self.frames:
            if frame not in wanted or not self.clip.has_hole(frame):
                continue
            light = np.zeros((self.clip.height, self.clip.width, 3 + confident), np.float32)
            light[..., 3:] = 1
            if self.has_hole(frame):
                same, light[self.box.slices] = next(made)
                assert same == frame, "results come in order"
            yield frame, light
        # What follows the last result is run too.
        for _ in made:
            raise AssertionError("a result of a frame without a hole")


class _Lit:
    """The known brightness of rows and columns, over some frames."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._boxes: list[FrameBox] = []
        self._rows = np.zeros(clip.height, bool)
        self._columns = np.zeros(clip.width, bool)

    def add(self, frame: int) -> None:
        free: Mask = self._clip.quadmask(frame) == 255
        lit = around(self._clip.plate(frame).any(axis=-1) & free)
        self._boxes += [lit] if lit else []
        self._rows |= free.mean(1) > EVIDENCE
        self._columns |= free.mean(0) > EVIDENCE

    @property
    def reaches_edges(self) -> bool:
        """Whether there is light on all four edges: no bar is left to be found."""
        if not self._boxes:
            return False
        return union(self._boxes) == FrameBox(0, 0, self._clip.width, self._clip.height)

    def box(self) -> FrameBox:
        """Around all that is lit, and all of which too little was seen."""
        height, width = self._clip.height, self._clip.width
        if not self._boxes:
            return FrameBox(0, 0, width, height)
        found = union(self._boxes)
        return FrameBox(
            found.left if self._columns[: found.left].all() else 0,
            found.top if self._rows[: found.top].all() else 0,
            found.right if self._columns[found.right :].all() else width,
            found.bottom if self._rows[found.bottom :].all() else height,
        )


def picture_box(clip: Clip, watch: JobContext) -> FrameBox:
    """The picture without its bars; all of it where there are none, and where every frame is black."""
    whole = FrameBox(0, 0, clip.width, clip.height)
    frames = list(clip.frames)
    first = sorted({round(n * (len(frames) - 1) / (SPREAD - 1)) for n in range(SPREAD)})
    rest = [index for index in range(len(frames)) if index not in first]
    lit = _Lit(clip)
    for done, index in enumerate([*first, *rest]):
        # Without bars the first picture is enough, and a stage of its own would flash by.
        watch.step("bars" if done else "camera", done, len(frames))
        lit.add(frames[index])
        if lit.reaches_edges:
            return whole
    return lit.box()
