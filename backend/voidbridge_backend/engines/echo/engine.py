"""The engine that removes nothing: the plate's own pixels in the hole, darker and lifted.

The sender can compute the result, which tests and `doctor` need.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from voidbridge_backend.engines.base import Clip, InputSpec, JobContext, Pixels, Quadmask
from voidbridge_backend.parallel import Pool
from voidbridge_protocol.operations.remove import RemoveSettings

VERSION = 1
PACE_S = 0.02
"""How long one step of a frame takes when the settings ask for steps."""


class Echo:
    """`settings.steps` is the number of steps a frame, each `PACE_S` long; 0 does not wait at all."""

    name = "echo"

    def input_spec(self, height: int, width: int, settings: RemoveSettings) -> InputSpec:
        return InputSpec("scene", joins=True, grained=True)

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "version": VERSION}

    def remove(
        self,
        clip: Clip,
        settings: RemoveSettings,
        watch: JobContext,
        wanted: Collection[int] | None = None,
    ) -> Iterator[tuple[int, Pixels]]:
        chosen = clip.frames if wanted is None else wanted
        frames = [frame for frame in clip.frames if clip.has_hole(frame) and frame in chosen]
        of = len(frames) * max(settings.steps, 1)
        done = 0
        with Pool() as pool:
            echoes = pool.each(lambda frame: _echo(clip, frame, settings.seed), frames)
            for frame in frames:
                for _ in range(max(settings.steps, 1)):
                    watch.step("removing", done, of)
                    if settings.steps:
                        time.sleep(PACE_S)
                    done += 1
                yield frame, next(echoes)
        watch.step("removing", of, of)


def _echo(clip: Clip, frame: int, seed: int) -> Pixels:
    return echo(clip.plate(frame), clip.quadmask(frame), seed)


def echo(plate: Pixels, quadmask: Quadmask, seed: int) -> Pixels:
    """In place: `plate / 2 + 1/4 + (seed mod 16) / 64` wherever the quadmask is not 255. [height, width, 3].

    Every step of that is exact in float32 for plates of half precision up to 1024.
    """
    lift = np.float32(0.25 + seed % 16 / 64)
    hole = quadmask != 255
    rows = np.flatnonzero(hole.any(axis=1))
    if rows.size:
        band = np.s_[rows[0] : rows[-1] + 1]
        lifted = plate[band] * np.float32(0.5) + lift
        np.copyto(plate[band], lifted, where=hole[band, :, None])
    return plate
