"""The region holds the hole, has the engine's shape, follows calmly, and is undone exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voidbridge_backend.imaging.crop import Crop, moving, still, whole
from voidbridge_backend.imaging.region import Region

PLATE = (540, 960)
ASPECT = 672 / 384


def contains(region: Region, hole: Region) -> bool:
    return region.union(hole) == region


def on_plate(region: Region, plate: tuple[int, int]) -> bool:
    return contains(Region.whole(plate), region)


holes = st.lists(
    st.none()
    | st.builds(
        Region, st.integers(0, 300), st.integers(0, 200), st.integers(1, 90), st.integers(1, 70)
    ),
    min_size=1,
    max_size=12,
)


@given(holes, st.sampled_from([ASPECT, 1 / ASPECT, 1.0, ASPECT / 2]))
def test_every_hole_is_inside_and_the_size_never_changes(
    shown: list[Region | None], aspect: float
) -> None:
    plate = (300, 420)
    by_frame = {-3 + frame: hole for frame, hole in enumerate(shown)}
    for crop in (still(by_frame, plate, aspect), moving(by_frame, plate, aspect)):
        assert set(crop.regions) == set(by_frame)
        assert {region.size for region in crop.regions.values()} == {crop.size}
        for frame, hole in by_frame.items():
            assert on_plate(crop.regions[frame], plate)
            assert hole is None or contains(crop.regions[frame], hole)


def test_the_region_has_the_shape_of_the_engine() -> None:
    crop = still({1: Region(400, 200, 60, 90)}, PLATE, ASPECT)
    high, wide = crop.size
    assert wide / high == pytest.approx(ASPECT, rel=0.01)
    assert crop.note == ""


def test_at_the_edge_of_the_plate_the_shape_stays_and_the_surrounding_shrinks() -> None:
    crop = still({1: Region(10, 10, 800, 400)}, PLATE, ASPECT)
    assert crop.size[1] / crop.size[0] == pytest.approx(ASPECT, rel=0.01)
    assert contains(crop.regions[1], Region(10, 10, 800, 400))


def test_what_is_too_large_gets_the_whole_frame_and_a_note() -> None:
    for choose in (still, moving):
        crop = choose({1: Region(0, 100, 955, 200)}, PLATE, ASPECT)
        assert crop.regions[1] == Region.whole(PLATE)
        assert "955x200" in crop.note
        assert "whole frame" in crop.note


def test_a_shot_without_a_hole_is_shown_whole() -> None:
    assert moving({1: None, 2: None}, PLATE, ASPECT) == whole([1, 2], PLATE)
    assert still({1: None}, PLATE, ASPECT) == whole([1], PLATE)


def starts(crop: Crop) -> np.ndarray:
    return np.array([region.left for region in crop.regions.values()])


def test_a_moving_region_stays_near_a_walker_and_is_smaller_than_one_around_the_way() -> None:
    walk = {frame: Region(50 + 15 * frame, 200, 40, 80) for frame in range(50)}
    track, union = moving(walk, PLATE, ASPECT), still(walk, PLATE, ASPECT)
    assert track.size[1] < union.size[1] / 2
    steps = np.diff(starts(track))
    assert (np.abs(steps[8:-8] - 15) <= 1).all()


def test_a_shaking_hole_moves_the_region_less_than_itself() -> None:
    random = np.random.default_rng(0)
    shake = {f: Region(400 + int(random.integers(-6, 7)), 200, 40, 80) for f in range(60)}
    middles = np.array([hole.left for hole in shake.values()])
    assert np.diff(starts(moving(shake, PLATE, ASPECT))).std() < np.diff(middles).std() / 5


def test_between_two_appearances_the_region_wanders() -> None:
    gone: dict[int, Region | None] = dict.fromkeys(range(40))
    gone[0], gone[39] = Region(100, 200, 40, 40), Region(700, 200, 40, 40)
    assert (np.diff(starts(moving(gone, PLATE, ASPECT))) >= 0).all()
