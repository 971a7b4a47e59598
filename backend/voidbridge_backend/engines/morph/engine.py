"""The engine `morph`: in-betweens by the motion between two frames, and continuations of one clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from voidbridge_backend.engines.base import JobContext, Pixels
from voidbridge_backend.engines.cleanplate.geometry import FrameBox, Homography
from voidbridge_backend.engines.cleanplate.tone import GREY, Tone
from voidbridge_backend.engines.generate_base import GapClip
from voidbridge_protocol.errors import EngineFailed
from voidbridge_protocol.operations.generate import GenerateSettings, check_mode

from .between import Motions, rendered
from .beyond import Continuation, speed
from .canvas import laid
from .path import Corners, Path
from .view import Grey, GreyFrame, camera_motion

VERSION = 2
HELD = 6
"""Decoded frames that are kept: the two of a gap, their neighbors, and some behind."""
TELLING = 0.005
"""Part of a picture from which mirrored pixels are told."""
BESIDE = 2
"""Frames on each side, beside the nearest, that tell moving objects from the background."""
FAR = 24
"""A gap of more frames is worth a warning: motion between its ends is a guess."""


class Morph:
    name = "morph"

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "version": VERSION}

    def generate(
        self,
        footage: GapClip,
        frames: Sequence[int],
        settings: GenerateSettings,
        context: JobContext,
    ) -> Iterator[tuple[int, Pixels]]:
        """Yields each of `frames`, in order.

        Raises `EngineFailed` without any footage, `BadSetting` for a mode that needs a model.
        """
        check_mode(self.name, settings.mode, settings.prompt)
        unused = settings.model_words()
        if unused:
            context.warn(
                f"`morph` has no model, so these settings change nothing: {', '.join(unused)}"
            )
        shot = _Shot.of(footage)
        mirrored: dict[int, float] = {}
        for done, frame in enumerate(frames):
            context.step("making frames", done, len(frames))
            before, behind = shot.around(frame)
            if before is not None and behind is not None:
                if behind - before > FAR and frame == before + 1:
                    context.warn(
                        f"the gap has {behind - before - 1} frames; `morph` is made for short ones"
                    )
                time = (frame - before) / (behind - before)
                yield frame, rendered(shot.motions(before, behind), time)
            else:
                picture, mirrored[frame] = _beyond(shot, frame, settings.motion == "hold")
                yield frame, picture
        worst = max(mirrored, key=lambda frame: mirrored[frame], default=None)
        if worst is not None and mirrored[worst] > TELLING:
            context.warn(
                f"up to {mirrored[worst]:.0%} of a picture (frame {worst}) was seen in no frame, and"
                " is mirrored at the edge: look at it"
            )


def _beyond(shot: _Shot, frame: int, held: bool) -> tuple[Pixels, float]:
    """A frame beyond the end of the clip, and the part of it, 0 to 1, that no frame shows."""
    before, behind = shot.around(frame)
    end = before if before is not None else behind
    if end is None:
        raise EngineFailed(
            "no photographed frame is given", "Name the clip that the frames belong to."
        )
    if held:
        return shot.frame(end).light, 0.0
    side = -1 if before is not None else 1
    return shot.continuation(end, side).rendered(abs(frame - end))


@dataclass(frozen=True)
class _Shot:
    """The footage with what was measured on it. The caches hold a bounded number of frames."""

    footage: GapClip
    tone: Tone
    known: tuple[int, ...]

    @classmethod
    def of(cls, footage: GapClip) -> _Shot:
        known = tuple(footage.frames)
        if not known:
            return cls(footage, Tone(), known)
        light = footage.picture(known[len(known) // 2])
        middle = float(light[::8, ::8].mean())
        return cls(footage, Tone(GREY / middle if middle > 0 else 1.0), known)

    def __hash__(self) -> int:
        return id(self)

    def around(self, frame: int) -> tuple[int | None, int | None]:
        """The nearest photographed frames before and behind `frame`."""
        before = max((known for known in self.known if known < frame), default=None)
        behind = min((known for known in self.known if known > frame), default=None)
        return before, behind

    @lru_cache(maxsize=HELD)  # noqa: B019 - the shot lives for one job
    def frame(self, number: int) -> GreyFrame:
        return GreyFrame.of(number, self.footage.picture(number), self.tone)

    @lru_cache(maxsize=1)  # noqa: B019
    def motions(self, before: int, behind: int) -> Motions:
        one, other = self.frame(before), self.frame(behind)
        box = FrameBox(0, 0, one.grey.shape[1], one.grey.shape[0])
        steps = behind - before
        path = Path(
            box,
            camera_motion(one.grey, other.grey),
            self._speed(before, -1, steps),
            self._speed(behind, 1, steps),
        )
        return Motions.of(laid(one, other, path, lambda: self._around(one, before, behind)))

    def _around(self, one: GreyFrame, before: int, behind: int) -> list[tuple[Grey, Homography]]:
        """The gray pictures of frames beyond the gap, with the camera's motion to each."""
        sides = (
            [known for known in reversed(self.known) if known < before][:BESIDE],
            [known for known in self.known if known > behind][:BESIDE],
        )
        greys = [self.frame(number).grey for side in sides for number in side]
        return [(grey, camera_motion(one.grey, grey)) for grey in greys]

    @lru_cache(maxsize=1)  # noqa: B019
    def continuation(self, end: int, side: int) -> Continuation:
        """`side` is -1 if the clip lies before the new frames, and 1 if it lies behind them."""
        others = [known for known in self.known if (known - end) * side > 0]
        nearest = sorted(others, key=lambda known: abs(known - end))[: HELD - 1]
        return Continuation(self.frame(end), [self.frame(known) for known in nearest])

    def _speed(self, end: int, side: int, steps: int) -> Corners | None:
        """How far the corners move in `steps` at the speed on this `side` of the gap."""
        others = [known for known in self.known if (known - end) * side > 0]
        if not others:
            return None
        nearest = min(others, key=lambda known: abs(known - end))
        found = speed(self.frame(end), self.frame(nearest)) * steps
        return found if side < 0 else -found
