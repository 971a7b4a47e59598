"""`cleanplate` keeps its promises on small shots with a known truth."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from cleanplate_shots import (
    HEIGHT,
    WIDTH,
    Shot,
    Watch,
    across,
    by_hand,
    hole_psnr,
    nowhere,
    pan,
    removed,
    resting,
    still,
    texture,
)

from voidbridge_backend import parallel
from voidbridge_backend.engines.base import Pixels, Quadmask
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_backend.engines.cleanplate.geometry import FrameBox
from voidbridge_backend.engines.cleanplate.motion.sources import Sources
from voidbridge_backend.engines.cleanplate.tone import Tone
from voidbridge_backend.quality.reference import encode
from voidbridge_protocol.errors import JobCancelled
from voidbridge_protocol.operations.remove import RemoveSettings


@pytest.mark.parametrize(
    ("camera", "least"), [(still, 60), (by_hand, 36), (pan, 36)], ids=["locked", "by hand", "pan"]
)
def test_the_background_comes_back_from_frames_that_show_it(
    camera: Callable[[int], tuple[float, float]], least: float
) -> None:
    shot = Shot(8, camera, across)
    results = removed(shot)
    assert list(results) == list(shot.frames)
    assert hole_psnr(shot, results) > least


def test_a_lamp_behind_the_object_comes_back_as_bright_as_it_was() -> None:
    shot = Shot(9, still, across)
    shot.background[20 + 46 : 20 + 50, 40 + 78 : 40 + 84] = 20
    result = removed(shot, [1005])[1005]
    assert (shot.plate(1005)[46:50, 78:84] == 9).all()
    np.testing.assert_allclose(result[46:50, 78:84], 20, rtol=0.02)


def test_negative_light_survives() -> None:
    shot = Shot(8, still, across)
    shot.background[..., 2] -= 0.5
    result, truth = removed(shot, [1005])[1005], shot.truth(1005)
    hole = shot.quadmask(1005) != 255
    assert truth[hole].min() < -0.2
    np.testing.assert_allclose(result[hole], truth[hole], atol=0.02)


def test_a_change_of_exposure_is_followed() -> None:
    shot = Shot(7, still, across, exposure=lambda n: 1.0 + 0.1 * n)
    assert hole_psnr(shot, removed(shot)) > 40


def test_somebody_who_walks_through_the_background_is_not_copied() -> None:
    class Passer(Shot):
        def plate(self, frame: int) -> Pixels:
            light = super().plate(frame)
            if frame in (1003, 1008):
                light[30:60, 60:110] = 6
            return light

    shot = Passer(12, still, lambda n: (25.0 + 10 * n, 48.0), radius=12)
    results = removed(shot, [1006])
    hole = shot.quadmask(1006) != 255
    assert np.abs(results[1006] - shot.truth(1006))[hole].max() < 0.5


def test_outside_the_hole_the_plate_is_handed_back() -> None:
    shot = Shot(5, pan, across)
    for frame, result in removed(shot).items():
        keep = shot.quadmask(frame) == 255
        np.testing.assert_array_equal(result[keep], shot.plate(frame)[keep])


def test_what_no_frame_shows_is_invented_from_the_surroundings_and_held_still() -> None:
    shot = Shot(6, still, resting)
    results = list(removed(shot).values())
    hole = shot.quadmask(1001) != 255
    ring = shot.plate(1001)[~hole]
    assert results[0][hole].max() <= ring.max() * 1.1
    assert abs(np.log(np.median(results[0][hole]) / np.median(ring))) < 0.7
    for earlier, later in itertools.pairwise(results):
        assert np.abs(encode(later) - encode(earlier))[hole].max() < 0.02


def test_an_invention_moves_with_the_camera() -> None:
    shot = Shot(5, lambda n: (2.0 * n, 0.0), lambda n: (80.0 - 2 * n, 48.0))
    results = removed(shot, [1001, 1005])
    first, last = results[1001][34:62, 66:94], results[1005][34:62, 58:86]
    assert np.abs(encode(first) - encode(last)).mean() < 0.02


def test_a_cut_is_not_looked_across() -> None:
    one, two = texture(1), texture(2)

    class Cut(Shot):
        def truth(self, frame: int) -> Pixels:
            self.background = one if frame < 1007 else two
            return super().truth(frame)

    shot = Cut(12, still, lambda n: (40.0 + 30 * (n % 3), 48.0))
    assert hole_psnr(shot, removed(shot)) > 45


def everything(shot: Shot, codes: int, margin: int) -> Shot:
    class Covered(Shot):
        def quadmask(self, frame: int) -> Quadmask:
            masked = np.full((HEIGHT, WIDTH), 255, np.uint8)
            masked[margin : HEIGHT - margin, margin : WIDTH - margin] = codes
            return masked

    return Covered(shot.length, shot.camera, shot.disc, background=shot.background)


BLACK = np.zeros((140, 260, 3), np.float32)
HUGE = np.full((140, 260, 3), 65504, np.float32)


@pytest.mark.parametrize(
    "shot",
    [
        Shot(1, still, resting),
        Shot(2, by_hand, across),
        Shot(3, pan, across),
        Shot(5, by_hand, resting),
        Shot(4, by_hand, across, background=BLACK),
        Shot(4, by_hand, resting, background=BLACK),
        Shot(3, still, across, background=HUGE),
        Shot(4, lambda n: (40.0 * (-1) ** n, 0.0), across),
        everything(Shot(3, pan, resting), 0, 8),
        everything(Shot(3, pan, resting), 127, 0),
        everything(Shot(1, still, resting), 0, 0),
        Shot(3, still, lambda n: (0.0, 0.0)),
        Shot(3, still, lambda n: resting(n) if n == 1 else None, radius=1),
    ],
    ids=[
        "one frame",
        "two frames",
        "three frames of a pan",
        "nothing to see behind",
        "black",
        "black at rest",
        "as bright as half floats go",
        "a camera that jumps",
        "a matte over nearly everything",
        "a matte over everything",
        "a matte over the only frame",
        "a hole in the corner",
        "a hole of a few pixels",
    ],
)
def test_every_shot_gets_a_finite_answer_for_each_frame_with_a_hole(shot: Shot) -> None:
    results = removed(shot)
    assert list(results) == [frame for frame in shot.frames if shot.has_hole(frame)]
    for result in results.values():
        assert result.shape == (HEIGHT, WIDTH, 3)
        assert result.dtype == np.float32
        assert np.isfinite(result).all()


@pytest.mark.parametrize("height_width", [(1, 1), (2, 4), (3, 40)], ids=str)
def test_the_smallest_plates_are_plates(height_width: tuple[int, int]) -> None:
    class Tiny:
        frames: Sequence[int] = range(1, 4)
        height, width = height_width

        def plate(self, frame: int) -> Pixels:
            return np.full((*height_width, 3), frame / 4, np.float32)

        def quadmask(self, frame: int) -> Quadmask:
            codes = np.full(height_width, 255, np.uint8)
            codes[0, 0] = 0
            return codes

        def has_hole(self, frame: int) -> bool:
            return True

    results = dict(Cleanplate().remove(Tiny(), RemoveSettings(grow=0, soften=0), Watch()))
    assert [result.shape for result in results.values()] == [(*height_width, 3)] * 3
    assert all(np.isfinite(result).all() for result in results.values())


def test_a_shot_without_a_hole_is_no_work() -> None:
    assert removed(Shot(3, pan, nowhere)) == {}


def test_the_same_shot_gives_the_same_bits() -> None:
    first, again = (removed(Shot(3, by_hand, resting)) for _ in range(2))
    for frame, result in first.items():
        np.testing.assert_array_equal(result.view(np.uint32), again[frame].view(np.uint32))


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    shot = Shot(6, by_hand, lambda n: (60.0 + 6 * n, 48.0))
    results = []
    for threads in (1, 5):
        monkeypatch.setattr(parallel, "THREADS", threads)
        results.append(removed(shot))
    for frame, result in results[0].items():
        np.testing.assert_array_equal(result.view(np.uint32), results[1][frame].view(np.uint32))


def test_progress_is_told_and_cancelling_ends_the_work() -> None:
    watch = Watch()
    list(Cleanplate().remove(Shot(4, pan, across), RemoveSettings(grow=0, soften=0), watch))
    assert {stage for stage, _, _ in watch.steps} == {"camera", "removing"}
    assert watch.steps[-1] == ("removing", 4, 4)
    for stop in (watch.steps[0], ("camera", 3, 4), ("removing", 0, 4), watch.steps[-1]):
        with pytest.raises(JobCancelled):
            list(
                Cleanplate().remove(
                    Shot(4, pan, across), RemoveSettings(grow=0, soften=0), Watch(stop)
                )
            )


def test_few_frames_are_held_at_once() -> None:
    class Counted(Shot):
        asked = 0

        def plate(self, frame: int) -> Pixels:
            self.asked += 1
            return super().plate(frame)

    shot = Counted(18, still, lambda n: (20.0 + 7 * n, 48.0), radius=8)
    removed(shot)
    assert shot.asked < 18 * 4


def test_the_hole_has_living_grain_like_the_plate() -> None:
    class Grainy(Shot):
        def truth(self, frame: int) -> Pixels:
            noise = np.random.default_rng(frame).standard_normal((HEIGHT, WIDTH, 3))
            return np.asarray(super().truth(frame) + 0.01 * noise, np.float32)

    flat = np.full((140, 260, 3), 0.3, np.float32)
    flat[::7] = 0.5
    shot = Grainy(8, still, across, background=flat)
    results = removed(shot, [1004, 1005])
    both = (shot.quadmask(1004) != 255) & (shot.quadmask(1005) != 255)
    ours = (results[1005] - results[1004])[both].std()
    theirs = (shot.truth(1005) - shot.truth(1004))[both].std()
    assert 0.5 < ours / theirs < 1.3


def test_the_tone_for_resampling_loses_nothing() -> None:
    tone = Tone(3.0)
    light = np.array([-65504, -1, -1e-4, 0, 1e-4, 0.18, 1, 20, 65504], np.float32)
    np.testing.assert_allclose(tone.expand(tone.compress(light)), light, rtol=2e-5)


def test_no_more_pieces_are_held_than_were_agreed() -> None:
    class Counted(Shot):
        asked = 0

        def plate(self, frame: int) -> Pixels:
            self.asked += 1
            return super().plate(frame)

    shot = Counted(5, still, across)
    box = FrameBox(10, 10, 60, 60)
    held = Sources(shot, Tone(), 2)
    for frame in (1001, 1002, 1001, 1003, 1001):
        assert held.get(frame, box).frame == frame
    assert shot.asked == 3
    held.get(1002, box)
    assert shot.asked == 4
    assert held.get(1002, FrameBox(0, 0, 60, 60)).box == FrameBox(0, 0, 60, 60)
    assert shot.asked == 5
