"""A membrane takes a model's drift away at the edge of the hole, calmly, and nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.imaging.seam import membrane

Pixels = NDArray[np.float32]
HEIGHT, WIDTH = 120, 160
GRAIN = 0.02


def scene() -> Pixels:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    light = 0.4 + 0.2 * np.sin(x / 40) + 0.15 * np.cos(y / 30)
    return np.repeat(light[..., None], 3, axis=-1)


def drift() -> Pixels:
    x = np.arange(WIDTH, dtype=np.float32)
    even = np.stack([0.03 * np.sin(x / 60), 0.02 + 0 * x, -0.03 * np.cos(x / 50)], axis=-1)
    return np.broadcast_to(even, (HEIGHT, WIDTH, 3)).astype(np.float32)


def hole() -> NDArray[np.bool_]:
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[40:84, 50:110] = True
    return inside


def rim(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    kernel = np.ones((7, 7), np.uint8)
    return inside & (cv2.erode(inside.astype(np.uint8), kernel) == 0)


def grainy(light: Pixels, seed: int) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, GRAIN, light.shape)
    return (light + noise).astype(np.float32)


def rms(values: Pixels) -> float:
    return float(np.sqrt(np.square(values).mean()))


def test_a_drift_is_gone_at_the_seam_although_the_plate_has_grain() -> None:
    added = membrane(grainy(scene(), 1), scene() + drift(), hole())
    assert rms((added + drift())[rim(hole())]) < 0.15 * rms(drift())
    assert rms((added + drift())[hole()]) < 0.2 * rms(drift())


def test_a_still_shot_has_a_still_membrane() -> None:
    first, second = (membrane(grainy(scene(), seed), scene() + drift(), hole()) for seed in (1, 2))
    assert rms((first - second)[hole()]) < GRAIN / 8


@pytest.mark.parametrize("offset", [0.0, 0.05, -0.3])
def test_an_even_offset_is_taken_away_everywhere(offset: float) -> None:
    added = membrane(scene(), scene() - np.float32(offset), hole())
    assert np.abs(added[hole()] - offset).max() < 2e-4


def test_a_leftover_beside_the_hole_does_not_bleed_into_it() -> None:
    """Part of the object's shadow, which the matte missed and the model removed."""
    plate = scene()
    plate[84:100, 60:80] -= 0.3
    added = membrane(plate, scene() + drift(), hole())
    assert np.abs((added + drift())[hole()]).max() < 0.03


def test_an_enlarged_picture_is_joined_over_a_wider_ring() -> None:
    soft = cv2.GaussianBlur(scene() + drift(), (0, 0), 3)
    added = membrane(grainy(scene(), 1), soft, hole(), scale=4)
    assert rms((added + drift())[rim(hole())]) < 0.35 * rms(drift())


def test_where_nothing_is_kept_nothing_is_added() -> None:
    everything = np.ones((8, 8), bool)
    plate = np.ones((8, 8, 3), np.float32)
    assert not membrane(plate, plate * 2, everything).any()
    assert not membrane(plate, plate * 2, ~everything).any()


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (2, 2), (5, 64)])
def test_holes_of_any_shape_have_a_finite_membrane(size: tuple[int, int]) -> None:
    inside = np.zeros(size, bool)
    inside[0, 0] = True
    plate = np.ones((*size, 3), np.float32)
    added = membrane(plate, plate * np.float32(0.98), inside)
    assert added.shape == (*size, 3)
    assert np.isfinite(added).all()
