"""`cleanplate` on shots in which one scene dissolves into another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from cleanplate_shots import Shot, Watch, hole_psnr, pan, still, texture

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_protocol.operations.remove import RemoveSettings

Move = Callable[[int], tuple[float, float]]
LAST, COUNT = 1006, 5
"""The last unmixed frame of the first scene, and how many frames are mixed."""


@dataclass
class Dissolve(Shot):
    """The disc crosses two scenes, each with a camera of its own, and the dissolve between them."""

    second: Shot = field(default_factory=lambda: Shot(0, still, still))

    def truth(self, frame: int) -> Pixels:
        share = float(np.clip((frame - LAST) / (COUNT + 1), 0, 1))
        mix = (1 - share) * super().truth(frame) + share * self.second.truth(frame)
        return np.asarray(mix, np.float32)


def back(n: int) -> tuple[float, float]:
    return 30 - 2.9 * n, 0.5 * n


def across(n: int) -> tuple[float, float]:
    return (20.0 + 40 * n) % 160, 48.0 + n


def dissolved(first: Move, second: Move) -> Dissolve:
    other = Shot(0, second, still, background=texture(7) * np.float32(0.7))
    return Dissolve(17, first, across, radius=10, second=other)


def removed(
    shot: Shot, watch: Watch, cuts: str = "auto", wanted: range | None = None
) -> dict[int, Pixels]:
    settings = RemoveSettings(grow=0, soften=0, cuts=cuts)
    return dict(Cleanplate().remove(shot, settings, watch, wanted))


@pytest.mark.parametrize(("first", "second", "least"), [(still, still, 50), (pan, back, 30)])
def test_a_dissolve_is_named_and_its_frames_are_mixed_of_both_scenes(
    first: Move, second: Move, least: float
) -> None:
    shot, watch = dissolved(first, second), Watch()
    results = removed(shot, watch)
    assert watch.notes[0].startswith("a dissolve leads to another scene in frames 1007-1011:")
    assert not [note for note in watch.notes if "begins" in note]
    quality = {frame: hole_psnr(shot, {frame: light}) for frame, light in results.items()}
    assert min(quality.values()) > least, quality


def test_with_named_cuts_no_dissolve_is_looked_for() -> None:
    shot, watch = dissolved(still, still), Watch()
    mixed = removed(shot, watch, "none", range(LAST + 1, LAST + COUNT + 1))
    assert not [note for note in watch.notes if "dissolve" in note]
    assert hole_psnr(shot, mixed) < 35
