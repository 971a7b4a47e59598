"""Quadmasks from objects, by the rules of the model's training."""

from __future__ import annotations

import numpy as np
import pytest

from voidbridge_backend.imaging.grid import cells, combined, gridded


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1080, 1920), (8, 14)), ((1920, 1080), (14, 8)), ((100, 100), (8, 8)), ((384, 672), (8, 14))],
)
def test_cells_are_near_square_with_eight_on_the_short_side(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert cells(*size) == expected


@pytest.mark.parametrize("size", [(64, 112), (61, 117), (5, 9)])
def test_a_cell_is_set_if_any_of_its_pixels_is(size: tuple[int, int]) -> None:
    mask = np.zeros(size, bool)
    mask[size[0] // 2, size[1] // 3] = True
    rows, columns = cells(*size)
    row = max(r for r in range(rows) if r * size[0] // rows <= size[0] // 2)
    column = max(c for c in range(columns) if c * size[1] // columns <= size[1] // 3)
    expected = np.zeros(size, bool)
    expected[
        row * size[0] // rows : (row + 1) * size[0] // rows or 1,
        column * size[1] // columns : (column + 1) * size[1] // columns or 1,
    ] = True
    found = gridded(mask)
    assert found.shape == mask.shape
    assert (found >= mask).all()
    np.testing.assert_array_equal(found, expected)


def test_codes_are_exact_and_only_affected_pixels_follow_the_grid() -> None:
    remove, affected = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    remove[10:14, 10:14] = True
    affected[13:18, 13:18] = True
    codes = combined(remove, affected, is_first=False, grid=True)
    assert codes[11, 11] == 0
    assert codes[13, 13] == 63
    assert codes[8, 8] == 127  # the cell of the affected pixels
    assert codes[30, 30] == 255
    assert set(np.unique(codes)) == {0, 63, 127, 255}
    assert (combined(remove, affected, is_first=False, grid=False) == 127).sum() == 24


def test_the_first_frame_has_no_affected_area() -> None:
    mask = np.ones((8, 8), bool)
    assert set(np.unique(combined(~mask, mask, is_first=True, grid=True))) == {255}
    assert set(np.unique(combined(mask, mask, is_first=True, grid=True))) == {0}
