"""`cleanplate` tells which of its results cannot be trusted."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np
from cleanplate_shots import Shot, Watch, across, hole_psnr, pan, removed, resting, still

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_backend.engines.cleanplate.verdict import notes
from voidbridge_protocol.operations.remove import RemoveSettings


def told(
    shot: Shot, settings: RemoveSettings | None = None, wanted: Collection[int] | None = None
) -> list[str]:
    watch = Watch()
    for _ in Cleanplate().remove(shot, settings or RemoveSettings(grow=0, soften=0), watch, wanted):
        pass
    return watch.notes


def test_a_background_that_is_seen_needs_no_word() -> None:
    some = (1001, 1004, 1008, 1012)
    assert told(Shot(12, still, across), wanted=some) == []
    assert told(Shot(12, pan, across), wanted=some) == []


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
    plain = removed(shot)
    grown = hole_psnr(
        shot, dict(Cleanplate().remove(shot, RemoveSettings(grow=8, soften=0), Watch()))
    )
    assert grown > hole_psnr(shot, plain) + 3
    assert plain.keys() == set(shot.frames)


def test_an_even_wall_behind_a_small_object_is_invented_without_a_word() -> None:
    even = np.full((140, 260, 3), 0.2, np.float32)
    assert told(Shot(5, still, resting, radius=6, background=even)) == []
    (note,) = told(Shot(5, still, resting, radius=30, background=even))
    assert "was seen in no frame" in note


class Tight(Shot):
    """The matte is smaller than the disc by `short` pixels; a shadow of `light` lies below it."""

    short, light = 12, 1.0

    def plate(self, frame: int) -> Pixels:
        light = self.truth(frame)
        y, x = np.mgrid[: self.height, : self.width]
        place = self.disc(frame - self.first)
        assert place is not None
        light[np.hypot((x - place[0]) / 3, y - place[1] - 20) < 12] *= self.light
        light[np.hypot(x - place[0], y - place[1]) < self.radius] = (0.9, 0.1, 0.1)
        return light

    def quadmask(self, frame: int) -> np.ndarray:
        """Grown by 8 pixels and soft over 4 more."""
        y, x = np.mgrid[: self.height, : self.width]
        place = self.disc(frame - self.first)
        assert place is not None
        away = np.hypot(x - place[0], y - place[1])
        return np.where(away < self.radius - self.short + 12, 0, 255).astype(np.uint8)


SOFT = RemoveSettings(grow=8, soften=4)


def test_a_matte_that_is_too_tight_is_told_with_a_growth_to_try() -> None:
    shot = Tight(9, still, across, radius=20)
    (note,) = told(shot, SOFT)
    assert note.startswith("the object's color remains at the edge of the hole in frames 1001-1009")
    grow = int(note.rpartition("--grow ")[2])
    assert 12 <= grow <= 18
    shot.short = 0
    assert told(shot, SOFT, range(1003, 1007)) == []


def test_a_shadow_beyond_the_matte_is_told() -> None:
    shot = Tight(9, still, across, radius=16)
    shot.short, shot.light = 4, 0.5
    (note,) = told(shot, SOFT)
    assert "the object's shadow reaches beyond the matte" in note
    assert "--affected" in note


class Passed(Tight):
    """The matte fits; beside the disc of one frame stands a post, `apart` pixels from it."""

    short, apart, wide = 0, 0, 6

    def truth(self, frame: int) -> Pixels:
        light = super().truth(frame)
        place = self.disc(frame - self.first)
        if frame == 1004 and place is not None:
            left = round(place[0]) + self.radius + self.apart
            light[:, left : left + self.wide] = (0.1, 0.1, 0.9)
        return light


def test_somebody_beside_the_hole_is_no_matter_and_in_its_soft_edge_is_told() -> None:
    """The result fades out between 8 and 12 pixels from the disc."""
    shot = Passed(7, still, across, radius=14)
    shot.apart = 16
    assert told(shot, SOFT) == []
    shot.apart = 5
    (note,) = told(shot, SOFT)
    assert "not predicted in frames 1004:" in note


def test_frames_between_two_that_are_not_predicted_are_told_too() -> None:
    """Somebody passes who is wholly behind the object in some of them."""
    quality = dict.fromkeys(range(1001, 1013), 50.0)
    quality |= dict.fromkeys((1004, 1008, 1012), 20.0)
    (note,) = notes({}, quality)
    assert "in frames 1004-1012:" in note
    quality |= dict.fromkeys((1008,), 50.0)
    (note,) = notes({}, quality)
    assert "in frames 1004, 1012:" in note
