"""Windows of `ltx`: exact lengths, locks on whole latents, sizes and joins."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from voidbridge_backend.engines.ltx.display_light import strips
from voidbridge_backend.engines.ltx.pictures import Fit, Join, difference
from voidbridge_backend.engines.ltx.windows import LEAST, LOCKED, padded, windows


@pytest.mark.parametrize("most", [LEAST, 121])
@pytest.mark.parametrize("behind", [0, 1, 5, 9, 16])
@pytest.mark.parametrize("before", [0, 1, 5, 9, 16])
def test_every_new_frame_is_made_once_in_runs_that_the_model_takes(
    before: int, behind: int, most: int
) -> None:
    for count in range(1, 151):
        found = windows(count, before, behind, most)
        made = [place for run in found for place in range(run.first, run.stop)]
        assert sorted(made) == list(range(count))
        for run in found:
            assert run.length % 8 == 1
            assert run.length <= most
            assert list(run.picks) == sorted(set(run.picks))
            assert run.head <= run.picks[0]
            assert run.picks[-1] < (run.tail_at if run.tail else run.length)


@pytest.mark.parametrize("count", range(1, 61))
def test_a_lock_behind_is_on_a_latent_and_stands_where_the_plate_has_its_frames(count: int) -> None:
    (run,) = windows(count, 16, 16, 121)
    assert run.tail_at == 8 * (run.latent - 1) + 1
    assert run.head == run.tail == LOCKED
    assert run.speed == 1
    assert run.tail_at - run.skipped == run.head + count
    assert run.tail_at + run.tail <= run.length


def test_one_frame_on_each_side_makes_more_frames_and_takes_those_nearest_in_time() -> None:
    (run,) = windows(12, 1, 1, 121)
    assert run.tail_at == 17
    assert run.speed == pytest.approx(17 / 13)
    for frame, at in enumerate(run.picks):
        assert abs(at / run.tail_at - (frame + 1) / 13) <= 0.5 / run.tail_at


def test_runs_ahead_of_a_clip_go_backwards_from_it() -> None:
    found = windows(100, 0, 16, 49)
    assert [run.stop for run in found] == [100, *(run.first for run in found[:-1])]
    assert found[-1].first == 0


@pytest.mark.parametrize("count", [1, 8, 9, 41, 42, 100, 300])
def test_strips_of_light_share_eight_frames(count: int) -> None:
    found = strips(count, LEAST)
    assert found[0].first == 0
    assert found[-1].stop == count
    for one, other in pairwise(found):
        assert other.first == one.stop - 8
    assert all(part.length == padded(part.stop - part.first) <= LEAST for part in found)


@pytest.mark.parametrize(
    ("height", "width", "aspect"),
    [(1080, 1920, 1.0), (37, 101, 1.0), (858, 1024, 2.0), (700, 300, 1)],
)
def test_a_size_is_a_multiple_of_32_with_the_aspect_kept(
    height: int, width: int, aspect: float
) -> None:
    fit = Fit.of(height, width, aspect, 768 * 512)
    assert fit.model[0] % 32 == fit.model[1] % 32 == 0
    assert all(0 <= m - c < 32 for m, c in zip(fit.model, fit.content, strict=True))
    assert fit.content[1] / fit.content[0] == pytest.approx(width * aspect / height, rel=0.02)
    smooth = np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width, 1)
    smooth = np.repeat(smooth, 3, axis=2)
    back = fit.to_plate(fit.to_model(smooth))
    assert back.shape == smooth.shape
    assert np.abs(back - smooth).max() < 0.03


@pytest.mark.parametrize(("height", "width"), [(1, 1), (32, 32), (20, 4000), (3000, 8)])
def test_a_side_has_at_least_two_latents(height: int, width: int) -> None:
    fit = Fit.of(height, width, 1.0, 768 * 512)
    assert min(fit.model) >= 64
    picture = np.full((height, width, 3), 0.5, np.float32)
    assert fit.to_model(picture).shape == (*fit.model, 3)
    assert fit.to_plate(fit.to_model(picture)) == pytest.approx(picture, abs=1e-5)


def test_a_picture_that_fits_keeps_its_bits() -> None:
    picture = np.random.default_rng(1).random((50, 70, 3), np.float32)
    fit = Fit.of(50, 70, 1.0, 768 * 512)
    assert np.array_equal(fit.to_plate(fit.to_model(picture)), picture)


def test_a_join_takes_away_a_step_in_tone_on_both_sides() -> None:
    made = np.full((32, 32, 3), 0.5, np.float32)
    join = Join(difference(made + 0.1, made), difference(made - 0.1, made))
    assert join.applied(made, 0.0) == pytest.approx(made + 0.1, abs=1e-6)
    assert join.applied(made, 0.5) == pytest.approx(made, abs=1e-6)
    assert join.applied(made, 1.0) == pytest.approx(made - 0.1, abs=1e-6)
