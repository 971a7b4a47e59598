"""Looks through a clip's mattes for the channel that is the matte, and keeps what each frame of it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Header, Window
from voidbridge_backend.exr.layers import Selection
from voidbridge_backend.exr.matte_channels import NAME_HINT, Candidate, candidates
from voidbridge_backend.formats.synthetic import is_lossy
from voidbridge_backend.imaging.mattes.matte import Evidence
from voidbridge_backend.imaging.mattes.matte_choice import (
    ChannelStats,
    Choice,
    choose,
    decided,
    empty_beside,
    first_look,
)
from voidbridge_backend.parallel import Pool
from voidbridge_protocol.errors import BadMatte, UnclearLayer

from .inputs import InputFiles

SET = 0.1
"""From this share of white on a matte holds something, where no setting says it."""
NEAR_GRAY = 4 / 255
"""R, G and B of a gray picture differ by this at most after a lossy codec: one step of 8-bit chroma (BT.709)."""

ROLES = {"matte": "matte", "affected": "affected matte", "hint": "hint"}
"""How an artist calls a file of a role; any other is a key matte."""
NAME_HINTS = {role: f"Name its channel with --{role}-channel." for role in ROLES}
KEY_HINT = "Write it with one channel, or with the matte in A."

Look = Callable[[tuple[Candidate, ...]], tuple[Candidate, ...]]


@dataclass(frozen=True)
class FrameFacts:
    """The content of a channel in one frame. `covered` and `not_kept` are shares of the plate's picture."""

    least: float
    most: float
    covered: float
    not_kept: float


class MatteSurvey:
    """The content of the candidates for one role's matte, over a clip."""

    def __init__(self, source: InputFiles, canvas: Window, threshold: float) -> None:
        """`canvas` is the plate's picture; a matte is set from `threshold` of white on."""
        self._source, self._canvas, self._threshold = source, canvas, threshold
        self.facts: dict[tuple[str, Candidate, int], FrameFacts] = {}
        """By role, channel and frame, of all that was looked at."""

    def choice(
        self, role: str, named: str, on_frame: Callable[[], None]
    ) -> tuple[Choice, dict[Candidate, ChannelStats]]:
        """The channel that is the matte, and what was seen. `named` is the channel that was asked for, or "".

        Raises `UnclearLayer`, `BadMatte` or what reading raises.
        """
        try:
            choice, seen = self._choice(role, named, on_frame)
        except UnclearLayer as error:
            text, hint = (
                error.text.replace("the matte", f"the {ROLES.get(role, 'key matte')}", 1),
                error.hint,
            )
            hint = hint.replace(NAME_HINT, NAME_HINTS.get(role, KEY_HINT))
            raise UnclearLayer(text, hint) from error
        channel = choice.candidate.channel
        for frame in self._source.paths[role]:
            if (role, choice.candidate, frame) not in self.facts:
                raise BadMatte(
                    f"{role} frame {frame} lacks the channel {channel}, which other frames of this clip have",
                    "Write every frame of a matte with the same channels.",
                )
        return choice, seen

    def _choice(
        self, role: str, named: str, on_frame: Callable[[], None]
    ) -> tuple[Choice, dict[Candidate, ChannelStats]]:
        threshold = self._threshold
        seen = self._look(role, named, first_look, on_frame)
        candidate = decided(seen, threshold)
        if candidate is not None:
            return Choice(candidate), seen
        if not named:
            seen = self._look(role, "", tuple, lambda: None)
            return choose(seen, threshold), seen
        candidate = next(iter(seen))
        if seen[candidate].holds_something(threshold):
            return Choice(candidate), seen
        text = empty_beside(candidate, self._look(role, "", tuple, lambda: None), threshold)
        return Choice(candidate, (text,) if text else ()), seen

    def _look(
        self, role: str, named: str, look: Look, on_frame: Callable[[], None]
    ) -> dict[Candidate, ChannelStats]:
        """Returns the content, over the clip, of each candidate that `look` lets through."""
        seen: dict[Candidate, ChannelStats] = {}
        frames, threshold = sorted(self._source.paths[role]), self._threshold
        with Pool() as pool:
            found = pool.each(partial(self._found, role, named, look), frames)
            for frame, stats in zip(frames, found, strict=True):
                on_frame()
                for candidate, one in stats.items():
                    evidence = one.evidence
                    self.facts[role, candidate, frame] = FrameFacts(
                        *(evidence.least, evidence.most),
                        *(evidence.covered(threshold), evidence.not_kept()),
                    )
                    if candidate in seen:
                        seen[candidate].merge(one)
                    else:
                        seen[candidate] = one
        return seen

    def _found(
        self, role: str, named: str, look: Look, frame: int
    ) -> dict[Candidate, ChannelStats]:
        """Returns the content of one frame's candidates on the plate's picture."""
        wanted: tuple[Candidate, ...] = ()

        def first(header: Header) -> Selection:
            nonlocal wanted
            wanted = look(candidates(header, named))
            return Selection(wanted[0].part, (wanted[0].channel,))

        decoded = self._source.read(role, frame, first)
        parts = {wanted[0].part: decoded}
        stats = {}
        for candidate in wanted:
            if candidate.part not in parts:
                parts[candidate.part] = self.read(role, frame, candidate)
            decoded = parts[candidate.part]
            stats[candidate] = self._stats(
                decoded, candidate, f"{role} frame {frame}", alone=len(wanted) == 1
            )
        return stats

    def _stats(
        self, decoded: reader.Frame, candidate: Candidate, name: str, *, alone: bool
    ) -> ChannelStats:
        """`alone` is a candidate that is compared with no other."""
        values = decoded.channels[candidate.channel]
        picture = _overlap(values, decoded.window, self._canvas)
        evidence = Evidence(candidate.channel, is_lossy=is_lossy(decoded.part))
        whole = self._canvas.width * self._canvas.height
        evidence.add(picture, name, outside=whole - picture.size)
        gray = is_gray(decoded, candidate)
        if alone:
            return ChannelStats(evidence, gray)
        return ChannelStats.of(evidence, picture, gray)

    def read(self, role: str, frame: int, candidate: Candidate) -> reader.Frame:
        """One frame's channel."""
        selection = Selection(candidate.part, (candidate.channel,))
        return self._source.read(role, frame, lambda header: selection)


def is_gray(decoded: reader.Frame, candidate: Candidate) -> bool:
    """Whether the channels beside a candidate hold the same as it does, but for a lossy codec's noise."""
    values = decoded.channels[candidate.channel]
    near = NEAR_GRAY if is_lossy(decoded.part) else 0.0
    return all(_alike(values, decoded.channels[other], near) for other in candidate.beside)


def _alike(one: NDArray[Any], two: NDArray[Any], near: float) -> bool:
    if not near:
        return np.array_equal(one, two)
    return not one.size or float(cv2.norm(one, two, cv2.NORM_INF)) <= near


def _overlap(values: NDArray[Any], window: Window, canvas: Window) -> NDArray[Any]:
    """The part of `values`, which lie at `window`, that is on the canvas; may be of no size."""
    top, left = max(canvas.ymin - window.ymin, 0), max(canvas.xmin - window.xmin, 0)
    bottom = max(min(canvas.ymax, window.ymax) - window.ymin + 1, top)
    right = max(min(canvas.xmax, window.xmax) - window.xmin + 1, left)
    return values[top:bottom, left:right]
