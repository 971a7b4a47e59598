"""`cleanplate` on shots that hold more than one scene, and on frames that are there twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from cleanplate_shots import Shot, Watch, across, by_hand, hole_psnr, pan, removed, still, texture

from voidbridge_backend.engines.base import Pixels, Quadmask
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_backend.engines.cleanplate.motion.analyze_camera import analyzed
from voidbridge_backend.engines.cleanplate.motion.cuts import CUT as CUT_BELOW
from voidbridge_backend.engines.cleanplate.motion.cuts import Detail, detail, likeness
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

CUT = 1009


@dataclass
class TwoScenes(Shot):
    """The disc crosses two scenes, one after the other."""

    other: Pixels = field(default_factory=lambda: texture(7) * np.float32(0.5))

    def truth(self, frame: int) -> Pixels:
        self.background = texture(0) if frame < CUT else self.other
        return super().truth(frame)


def twice(n: int) -> tuple[float, float]:
    return 25.0 + 14 * (n % 8), 48.0


@pytest.mark.parametrize(("camera", "least"), [(still, 55), (by_hand, 34), (pan, 34)])
def test_each_scene_is_worked_alone_and_the_cut_is_named(
    camera: Callable[[int], tuple[float, float]], least: float
) -> None:
    shot, watch = TwoScenes(16, camera, twice), Watch()
    some = (1002, CUT - 2, CUT - 1, CUT, CUT + 1, 1015)
    results = dict(Cleanplate().remove(shot, RemoveSettings(grow=0, soften=0), watch, some))
    assert watch.notes[0] == "another scene begins in frames 1009: each scene is worked on alone"
    assert hole_psnr(shot, results) > least


@pytest.mark.parametrize(
    "exposure", [lambda n: 1 - n / 9, lambda n: 5.0 if n == 4 else 1.0, lambda n: float(n != 3)]
)
@pytest.mark.parametrize("camera", [by_hand, pan])
def test_a_change_of_light_is_no_cut(
    camera: Callable[[int], tuple[float, float]], exposure: Callable[[int], float]
) -> None:
    found = analyzed(Shot(8, camera, across, exposure=exposure), Watch()).camera.cuts_found
    assert not found


@pytest.mark.parametrize(
    ("cuts", "said"), [("none", None), ("1005,1009", "another scene begins in frames 1005, 1009")]
)
def test_cuts_that_are_named_are_taken(cuts: str, said: str | None) -> None:
    watch = Watch()
    settings = RemoveSettings(grow=0, soften=0, cuts=cuts)
    for _ in Cleanplate().remove(TwoScenes(11, still, twice), settings, watch, (1005, CUT)):
        pass
    notes = [note for note in watch.notes if "another scene" in note]
    assert [note.partition(":")[0].replace(",", ", ").replace(",  ", ", ") for note in notes] == (
        [said] if said else []
    )


@pytest.mark.parametrize("cuts", ["", "here", "1009;1050", "1009,"])
def test_a_list_of_cuts_that_cannot_be_read_is_refused(cuts: str) -> None:
    with pytest.raises(BadSetting, match="cuts"):
        RemoveSettings(cuts=cuts)


@dataclass
class Retimed(Shot):
    """Every frame is there three times, with its grain."""

    def plate(self, frame: int) -> Pixels:
        own = self._own(frame)
        noise = np.random.default_rng(own).standard_normal((self.height, self.width, 3))
        return np.asarray(super().plate(own) + 0.004 * noise, np.float32)

    def quadmask(self, frame: int) -> Quadmask:
        return super().quadmask(self._own(frame))

    def _own(self, frame: int) -> int:
        return self.first + (frame - self.first) // 3 * 3


def test_frames_that_are_repeated_have_the_same_result() -> None:
    shot = Retimed(18, by_hand, lambda n: (25.0 + 7 * n, 48.0))
    results = dict(Cleanplate().remove(shot, RemoveSettings(grow=0, soften=0), Watch()))
    assert list(results) == list(shot.frames)
    for frame in range(1001, 1019, 3):
        assert results[frame].tobytes() == results[frame + 2].tobytes()
    assert results[1001].tobytes() != results[1004].tobytes()


def test_a_retime_that_moves_by_whole_pixels_is_copied() -> None:
    shot = Shot(7, lambda n: (6.0 * n - 15, 0.0), lambda n: (25.0 + 18 * n, 48.0))
    results = removed(shot, [1002, 1007])
    for frame in (1002, 1007):
        assert hole_psnr(shot, {frame: results[frame]}) > 65


def screen(seed: int, person: bool) -> Detail:
    """An even screen with grain, in steps of 8 bits, and somebody who stands before it."""
    grey = 110 + 4 * np.random.default_rng(seed).standard_normal((108, 192))
    if person:
        grey[60:, 70:120] += 40
    return detail(grey.astype(np.uint8), np.full(grey.shape, 255, np.uint8))


def test_the_grain_of_an_even_screen_is_no_cut() -> None:
    """No two frames share their grain, so it tells nothing."""
    one, two, empty = screen(1, True), screen(2, True), screen(3, False)
    assert (one.shows, two.shows, empty.shows) == (True, True, False)
    assert likeness(one, two, np.eye(3), (192, 108)) > CUT_BELOW
    assert likeness(empty, two, np.eye(3), (192, 108)) < CUT_BELOW
