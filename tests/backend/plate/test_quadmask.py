"""The quadmask decides which pixels are removed, and how far that reaches; pixels outside stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from voidbridge_backend.exr.header import Window
from voidbridge_backend.imaging.mattes.quadmask import (
    AFFECTED,
    KEEP,
    OVERLAP,
    REMOVE,
    from_mattes,
    from_quadmask,
    hole,
    on_window,
    snapped,
)
from voidbridge_protocol.errors import BadMatte, FrameMismatch

ONE_DOT = np.full((41, 41), KEEP, np.uint8)
ONE_DOT[20, 20] = REMOVE
ROWS, COLUMNS = np.mgrid[:41, :41]
FROM_DOT = np.hypot(ROWS - 20, COLUMNS - 20)


def row(*values: float, dtype: Any = np.float32) -> NDArray[Any]:
    return np.array([values], dtype)


def brute_distance(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows, columns = np.nonzero(inside)
    at = np.mgrid[: inside.shape[0], : inside.shape[1]]
    every = np.hypot(at[0][..., None] - rows, at[1][..., None] - columns)
    nearest: NDArray[np.float64] = every.min(axis=-1)
    return nearest


def test_a_matte_is_set_from_its_threshold_on() -> None:
    found = from_mattes(row(0, 0.09, 0.1, 0.5, 1, 1.2, -1), None, 0.1, 0, 0)
    assert found.codes.tolist() == [[KEEP, KEEP, REMOVE, REMOVE, REMOVE, REMOVE, KEEP]]
    assert found.alpha.tolist() == [[0, 0, 1, 1, 1, 1, 0]]


def test_the_threshold_is_not_rounded_to_the_type_of_the_matte() -> None:
    """0.1 as a half is 0.09998."""
    values = row(0.1, 0.10004, dtype=np.float16)
    assert from_mattes(values, None, 0.1, 0, 0).codes.tolist() == [[KEEP, REMOVE]]


def test_two_mattes_make_the_four_codes() -> None:
    found = from_mattes(row(0, 1, 0, 1), row(0, 0, 1, 1), 0.1, 0, 0)
    assert found.codes.tolist() == [[KEEP, REMOVE, AFFECTED, OVERLAP]]
    assert found.alpha.tolist() == [[0, 1, 1, 1]]


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (row(0, 63, 127, 255, dtype=np.uint32), 255),
        (row(0, 63, 127, 255, dtype=np.float16), 255),
        ((row(0, 63, 127, 255) / 255).astype(np.float16), 1),
        (row(0, 63, 127, 255) / 255, 1),
    ],
    ids=["codes as uint", "codes as half", "half", "float"],
)
def test_a_quadmask_is_read_in_each_of_its_forms(values: NDArray[Any], unit: float) -> None:
    assert from_quadmask(values, unit, 0, 0).codes.tolist() == [[REMOVE, OVERLAP, AFFECTED, KEEP]]


def test_a_filtered_quadmask_takes_the_nearest_codes_and_counts_them() -> None:
    found = snapped(row(-3, 20, 40, 64, 100, 180, 200, 255, 260), 255)
    assert found.codes.tolist() == [[0, 0, 63, 63, 127, 127, 255, 255, 255]]
    assert found.off == 7


@given(st.integers(0, 2**32 - 1))
def test_without_growth_a_quadmask_stays_as_it_is(seed: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.choice(np.array([0, 63, 127, 255], np.uint8), (5, 7), p=[0.1, 0.1, 0.1, 0.7])
    found = hole(codes, 0, 0)
    assert np.array_equal(found.codes, codes)
    assert np.array_equal(found.alpha == 1, codes != KEEP)
    assert np.array_equal(found.alpha == 0, codes == KEEP)


@pytest.mark.parametrize(("grow", "soften"), [(0, 5), (5, 0), (3, 4), (8, 8), (0.5, 1.5)])
def test_the_reach_is_growth_plus_softness_and_round(grow: float, soften: float) -> None:
    found = hole(ONE_DOT, grow, soften)
    assert np.array_equal(found.codes == REMOVE, grow + soften >= FROM_DOT)
    assert np.array_equal(found.alpha == 1, np.maximum(grow, 0) >= FROM_DOT)
    behind = (FROM_DOT > grow) & (FROM_DOT < grow + soften)
    assert ((found.alpha > 0) & (found.alpha < 1) == behind).all()


def test_the_weight_falls_evenly_from_the_middle_out() -> None:
    weights = hole(ONE_DOT, 4, 10).alpha[20, 20:36]
    assert (weights[:5] == 1).all()
    assert (np.diff(weights[4:15]) < 0).all()
    assert weights[9] == 0.5
    assert (weights[14:] == 0).all()


@given(st.integers(0, 2**32 - 1), st.floats(0, 6), st.floats(0, 6))
def test_the_engine_is_told_of_every_pixel_that_is_replaced(
    seed: int, grow: float, soften: float
) -> None:
    random = np.random.default_rng(seed)
    codes = random.choice(
        np.array([0, 63, 127, 255], np.uint8), (9, 13), p=[0.02, 0.02, 0.02, 0.94]
    )
    found = hole(codes, grow, soften)
    assert (found.codes[found.alpha > 0] != KEEP).all()
    if (codes != KEEP).any():
        far = brute_distance(codes != KEEP) > grow + soften + 1e-4
        assert (found.alpha[far] == 0).all()
        assert (found.codes[far] == KEEP).all()
    assert (found.alpha[codes != KEEP] == 1).all()


def test_growth_mixes_the_classes_only_where_they_meet() -> None:
    codes = np.full((1, 12), KEEP, np.uint8)
    codes[0, 2], codes[0, 5:9] = REMOVE, AFFECTED
    found = hole(codes, 2, 0)
    assert found.codes.tolist() == [
        [REMOVE, REMOVE, REMOVE, OVERLAP, OVERLAP, 127, 127, 127, 127, 127, 127, KEEP]
    ]


def test_an_empty_matte_is_no_hole() -> None:
    found = from_mattes(np.zeros((4, 6), np.float16), None, 0.1, 8, 8)
    assert found.is_empty
    assert (found.codes == KEEP).all()


def test_a_full_matte_is_all_hole() -> None:
    found = from_mattes(np.ones((4, 6), np.float16), np.ones((4, 6), np.float16), 0.1, 8, 8)
    assert (found.alpha == 1).all()
    assert (found.codes == OVERLAP).all()


def test_growth_stops_at_the_edge_of_the_picture() -> None:
    codes = np.full((20, 20), KEEP, np.uint8)
    codes[0, 19] = REMOVE
    found = hole(codes, 3, 0)
    assert found.codes[0].tolist() == [KEEP] * 16 + [REMOVE] * 4
    assert (found.codes[:, 0] == KEEP).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_matte_that_is_not_finite_is_refused(wrong: float) -> None:
    with pytest.raises(BadMatte, match="1 pixels"):
        from_mattes(row(0, wrong), None, 0.1, 0, 0)
    with pytest.raises(BadMatte, match="1 pixels"):
        from_quadmask(row(0, wrong), 1, 0, 0)


def test_mattes_of_two_sizes_are_refused() -> None:
    with pytest.raises(FrameMismatch):
        from_mattes(row(0, 1), row(0, 1, 1), 0.1, 0, 0)


@pytest.mark.parametrize(
    ("have", "expected"),
    [
        (Window(1, 1, 2, 1), [[9, 9, 9, 9], [9, 1, 2, 9], [9, 9, 9, 9]]),
        (Window(-1, 0, 0, 0), [[2, 9, 9, 9], [9, 9, 9, 9], [9, 9, 9, 9]]),
        (Window(50, 50, 51, 50), [[9, 9, 9, 9], [9, 9, 9, 9], [9, 9, 9, 9]]),
        (Window(3, 2, 4, 2), [[9, 9, 9, 9], [9, 9, 9, 9], [9, 9, 9, 1]]),
    ],
    ids=["inside", "over the left edge", "elsewhere", "over the corner"],
)
def test_a_matte_over_its_own_window_lands_in_its_place(
    have: Window, expected: list[list[int]]
) -> None:
    moved = on_window(row(1, 2), have, Window(0, 0, 3, 2), 9)
    assert moved.tolist() == expected


@pytest.mark.parametrize("threshold", [1e-8, 0.1, 0.3, 0.5, 1 - 1e-7, 1.0, 255.0])
def test_halves_are_compared_with_the_threshold_itself(threshold: float) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)][None]
    hole = from_mattes(finite, None, threshold, 0, 0)
    expected = finite.astype(np.float32) >= np.float32(threshold)
    np.testing.assert_array_equal(hole.codes == REMOVE, expected)
