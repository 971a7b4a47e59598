"""The region holds the hole, stays on the plate, and nothing moves on the way to an engine and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from voidbridge_backend.imaging.region import Region, resampled, resampled_classes

SIZES = [(60, 100), (61, 101), (97, 160), (120, 200), (133, 211), (240, 400), (96, 250)]


@given(st.data())
def test_the_region_holds_the_hole_and_lies_on_the_plate(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    hole = Region(
        left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))
    )
    multiple = data.draw(st.integers(1, 32))
    aspect = data.draw(st.none() | st.floats(0.3, 3))
    found = Region.around(
        hole, (height, width), pad=data.draw(st.floats(0, 80)), aspect=aspect, multiple=multiple
    )
    assert found.union(hole) == found
    assert found.union(Region.whole((height, width))) == Region.whole((height, width))
    for edge, whole, least in (
        (found.width, width, hole.width),
        (found.height, height, hole.height),
    ):
        fits = whole // multiple * multiple
        assert edge % multiple == 0 or fits < least


def test_padding_and_aspect_surround_the_hole_evenly() -> None:
    hole = Region(480, 250, 40, 20)
    assert Region.around(hole, (540, 960), pad=10) == Region(470, 240, 60, 40)
    assert Region.around(hole, (540, 960), pad=10, aspect=2) == Region(460, 240, 80, 40)
    assert Region.around(hole, (540, 960), pad=10, multiple=16) == Region(468, 236, 64, 48)


def test_at_the_edge_the_region_moves_inwards() -> None:
    assert Region.around(Region(0, 530, 10, 10), (540, 960), pad=20) == Region(0, 490, 50, 50)


def test_an_object_as_large_as_the_plate_takes_the_whole_plate() -> None:
    assert Region.around(Region(3, 2, 955, 537), (540, 960), pad=10) == Region(0, 0, 960, 540)


def test_a_hole_is_found_around_its_outermost_pixels() -> None:
    inside = np.zeros((9, 12), bool)
    assert Region.of(inside) is None
    inside[2, 3] = inside[7, 4] = True
    assert Region.of(inside) == Region(3, 2, 2, 6)
    assert Region(3, 2, 2, 6).union(Region(9, 0, 1, 1)) == Region(3, 0, 7, 8)


def test_at_its_own_size_a_region_is_an_exact_copy() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (20, 30, 3), dtype=np.uint32)
    plate = words.view(np.float32)
    region = Region(4, 5, 10, 6)
    engine = resampled(region.cut(plate), (6, 10))
    assert engine.tobytes() == np.ascontiguousarray(plate[5:11, 4:14]).tobytes()
    engine[:] = 0
    assert plate.view(np.uint32).tobytes() == words.tobytes()
    assert region.from_engine(engine).tobytes() == engine.tobytes()


def test_a_part_goes_back_into_its_place() -> None:
    plate = np.zeros((4, 6), np.float32)
    Region(1, 2, 3, 2).paste(plate, np.ones((2, 3), np.float32))
    assert np.array_equal(np.argwhere(plate), [[2, 1], [2, 2], [2, 3], [3, 1], [3, 2], [3, 3]])


def blob(height: int, width: int) -> NDArray[np.float32]:
    """A soft spot around the relative place (0.4, 0.3) of the picture."""
    rows, columns = np.mgrid[:height, :width]
    y, x = (rows + 0.5) / height - 0.4, (columns + 0.5) / width - 0.3
    return np.exp(-(x * x + y * y) / 0.01).astype(np.float32)


def center(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """The spot's center, relative to the picture."""
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    weight = pixels.astype(np.float64)
    y, x = ((rows + 0.5) * weight).sum(), ((columns + 0.5) * weight).sum()
    return np.array([y, x]) / weight.sum() / pixels.shape


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_nothing_moves_when_the_size_changes(size: tuple[int, int]) -> None:
    source = blob(120, 200)
    there = resampled(source, size)
    back = resampled(there, (120, 200))
    assert np.abs((center(there) - center(source)) * (120, 200)).max() < 0.02
    assert np.abs((center(back) - center(source)) * (120, 200)).max() < 0.02
    assert np.abs(there - blob(*size)).max() < 0.02


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_flat_picture_stays_flat(size: tuple[int, int]) -> None:
    flat = np.full((120, 200, 3), (0.18, 200, -0.1), np.float32)
    assert np.allclose(resampled(flat, size), flat[0, 0], rtol=1e-6, atol=1e-6)


def test_detail_finer_than_a_pixel_becomes_its_mean_and_no_pattern() -> None:
    stripes = np.tile(np.array([0, 1], np.float32), (120, 100))
    assert np.allclose(resampled(stripes, (60, 100)), 0.5)
    assert np.abs(resampled(stripes, (120, 67)) - 0.5).max() < 0.2


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_no_code_is_invented_and_no_hole_is_lost(seed: int, height: int, width: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.choice(
        np.array([0, 63, 127, 255], np.uint8), (17, 23), p=[0.01, 0.01, 0.01, 0.97]
    )
    there = resampled_classes(codes, (height, width))
    assert set(np.unique(there)) <= set(np.unique(codes))
    for row, column in np.argwhere(codes == 0):
        # Every pixel of the engine that this one is seen in; there may be none where both edges shrink.
        rows = slice(row * height // 17, -(-(row + 1) * height // 17))
        columns = slice(column * width // 23, -(-(column + 1) * width // 23))
        seen = there[rows, columns]
        assert (seen == 0).any()
        if height <= 17 and width <= 23:
            assert (seen == 0).all()


def test_classes_grow_by_their_nearest_pixel() -> None:
    codes = np.array([[0, 255], [127, 63]], np.uint8)
    assert resampled_classes(codes, (4, 6)).tolist() == [
        [0, 0, 0, 255, 255, 255],
        [0, 0, 0, 255, 255, 255],
        [127, 127, 127, 63, 63, 63],
        [127, 127, 127, 63, 63, 63],
    ]
