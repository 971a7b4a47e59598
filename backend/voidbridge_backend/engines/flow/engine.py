"""The engine: prompts become key mattes, key mattes become every frame's matte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from voidbridge_backend.engines.mask_base import Matte, Pictures, Prompts, Tracked

from .segment import segment
from .track import Tracker, refined

VERSION = 3
LONG_SIDE = 480
"""Pixels of a picture's longer side. At 640 the overlap gains less than 0.01 and the time doubles."""

AGREES = 0.975
"""Mean overlap of key mattes with their refined outlines from which on colors may move the others."""


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
        heartbeat: Callable[[], None],
    ) -> Iterator[Tracked]:
        """See `Masker.track`. Clicks start a matte only where no key matte is given."""
        keys = dict(prompts.keys)
        for frame, clicks in prompts.clicks.items():
            if frame not in keys:
                heartbeat()
                keys[frame] = segment(pictures(frame), clicks)
        refines = len(prompts.keys) < 2 or _agreement(pictures, prompts.keys) >= AGREES
        tracker = Tracker(pictures, heartbeat, refines=refines)
        yield from tracker.between(keys, frames[0], frames[-1])


def _agreement(pictures: Pictures, keys: Mapping[int, Matte]) -> float:
    """How well the colors alone give the outlines that the artist drew: mean overlap, 0 to 1.

    One key matte drifts without the colors. Several that do not lie where the colors part ask for another outline.
    """
    overlaps = []
    for frame, key in keys.items():
        drawn, found = key > 0.5, refined(pictures(frame), key) > 0.5
        overlaps.append((drawn & found).sum() / max((drawn | found).sum(), 1))
    return float(np.mean(overlaps))
