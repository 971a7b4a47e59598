"""Joins the sound of several runs, so that it is as long as the new frames, to the sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.generate_base import Sound

from .windows import GapWindow

FADE_S = 0.01
"""Seconds in which one run's sound goes over into the next one's."""


class SoundTrack:
    """The sound of a job. Runs are added in the order of the work, each beside those before it."""

    def __init__(self, frames: int, frame_rate: float) -> None:
        self._frames, self._rate = frames, frame_rate
        self._made: Sound | None = None
        self._begin = self._end = 0
        """The samples that are there."""

    def add(self, window: GapWindow, heard: Sound) -> None:
        """`heard` is the sound of a whole run. It may be too short; silence fills it up."""
        if self._made is None:
            length = self._sample(self._frames, heard.rate)
            silence = np.zeros((heard.samples.shape[0], length), np.float32)
            self._made = Sound(silence, heard.rate)
            self._begin = self._end = self._sample(window.first, heard.rate)
        track = self._made.samples
        first, stop = (self._sample(at, heard.rate) for at in (window.first, window.stop))
        start = round(window.picks[0] / (self._rate * window.speed) * heard.rate)
        if start + stop - first == heard.samples.shape[1] + 1:
            start = max(start - 1, 0)  # Rounding asked for one sample behind the end.
        fade = round(FADE_S * heard.rate)
        if first == self._end and first > self._begin:
            lead = min(fade, first - self._begin, start)
            self._mix(track, heard, first - lead, first, start - lead, rises=True)
        if stop == self._begin and stop < self._end:
            rest = min(fade, self._end - stop)
            self._mix(track, heard, stop, stop + rest, start + stop - first, rises=False)
        track[:, first:stop] = _part(heard, start, stop - first)
        self._begin, self._end = min(self._begin, first), max(self._end, stop)

    def whole(self) -> Sound:
        """The sound of every run that was added. There has to be one."""
        assert self._made is not None
        return self._made

    def _sample(self, frame: int, rate: int) -> int:
        """The sample at which a new frame begins."""
        return round(frame / self._rate * rate)

    @staticmethod
    def _mix(
        track: NDArray[np.float32], heard: Sound, first: int, stop: int, start: int, *, rises: bool
    ) -> None:
        """Goes over into the run in a straight line, or out of it."""
        count = stop - first
        share = (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(max(count, 1))
        share = share if rises else share[::-1]
        track[:, first:stop] += (_part(heard, start, count) - track[:, first:stop]) * share


def _part(heard: Sound, start: int, count: int) -> NDArray[np.float32]:
    found = heard.samples[:, start : start + count]
    return np.pad(found, ((0, 0), (0, count - found.shape[1])))
