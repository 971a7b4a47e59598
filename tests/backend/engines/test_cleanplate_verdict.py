"""`cleanplate` tells which of its results cannot be trusted."""

from __future__ import annotations

import cv2
import numpy as np
from cleanplate_shots import Shot, Watch, across, hole_psnr, pan, removed, resting, still

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_protocol.operations.remove import RemoveSettings


def told(shot: Shot, settings: RemoveSettings | None = None) -> list[str]:
    watch = Watch()
    for _ in Cleanplate().remove(shot, settings or RemoveSettings(grow=0, soften=0), watch):
        pass
    return watch.notes


def test_a_background_that_is_seen_needs_no_word() -> None:
    assert told(Shot(12, still, across)) == []
    assert told(Shot(12, pan, across)) == []


def test_a_hole_that_no_frame_shows_is_told_in_per_cent_and_frames() -> None:
    (note,) = told(Shot(5, still, resting), RemoveSettings(grow=0, soften=0))
    assert note.startswith("100% of the hole in frames 1001-1005 was seen in no frame")


def test_a_background_that_moves_like_water_is_told() -> None:
    class Boiling(Shot):
        def truth(self, frame: int) -> Pixels:
            calm = super().truth(frame)
            rng = np.random.default_rng(frame)
            wide = [rng.standard_normal((self.height, self.width)) for _ in "xy"]
            moved = [60 * cv2.GaussianBlur(one.astype(np.float32), (0, 0), 9) for one in wide]
            y, x = np.mgrid[: self.height, : self.width].astype(np.float32)
            return np.asarray(cv2.remap(calm, x + moved[0], y + moved[1], cv2.INTER_CUBIC))

    notes = told(Boiling(6, still, across))
    assert any("not predicted in frames" in note for note in notes)


def test_the_growth_around_other_mattes_shows_what_nothing_else_does() -> None:
    """The disc moves by less than its grown matte is wide."""

    class Grown(Shot):
        def quadmask(self, frame: int) -> np.ndarray:
            y, x = np.mgrid[: self.height, : self.width]
            place = self.disc(frame - self.first)
            assert place is not None
            away = np.hypot(x - place[0], y - place[1])
            return np.where(away < self.radius + 8, 0, 255).astype(np.uint8)

    shot = Grown(5, still, lambda n: (60.0 + 9 * n, 48.0))
    without = hole_psnr(
        shot, dict(Cleanplate().remove(shot, RemoveSettings(grow=0, soften=0), Watch()))
    )
    grown = hole_psnr(
        shot, dict(Cleanplate().remove(shot, RemoveSettings(grow=8, soften=0), Watch()))
    )
    assert grown > without + 3
    assert removed(shot).keys() == set(shot.frames)
