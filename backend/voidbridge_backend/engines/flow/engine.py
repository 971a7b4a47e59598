"""The engine: prompts become key mattes, key mattes become every frame's matte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2

from voidbridge_backend.engines.mask_base import Pictures, Prompts, Tracked

from .segment import segment
from .track import Tracker

VERSION = 1
LONG_SIDE = 480
"""Pixels of a picture's longer side. At 640 the overlap gains less than 0.01 and the time doubles."""


class Flow:
    """Tracks objects by optical flow, on the CPU."""

    name = "flow"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """See `Masker.size`. A small plate keeps its size."""
        factor = min(1.0, LONG_SIDE / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "version": VERSION, "opencv": cv2.__version__}

    def track(
        self,
        pictures: Pictures,
        frames: Sequence[int],
        prompts: Prompts,
        pulse: Callable[[], None],
    ) -> Iterator[Tracked]:
        """See `Masker.track`. Clicks start a matte only where no key matte is given."""
        keys = dict(prompts.keys)
        for frame, clicks in prompts.clicks.items():
            if frame not in keys:
                pulse()
                keys[frame] = segment(pictures(frame), clicks)
        yield from Tracker(pictures, pulse).between(keys, frames[0], frames[-1])
