"""`cleanplate` completes the wanted frames alone, with the bits that they have in the whole shot."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from cleanplate_shots import Shot, Watch, across, pan, resting, still

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_backend.engines.cleanplate.geometry import FrameBox
from voidbridge_backend.engines.cleanplate.motion.sources import Sources
from voidbridge_backend.engines.cleanplate.tone import Tone
from voidbridge_protocol.operations.remove import RemoveSettings

SETTINGS = RemoveSettings(grow=0, soften=0)


def made(shot: Shot, wanted: Collection[int] | None = None) -> tuple[dict[int, Pixels], Watch]:
    watch = Watch()
    return dict(Cleanplate().remove(shot, SETTINGS, watch, wanted)), watch


def same(found: dict[int, Pixels], whole: dict[int, Pixels], frames: Collection[int]) -> bool:
    return list(found) == list(frames) and all(
        np.array_equal(found[frame], whole[frame]) for frame in frames
    )


def test_wanted_frames_have_the_bits_of_the_whole_shot_and_no_other_is_completed() -> None:
    """Frames of several blocks, whose sources are larger pieces if earlier blocks were worked on."""
    shot = Shot(18, pan, lambda n: (25.0 + 6 * n, 48.0))
    whole, _ = made(shot)
    for wanted in (range(1002, 1003), range(1016, 1018)):
        found, watch = made(shot, wanted)
        assert same(found, whole, wanted)
        totals = {of for stage, _, of in watch.steps if stage == "removing"}
        assert totals == {len(wanted)}


def test_a_gap_that_no_frame_shows_has_the_bits_of_the_whole_shot_too() -> None:
    """Its picture comes along from the first frames, which nobody wants."""
    shot = Shot(6, still, resting)
    whole, _ = made(shot)
    found, watch = made(shot, range(1003, 1005))
    assert same(found, whole, range(1003, 1005))
    (note,) = watch.notes
    assert "of the hole in frames 1003-1004 was seen" in note


class Letterboxed(Shot):
    def truth(self, frame: int) -> Pixels:
        light = super().truth(frame)
        light[:9] = light[-9:] = 0
        return light


def test_wanted_frames_between_bars_have_the_bits_of_the_whole_shot() -> None:
    shot = Letterboxed(5, still, across)
    whole, _ = made(shot)
    found, _ = made(shot, range(1003, 1005))
    assert same(found, whole, range(1003, 1005))


class Retimed(Shot):
    """Every picture twice."""

    def truth(self, frame: int) -> Pixels:
        return super().truth(frame - (frame - self.first) % 2)

    def _disc(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        return super()._disc(frame - (frame - self.first) % 2)


def test_a_wanted_frame_that_repeats_an_unwanted_one_is_completed() -> None:
    shot = Retimed(8, still, lambda n: (25.0 + 14 * n, 48.0))
    whole, _ = made(shot)
    found, _ = made(shot, [1004])
    assert same(found, whole, [1004])


def test_no_frame_with_a_hole_among_the_wanted_ones_costs_nothing() -> None:
    shot = Shot(6, still, lambda n: (25.0 + 9 * n, 48.0) if n < 3 else None)
    found, watch = made(shot, range(1004, 1007))
    assert found == {}
    assert watch.steps == []


def test_a_frame_that_is_passed_over_decodes_nothing_and_still_decides_the_pieces_of_sources() -> (
    None
):
    class Counted(Shot):
        decoded = 0

        def plate(self, frame: int) -> Pixels:
            self.decoded += 1
            return super().plate(frame)

    shot = Counted(4, still, across)
    sources = Sources(shot, Tone(1.0), 2)
    large, small = FrameBox(10, 10, 60, 50), FrameBox(20, 20, 40, 40)
    sources.reserve(1001, large)
    sources.reserve(1002, small)
    assert shot.decoded == 0
    assert sources.get(1001, small).box == large
    sources.reserve(1003, small)
    assert sources.get(1002, large).box == large
    assert shot.decoded == 2
    assert sources.get(1001, small).box == small
