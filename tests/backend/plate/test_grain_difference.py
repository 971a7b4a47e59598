"""Grain is what differs over time: fine texture that stays is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from voidbridge_backend.imaging.grain import Grain, Sample
from voidbridge_backend.imaging.grain_difference import Pixels

HEIGHT, WIDTH = 200, 320
FREE = np.ones((HEIGHT, WIDTH), bool)
LEVEL = 0.01


def textured(shift: float = 0.0) -> Pixels:
    """Fine texture everywhere, moved sideways by `shift` pixels."""
    rough = (
        np.random.default_rng(3).standard_normal((HEIGHT + 80, WIDTH + 80, 3)).astype(np.float32)
    )
    fine = cv2.GaussianBlur(rough, (0, 0), 1.3) + 8 * cv2.GaussianBlur(rough, (0, 0), 9)
    move = np.array([[1, 0, 40 + shift], [0, 1, 40]], np.float64)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(
        0.4 + 0.3 * cv2.warpAffine(fine, move, (WIDTH, HEIGHT), flags=flags), np.float32
    )


def grained(picture: Pixels, seed: int) -> Pixels:
    noise = np.random.default_rng(seed).standard_normal(picture.shape)
    return np.asarray(picture + LEVEL * noise, np.float32)


def measured(plate: Pixels, other: Pixels | None) -> Grain | None:
    sample = Sample()
    sample.add(plate, FREE, other)
    return sample.measured()


@pytest.mark.parametrize("shift", [0.0, 8.0])
def test_texture_that_stays_or_moves_is_no_grain(shift: float) -> None:
    assert measured(textured(), None) is not None
    assert measured(textured(), textured(shift)) is None


@pytest.mark.parametrize("shift", [0.0, 5.0, 2.4])
def test_grain_over_texture_is_measured(shift: float) -> None:
    found = measured(grained(textured(), 1), grained(textured(shift), 2))
    assert found is not None
    level = float(np.median(found.deviation(textured())))
    assert level / LEVEL == pytest.approx(1, abs=0.2)


def test_a_change_of_exposure_is_no_grain() -> None:
    assert measured(textured(), textured() * np.float32(0.6)) is None


def test_digital_black_gets_no_grain() -> None:
    found = measured(grained(textured(), 1), grained(textured(), 2))
    assert found is not None
    black = np.zeros((60, 60, 3), np.float32)
    assert not found.added(black, np.ones((60, 60), np.float32), 0, 1).any()
