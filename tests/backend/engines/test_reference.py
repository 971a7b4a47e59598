import math

import numpy as np
import pytest

from voidbridge_backend.quality.reference import PEAK, Quality, encode


def frame(light: float, height: int = 32, width: int = 48) -> np.ndarray:
    return np.full((height, width, 3), light, np.float32)


def hole() -> np.ndarray:
    inside = np.zeros((32, 48), bool)
    inside[:, :32] = True
    return inside


def test_the_encoding_is_odd_rising_and_brings_the_peak_to_one() -> None:
    light = np.float32([-65504, -1, 0, 0.18, 1, PEAK, 65504])
    curve = encode(light)
    np.testing.assert_array_equal(curve, -encode(-light))
    assert (np.diff(curve) > 0).all()
    assert curve[5] == pytest.approx(1)


def test_a_constant_error_has_the_psnr_of_its_size() -> None:
    light = frame(0.5)
    quality = Quality()
    quality.add(light, frame(0.25), light, hole())
    error = float(encode(light)[0, 0, 0] - encode(frame(0.25))[0, 0, 0])
    assert quality.report().hole_psnr_db == pytest.approx(-20 * math.log10(error), abs=1e-4)


def test_what_lies_outside_the_hole_does_not_change_the_psnr() -> None:
    truth, plate = frame(0.5), frame(0.5)
    plate[:, 32:] = 9
    quality = Quality()
    quality.add(plate, truth, plate, hole())
    assert quality.report().hole_psnr_db == math.inf
    assert quality.report().outside_differing == 0


def test_one_flipped_bit_outside_the_hole_is_counted() -> None:
    plate = frame(0.0)
    plate[3, 40] = np.nan
    result = plate.copy()
    result[5, 41, 2] = -0.0
    quality = Quality()
    quality.add(result, frame(0), plate, hole())
    assert quality.report().outside_differing == 1


def test_flicker_is_told_beside_the_truth_s_own() -> None:
    quality = Quality()
    for n in range(4):
        quality.add(frame(0.5 + 0.02 * (n % 2)), frame(0.5 + 0.01 * (n % 2)), frame(0.5), hole())
    assert quality.report().flicker_ratio == pytest.approx(2, rel=0.02)
    assert quality.report().pumping == pytest.approx(quality.report().flicker, rel=1e-4)


def test_a_picture_that_moves_with_the_camera_does_not_flicker() -> None:
    rng = np.random.default_rng(0)
    wide = rng.uniform(0, 1, (32, 60, 3)).astype(np.float32)
    quality = Quality()
    for n in range(3):
        seen = np.ascontiguousarray(wide[:, n : n + 48])
        quality.add(seen, seen, seen, hole(), np.float64([[1, 0, -1], [0, 1, 0], [0, 0, 1]]))
    assert quality.report().flicker < 1e-6
