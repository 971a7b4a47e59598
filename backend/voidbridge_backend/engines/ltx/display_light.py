"""Cuts a display-referred clip into runs of the mode `hdr`, and joins their light again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.generate_base import GapClip
from voidbridge_backend.imaging.curve import GAMMA, OFFSET, SCALE, SLOPE, TOE

from .model import Video
from .pictures import Fit
from .windows import CHUNK, padded


@dataclass(frozen=True)
class LightRun:
    """One run. Frames count from the first of the job, 0."""

    first: int
    stop: int
    length: int
    """Frames of the run, 8k + 1: the last frame is repeated up to it."""


def strips(count: int, most: int) -> list[LightRun]:
    """Runs of at most `most` frames. Each begins with the last eight of the one before."""
    found, first = [], 0
    while True:
        stop = min(first + most, count)
        found.append(LightRun(first, stop, padded(stop - first)))
        if stop == count:
            return found
        first = stop - CHUNK


class Strip:
    """Gives runs their frames, and mixes the frames that two runs share."""

    def __init__(self, footage: GapClip, frames: Sequence[int], fit: Fit) -> None:
        self._footage, self._frames, self._fit = footage, frames, fit
        self._to_rec709 = footage.to_rec709.astype(np.float32)
        self._back = np.linalg.inv(footage.to_rec709).astype(np.float32)
        self._shared: dict[int, Pixels] = {}

    def shown(self, part: LightRun) -> Video:
        """[length, height, width, 3], sRGB codes 0 to 1."""
        codes = [self._code(self._frames[at]) for at in range(part.first, part.stop)]
        return np.stack(codes + codes[-1:] * (part.length - len(codes)))

    def finished(self, part: LightRun, light: Video) -> Iterator[tuple[int, Pixels]]:
        """The frames of a run that no later run sees, in the plate's size and primaries."""
        shares = part.stop < len(self._frames)
        for at in range(part.first, part.stop):
            picture = light[at - part.first]
            earlier = self._shared.pop(at, None)
            if earlier is not None:
                share = np.float32((at - part.first + 1) / (CHUNK + 1))
                picture = earlier * (1 - share) + picture * share
            if shares and at >= part.stop - CHUNK:
                self._shared[at] = picture
                continue
            whole = self._fit.to_plate(np.ascontiguousarray(picture))
            yield self._frames[at], np.asarray(whole @ self._back.T, np.float32)

    def _code(self, frame: int) -> Pixels:
        light = np.clip(self._footage.picture(frame) @ self._to_rec709.T, 0, 1)
        curved = SCALE * np.power(light, 1 / GAMMA) - OFFSET
        return self._fit.to_model(np.where(light <= TOE, SLOPE * light, curved).astype(np.float32))
