"""Fresh grain has the plate's strength at each brightness, coarseness and color, and is new in each frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.imaging.grain import Grain, Sample

Pixels = NDArray[np.float32]
HEIGHT, WIDTH = 256, 384
READ, SHOT = 0.004, 0.0009
EVERYWHERE = np.ones((HEIGHT, WIDTH), bool)


def light(textured: bool = False) -> Pixels:
    x = np.linspace(0, 1, WIDTH, dtype=np.float32)
    steps = 0.05 * np.exp2(5 * x)
    scene = np.stack([steps, 0.7 * steps, 0.4 * steps[::-1]], axis=-1)
    scene = np.broadcast_to(scene, (HEIGHT, WIDTH, 3)).copy()
    if textured:
        rough = np.random.default_rng(9).normal(0, 0.15, (HEIGHT // 2, WIDTH, 1))
        scene[: HEIGHT // 2] *= (1 + rough).astype(np.float32)
    return scene


def noise(seed: int, coarse: float, alike: float) -> Pixels:
    rng = np.random.default_rng(seed)
    own = rng.standard_normal((HEIGHT, WIDTH, 3), np.float32)
    one = rng.standard_normal((HEIGHT, WIDTH, 1), np.float32)
    white = np.sqrt(1 - alike) * own + np.sqrt(alike) * one
    soft = cv2.GaussianBlur(white, (0, 0), coarse) if coarse else white
    return (soft / soft.std()).astype(np.float32)


def deviation(scene: Pixels) -> Pixels:
    return np.sqrt(np.float32(READ**2) + np.float32(SHOT) * scene)


def plate(seed: int = 0, coarse: float = 0.7, alike: float = 0.3, textured: bool = False) -> Pixels:
    scene = light(textured)
    return scene + deviation(light()) * noise(seed, coarse, alike)


def grain_of(*plates: Pixels) -> Grain:
    sample = Sample()
    for pixels in plates:
        sample.add(pixels, EVERYWHERE)
    grain = sample.measured()
    assert grain is not None
    return grain


@pytest.mark.parametrize("textured", [False, True], ids=["calm", "half of it texture"])
def test_the_level_is_measured_at_each_brightness(textured: bool) -> None:
    grain = grain_of(*(plate(seed, textured=textured) for seed in range(4)))
    ratio = (grain.deviation(light()) / deviation(light()))[:, 20:-20]
    assert np.abs(ratio.mean(axis=0) - 1).max() < 0.12
    assert ratio.mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("coarse", [0.0, 0.7, 1.2])
def test_fresh_grain_is_as_coarse_as_the_plates(coarse: float) -> None:
    fresh = grain_of(plate(1, coarse), plate(2, coarse)).drawn(HEIGHT, WIDTH, 0, 1001)
    real = noise(5, coarse, 0.3)
    assert fresh.std() == pytest.approx(1, abs=0.03)
    for step in (1, 2, 3):
        for moved in (np.roll(fresh, step, 1), np.roll(fresh, step, 0)):
            want = (real * np.roll(real, step, 1)).mean()
            assert (fresh * moved).mean() == pytest.approx(want, abs=0.09)


def test_channels_are_as_alike_as_the_plates() -> None:
    for alike in (0.0, 0.5):
        fresh = grain_of(plate(1, 0.7, alike)).drawn(HEIGHT, WIDTH, 0, 1)
        assert (fresh[..., 0] * fresh[..., 1]).mean() == pytest.approx(alike, abs=0.06)


def test_frames_are_independent_and_the_same_frame_is_the_same() -> None:
    grain = grain_of(plate())
    one, again, next_ = (grain.drawn(64, 64, 7, frame) for frame in (-5, -5, -4))
    assert one.tobytes() == again.tobytes()
    assert abs((one * next_).mean()) < 0.05
    assert one.tobytes() != grain.drawn(64, 64, 8, -5).tobytes()


def inner() -> Pixels:
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    alpha[60:200, 90:300] = 1
    return alpha


@pytest.mark.parametrize("own", [0.0, 0.5, 1.0], ids=["smooth", "half", "has its own"])
def test_inside_and_outside_differ_by_less_than_a_tenth(own: float) -> None:
    """The picture has `own` of the plate's grain already; only what is missing is added."""
    grain = grain_of(plate(1), plate(2))
    picture = light() + np.float32(own) * deviation(light()) * noise(3, 0.7, 0.3)
    result = grain.added(picture, inner(), 0, 1)
    inside = (inner() > 0)[:, 90:300]
    for plane in range(3):
        found = ((result - light()) / deviation(light()))[:, 90:300][inside][:, plane].std()
        assert found == pytest.approx(1, abs=0.1)


def test_a_picture_with_real_grain_is_left_alone() -> None:
    picture = plate(3)
    result = grain_of(plate(1), plate(2)).added(picture, inner(), 0, 1)
    assert (result != picture).mean() < 0.002


def test_a_mix_has_the_plates_grain_too() -> None:
    grain = grain_of(plate(1), plate(2))
    half = inner() * np.float32(0.5)
    result = grain.added(light(), half, 0, 1)
    mixed = half[..., None] * result + (1 - half[..., None]) * plate(4)
    found = ((mixed - light()) / deviation(light()))[inner() > 0].std()
    assert found == pytest.approx(1, abs=0.1)


def test_the_amount_scales_what_is_added() -> None:
    grain = grain_of(plate())
    one, two, none = (grain.added(light(), inner(), 0, 1, amount) - light() for amount in (1, 2, 0))
    assert np.allclose(two, 2 * one, atol=1e-6)
    assert not none.any()


def test_black_gets_a_fifth_less_and_what_is_brighter_than_its_grain_gets_all() -> None:
    grain, everywhere = grain_of(plate(1), plate(2)), np.ones((HEIGHT, WIDTH), np.float32)
    for level, part in ((1e-6, 0.8), (1.0, 1.0)):
        even = np.full((HEIGHT, WIDTH, 3), level, np.float32)
        added = grain.added(even, everywhere, 0, 1) - even
        assert added.std() == pytest.approx(part * grain.deviation(even).mean(), rel=0.03)


def test_nothing_is_said_about_a_plate_without_grain_or_without_room() -> None:
    still = Sample()
    still.add(np.full((256, 256, 3), 0.5, np.float32), np.ones((256, 256), bool))
    assert (still.measured(), still.lacks_room) == (None, False)
    small = Sample()
    small.add(plate()[:40, :40], np.ones((40, 40), bool))
    assert (small.measured(), small.lacks_room) == (None, True)


def test_grain_is_found_between_many_small_holes() -> None:
    """Tracking markers on a screen: hardly any block of the grid is free of them."""
    free = np.ones((180, 320), bool)
    free[::40] = free[:, ::40] = False
    rng = np.random.default_rng(3)
    sample = Sample()
    for _ in range(3):
        screen = np.full((180, 320, 3), (0.05, 0.35, 0.08), np.float32)
        screen += 0.006 * rng.standard_normal(screen.shape, np.float32)
        sample.add(screen, free)
    grain = sample.measured()
    assert grain is not None
    assert np.concatenate(grain.deviations) == pytest.approx(0.006, rel=0.15)


def test_a_channel_that_is_the_same_in_two_frames_has_no_grain() -> None:
    one, other = plate(1), plate(2)
    other[..., 2] = one[..., 2] = light(textured=True)[..., 2]
    sample = Sample()
    sample.add(one, EVERYWHERE, other)
    grain = sample.measured()
    assert grain is not None
    added = grain.added(light(), EVERYWHERE.astype(np.float32), 1, 1) - light()
    assert np.abs(added[..., 2]).max() == 0
    assert 0.7 < (added / deviation(light()))[..., :2].std() < 1.3


def test_nan_and_what_is_not_free_are_never_looked_at() -> None:
    spoiled = plate(1)
    free = EVERYWHERE.copy()
    spoiled[:64, :64], spoiled[100, 200] = 1000, np.nan
    spoiled[:64, :64:2], free[:64, :64] = 0, False
    sample = Sample()
    sample.add(spoiled, free)
    grain = sample.measured()
    assert grain is not None
    assert grain.deviation(light()).max() < 0.05


def test_a_brightness_that_is_all_texture_is_told_by_the_next() -> None:
    rough = plate(1)
    dark = light()[..., 0] < 0.12
    coarse = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 1, dark.shape), (0, 0), 1)
    rough[dark] += (0.2 * coarse[dark])[:, None].astype(np.float32)
    found = grain_of(rough).deviation(light())[dark][:, 0]
    assert found.max() < 2 * deviation(light())[dark][:, 0].max()
