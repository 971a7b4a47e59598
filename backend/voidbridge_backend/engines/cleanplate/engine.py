"""The engine `cleanplate`: the background behind the object, fetched from the frames that show it.

It needs no weights and no GPU. First it finds where the camera looked (`analyze_camera`, `camera`), then the
frames that show hidden pixels (`plan`). The background itself follows frame by frame (`frame`). Its sources are
aligned with the hole (`align`), vote (`combine`), are completed where no frame shows the background (`synthesize`)
and are joined with the surroundings (`fill`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from voidbridge_backend.engines.base import Clip, InputSpec, JobContext, Pixels
from voidbridge_backend.parallel import Pool
from voidbridge_backend.sequences.patterns import compact
from voidbridge_protocol.operations.remove import RemoveSettings

from . import rim
from .bars import Inner, picture_box
from .frame import FrameVerdicts, Removal, Task
from .motion import plan
from .motion.analyze_camera import Shot, analyzed
from .painted import nearest, painted_frames, repeated
from .schedule import Schedule
from .survey import ShotSurvey, check_clip, packed, unpacked
from .verdict import notes

VERSION = 21
Value = TypeVar("Value")


class Cleanplate:
    """Scene-linear light at the plate's own size in and out, nothing clamped."""

    name = "cleanplate"

    def __init__(self) -> None:
        self._survey: ShotSurvey | None = None

    def input_spec(self, height: int, width: int, settings: RemoveSettings) -> InputSpec:
        return InputSpec("scene", joins=True, confident=settings.confidence, paints=True)

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "version": VERSION}

    def remove(
        self,
        clip: Clip,
        settings: RemoveSettings,
        watch: JobContext,
        wanted: Collection[int] | None = None,
    ) -> Iterator[tuple[int, Pixels]]:
        wanted = clip.frames if wanted is None else wanted
        if not any(clip.has_hole(frame) for frame in clip.frames if frame in wanted):
            return
        known = self._survey
        if known:
            check_clip(known, clip)
        inner = Inner(clip, known.box if known else picture_box(clip, watch))
        if inner.is_whole:
            yield from self._removed(inner, settings, watch, wanted)
        else:
            made = self._removed(inner, settings, watch, wanted)
            yield from inner.outer(made, wanted, settings.confidence)

    def survey(
        self, clip: Clip, settings: RemoveSettings, watch: JobContext, fits: Mapping[str, str]
    ) -> bytes:
        inner = Inner(clip, picture_box(clip, watch))
        with_hole = any(inner.has_hole(frame) for frame in clip.frames)
        shot = analyzed(inner, watch, settings.cut_frames) if with_hole else None
        return packed(ShotSurvey(inner.box, shot), fits)

    def use_survey(self, data: bytes | None, fits: Mapping[str, str]) -> None:
        self._survey = None if data is None else unpacked(data, fits)

    def _removed(
        self, clip: Clip, settings: RemoveSettings, watch: JobContext, wanted: Collection[int]
    ) -> Iterator[tuple[int, Pixels]]:
        holes = [frame for frame in clip.frames if clip.has_hole(frame)]
        due = [frame for frame in holes if frame in wanted]
        if not due:
            return
        known = self._survey.shot if self._survey else None
        shot = analyzed(clip, watch, settings.cut_frames) if known is None else known
        shot = replace(shot, repeats=repeated(shot.repeats, painted_frames(clip)))
        if cuts := [frame for frame in shot.camera.cuts_found if frame in wanted]:
            watch.warn(_cuts_note(cuts))
        if mixes := [frame for frame in shot.camera.mixes if frame in wanted]:
            watch.warn(_mixes_note(mixes))
        progress = _Progress(watch, len(due))
        own = [frame for frame in holes if frame not in shot.repeats]
        asked = {frame for frame in own if any(one in wanted for one in _with_repeats(frame, shot))}
        schedule, found = Schedule(shot, lambda: _tasks(clip, shot, own), asked), FrameVerdicts()
        with Pool(progress.heartbeat) as pool:

            def removal() -> Removal:
                return Removal(clip, shot, pool, found, settings.grow, settings.soften)

            for voted, light in schedule.completed(removal, pool):
                if settings.confidence:
                    light = np.dstack([light, voted.sure()])
                for frame in _with_repeats(voted.frame, shot):
                    if frame in wanted:
                        yield frame, light.copy() if frame + 1 in shot.repeats else light
                        progress.done += 1
            pool.heartbeat()
        for note in (*_paint_notes(clip, found), *_notes(found, shot, due)):
            watch.warn(note)


def _with_repeats(frame: int, shot: Shot) -> Iterator[int]:
    """`frame` and the frames after it that are the same again."""
    yield frame
    while (frame := frame + 1) in shot.repeats:
        yield frame


def _notes(found: FrameVerdicts, shot: Shot, due: Collection[int]) -> list[str]:
    """The verdicts on the frames that are `due`."""
    rims = _each(found.rims, shot, due)
    explained = {*rim.tight(rims), *rim.shaded(rims)}
    predicted = _each(found.predicted, shot, due)
    others = {frame: predicted[frame] for frame in predicted.keys() - explained}
    return [*notes(_each(found.unseen, shot, due), others), *rim.notes(rims)]


def _each(values: Mapping[int, Value], shot: Shot, due: Collection[int]) -> dict[int, Value]:
    """Returns `values` by frame, for repeated frames too, where they are `due`."""
    return {
        frame: value
        for first, value in values.items()
        for frame in _with_repeats(first, shot)
        if frame in due
    }


def _mixes_note(mixes: Sequence[int]) -> str:
    return (
        f"a dissolve leads to another scene in frames {compact(mixes)}: each scene is worked on alone, and "
        "these frames are mixed of both"
    )


def _cuts_note(cuts: Sequence[int]) -> str:
    return f"another scene begins in frames {compact(cuts)}: each scene is worked on alone"


def _paint_notes(clip: Clip, found: FrameVerdicts) -> list[str]:
    painted = painted_frames(clip)
    used, idle = found.painted, {*painted} - found.painted
    return [
        *([f"the paint of frames {compact(used)} is carried through the shot"] if used else []),
        *([f"the paint of frames {compact(idle)} reaches no hole"] if idle else []),
    ]


@dataclass
class _Progress:
    watch: JobContext
    of: int
    done: int = 0

    def heartbeat(self) -> None:
        self.watch.step("removing", self.done, self.of)


def _chosen(block: list[int], every: list[int], shot: Shot) -> list[int]:
    """The sources of a block; of a dissolve those of both scenes."""
    mix = shot.camera.mixes.get(block[0])
    if mix is None:
        return plan.sources(block, shot.holes, every, shot.camera, shot.sharpness, shot.contrast)
    told = shot.sharpness, shot.contrast
    sides = (
        plan.sources(block, shot.holes, every, shot.camera, *told, shot.camera.scene(side))
        for side in (mix.before, mix.behind)
    )
    return [frame for side in sides for frame in side[: plan.MOST // 2]]


def _tasks(clip: Clip, shot: Shot, frames: list[int]) -> Iterator[Task]:
    every = [frame for frame in clip.frames if frame not in shot.repeats]
    painted = painted_frames(clip)
    for block in plan.blocks(frames, shot.camera):
        chosen = _chosen(block, every, shot)
        surroundings = plan.Surroundings(block, shot.holes, shot.camera)
        needed = {frame: surroundings.needed(frame) for frame in chosen}
        for frame in block:
            asked = nearest(frame, painted, shot.camera)
            paint = {other: surroundings.needed(other) for other in asked}
            yield Task(frame, surroundings, needed, paint)
