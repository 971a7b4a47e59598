"""Outside the matte not one bit changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.imaging.merge import merge

HALVES = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(256, 256)


def floats(shape: tuple[int, ...], value: float) -> NDArray[np.float32]:
    return np.full(shape, value, np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_word_that_is_kept_stays_as_it_is(dtype: Any) -> None:
    """All half floats, or random words: NaNs with payloads, infinities and -0.0 are among them."""
    words: NDArray[Any] = HALVES
    if dtype is np.float32:
        random = np.random.default_rng(0)
        words = random.integers(0, 2**32, HALVES.shape, dtype=np.uint32).view(np.float32)
        words[0, :4] = np.nan, np.inf, -np.inf, -0.0
    alpha = floats(words.shape, 0)
    alpha[::2, ::3] = 1
    result = floats(words.shape, np.nan)
    result[alpha > 0] = 0.25

    merged = merge(words, result, alpha)

    kept = alpha == 0
    assert merged.dtype == words.dtype
    assert merged[kept].tobytes() == words[kept].tobytes()
    assert (merged[~kept] == 0.25).all()


def test_the_weight_mixes_in_float32() -> None:
    plate = np.array([[1.0, 1.0, 1.0]], np.float16)
    result = floats((1, 3), 3)
    alpha = np.array([[0.25, 0.5, 1]], np.float32)
    assert merge(plate, result, alpha).tolist() == [[1.5, 2.0, 3.0]]


def test_a_plate_that_is_not_finite_is_not_mixed_in() -> None:
    plate = np.array([[np.nan, np.inf, -np.inf]], np.float16)
    assert merge(plate, floats((1, 3), 2), floats((1, 3), 0.5)).tolist() == [[2.0, 2.0, 2.0]]


def test_generated_pixels_stop_at_the_largest_value_of_the_type() -> None:
    plate = np.zeros((1, 4), np.float16)
    result = np.array([[1e6, -1e6, np.inf, 65519]], np.float32)
    assert merge(plate, result, floats((1, 4), 1)).tolist() == [[65504, -65504, 65504, 65504]]
    whole = merge(plate.astype(np.float32), result, floats((1, 4), 1))
    assert np.isfinite(whole).all()
    assert whole[0, 0] == 1e6


def test_a_mix_of_the_largest_floats_does_not_overflow() -> None:
    largest = float(np.finfo(np.float32).max)
    merged = merge(floats((1, 1), -largest), floats((1, 1), largest), floats((1, 1), 0.5))
    assert merged[0, 0] == 0


def test_the_plate_itself_is_left_alone() -> None:
    plate = np.ones((2, 2), np.float16)
    merge(plate, floats((2, 2), 0), floats((2, 2), 1))
    assert (plate == 1).all()


def test_a_nan_of_the_engine_is_an_error_and_no_pixel() -> None:
    with pytest.raises(ValueError, match="1 pixels that are NaN"):
        merge(np.ones((1, 2), np.float16), np.array([[np.nan, 0]], np.float32), floats((1, 2), 1))


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="uint32"):
        merge(np.ones((1, 2), np.uint32), floats((1, 2), 1), floats((1, 2), 1))
    with pytest.raises(ValueError, match=r"\(1, 3\)"):
        merge(np.ones((1, 2), np.float16), floats((1, 3), 1), floats((1, 2), 1))
