"""The nearness of a background's pixels: borders between depths, and what few sources tell."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from voidbridge_backend.engines.cleanplate.motion.nearness.agreement import (
    BOTH,
    ReducedSource,
    ReducedTarget,
    by_side,
)
from voidbridge_backend.engines.cleanplate.motion.nearness.border import placed
from voidbridge_backend.engines.cleanplate.motion.nearness.refinement import refined
from voidbridge_backend.engines.cleanplate.motion.parallax import Way, parallax
from voidbridge_backend.engines.cleanplate.motion.tracks import Tracks

HEIGHT, WIDTH, BORDER, EDGE = 48, 72, 20, 40
SHIFTS = (-6, -4, 4, 6)


def _picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.random((HEIGHT // 4 + 2, WIDTH // 4 + 12)).astype(np.float32)
    size = WIDTH + 40, HEIGHT
    return 255 * np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _seen(shift: int) -> np.ndarray:
    """A far wall that stands still, and near things below the row BORDER that move by `shift`."""
    seen = _picture(1)[:, 20 : 20 + WIDTH].copy()
    seen[BORDER:] = _picture(2)[BORDER:, 20 - shift : 20 - shift + WIDTH]
    return seen


def test_a_border_between_depths_goes_where_the_sources_of_its_pixels_agree() -> None:
    free = np.ones((HEIGHT, WIDTH), bool)
    free[8:34, 24:48] = False
    view = ReducedTarget(np.where(free, _seen(0), 0).astype(np.float32), free, np.eye(3))
    pieces = [
        ReducedSource(_seen(by), shown, Way(np.eye(3), shift), by, np.eye(3))
        for by in SHIFTS
        for shown, shift in [(np.full(free.shape, 255, np.uint8), np.array([by, 0.0, 0.0]))]
    ]
    near = np.zeros(free.shape, np.float32)
    near[BORDER + 2 :] = 1
    near[BORDER - 2 :, 30:40] = 1
    found, asked = refined(view, pieces, near, 0.2)
    inside = np.s_[10:32, 26:46]
    truth = (np.arange(HEIGHT) >= BORDER)[:, None] & free.any(0)
    assert np.abs(found - truth)[inside].max() < 0.1
    assert asked.all(0)[inside].mean() > 0.9


@pytest.mark.parametrize("follows", [1, 0], ids=["with what is near", "not at all"])
def test_a_slanted_border_is_taken_from_where_the_sources_have_it(follows: int) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]

    def seen(by: int) -> np.ndarray:
        far, close = (_picture(seed)[:, 20 - move :][:, :WIDTH] for seed, move in ((1, 0), (2, by)))
        return np.where(y > 14 + 0.3 * (x - follows * by), close, far)

    hole = (np.abs(y - 24) < 15) & (np.abs(x - 36) < 11)
    view = ReducedTarget(np.where(hole, 0, seen(0)).astype(np.float32), ~hole, np.eye(3))
    pieces = [
        ReducedSource(seen(by), shown, Way(np.eye(3), np.array([by, 0.0, 0.0])), by, np.eye(3))
        for by in (-14, -10, -6, 6, 10, 14)
        for shown in [np.full(hole.shape, 255, np.uint8)]
    ]
    truth = y > 14 + 0.3 * x
    near = np.where(hole, y > 32, truth).astype(np.float32)
    found, hidden = placed(view, pieces, near, 0.2)
    sure = hole & (np.abs(y - 14 - 0.3 * x) > 1)
    assert (np.abs(found - near) > 0.5)[sure].mean() > 0.05
    assert (np.abs(found - truth) > 0.5)[sure].mean() < 0.01
    covered = ~truth & (y > 14 + 0.3 * (x - 14 * follows)) & sure
    assert covered.any() == (follows > 0)
    assert hidden[-1][covered].sum() >= 0.8 * covered.sum()


def test_an_edge_goes_with_what_tells_its_nearness_and_not_with_the_even_patch_beside_it() -> None:
    free = np.ones((HEIGHT, WIDTH), bool)
    free[8:40, 24:60] = False
    wide = _picture(5) / 2 + 100
    wide[:, : 20 + EDGE] = 20
    view = ReducedTarget(np.where(free, wide[:, 20:-20], 0).astype(np.float32), free, np.eye(3))
    pieces = [
        ReducedSource(
            wide[:, 20 - by : 20 - by + WIDTH].copy(), shown, Way(np.eye(3), shift), 1, np.eye(3)
        )
        for by in (3, 4, 5, 6)
        for shown, shift in [(np.full(free.shape, 255, np.uint8), np.array([by, 0.0, 0.0]))]
    ]
    near = np.ones(free.shape, np.float32)
    near[8:40, 24 : EDGE + 2] = 0
    found = refined(view, pieces, near, 0.2)[0]
    right = np.abs(found[12:36, EDGE : EDGE + 2] - 1) < 0.2
    assert right[:, 0].all()
    assert right[:, 1].mean() > 0.6


def test_few_sources_agree_no_better_by_chance_than_many() -> None:
    rng = np.random.default_rng(3)
    plate, hole = np.zeros((80, 80), np.float32), np.zeros((80, 80), bool)
    costs = []
    for count in (2, 3, 12):
        luma = rng.normal(100, 2, (count, 80, 80)).astype(np.float32)
        shown = np.ones(luma.shape, bool)
        sides = np.ones(count, np.intp)
        costs.append(float(by_side(plate, hole, sides, luma, shown)[BOTH].mean()))
    assert max(costs) < 1.2 * min(costs)


def test_points_that_wander_tell_of_no_nearness() -> None:
    rng = np.random.default_rng(4)
    places = np.column_stack([rng.uniform(0, 320, 240), rng.uniform(0, 180, 240)])
    near = (places[:, 1] > 90) * 1.0
    wander = np.arange(240) % 12 == 0
    tracks = Tracks(320)
    for frame in range(12):
        at = places - np.outer(near, (5.0 * frame, 0))
        at[wander] += rng.uniform(-12, 12, (int(wander.sum()), 2))
        tracks._at[frame] = np.arange(240, dtype=np.int32), at.astype(np.float32)
    found = parallax(tracks, 5, dict.fromkeys(range(12), np.eye(3)))
    assert found is not None
    away = np.hypot(*(found.points[:, None] - tracks.of(5)[1][None]).transpose(2, 0, 1))
    assert not wander[away.argmin(1)[away.min(1) < 0.01]].any()
    depths = np.sort(found.nearness)
    assert np.diff(depths).max() > 0.8 * np.ptp(depths)
