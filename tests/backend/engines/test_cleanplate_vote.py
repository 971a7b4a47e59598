"""How the sources of `cleanplate` vote, against what the words say, spelled out one pixel at a time."""

from __future__ import annotations

import numpy as np
import pytest

from voidbridge_backend.engines.cleanplate import combine
from voidbridge_backend.engines.cleanplate.tone import Tone

SOURCES = range(1, 18)


@pytest.mark.parametrize("sources", SOURCES)
def test_every_column_comes_in_rising_order(sources: int) -> None:
    # A network that sorts every row of zeros and ones sorts everything (Knuth, 5.3.4, theorem Z).
    columns = np.arange(1 << min(sources, 14), dtype=np.int32)
    rows = columns >> np.arange(sources, dtype=np.int32)[:, None] & 1
    ordered = np.sort(rows, axis=0)
    combine._sort(rows)
    np.testing.assert_array_equal(rows, ordered)


def weighted_median(luma: list[float], weight: list[float]) -> int:
    order = sorted(range(len(luma)), key=lambda number: luma[number])
    half, below = sum(weight) / 2, 0.0
    for number in order:
        below += weight[number]
        if below >= half:
            return number
    raise AssertionError("weights are not negative")


@pytest.mark.parametrize("sources", SOURCES)
def test_the_centre_is_the_weighted_median_below_zero_too(sources: int) -> None:
    rng = np.random.default_rng(sources)
    luma = rng.normal(0.2, 1, (sources, 200)).astype(np.float32)
    weight = rng.integers(1, 9, luma.shape).astype(np.float32)
    weight[rng.random(luma.shape) < 0.3] = 0
    weight[0] = np.maximum(weight[0], 1)
    centre = combine._median(luma, weight)
    for pixel, (lumas, weights) in enumerate(zip(luma.T.tolist(), weight.T.tolist(), strict=True)):
        assert centre[pixel] == weighted_median(lumas, weights)


def test_light_is_the_mean_of_those_who_agree_and_grain_the_first_ones() -> None:
    light = np.array([0.5, 0.505, 0.495, 4.0, 0.5], np.float32)
    planes = np.broadcast_to(light[None, :, None], (3, 5, 2)).copy()
    # The last source shows nothing in either pixel, the first nothing in the second.
    votes = np.array([[1, 0], [1, 1], [1, 1], [1, 1], [0, 0]], np.float32)
    mean, near = combine._vote(planes, votes, 0.03, Tone())
    np.testing.assert_allclose(mean, [[0.5, 0.5]] * 3, atol=2e-3)
    np.testing.assert_array_equal(near.T, [[1, 1, 1, 0, 0], [0, 1, 1, 0, 0]])
    grain = combine._grain(planes, mean, near)
    np.testing.assert_allclose(grain, light[None, [0, 1]] - mean)


def test_where_no_source_shows_anything_there_is_neither_light_nor_grain() -> None:
    planes = np.full((3, 4, 2), 0.5, np.float32)
    mean, near = combine._vote(planes, np.zeros((4, 2), np.float32), 0.03, Tone())
    assert not mean.any()
    assert not near.any()
    assert not combine._grain(planes, mean, near).any()


def test_layers_are_apart_by_the_channel_that_differs_most() -> None:
    tone = Tone(2.0)
    rng = np.random.default_rng(0)
    layers = rng.normal(0.3, 0.4, (3, 5, 40)).astype(np.float32)
    one = rng.normal(0.3, 0.4, (3, 40)).astype(np.float32)
    wanted = np.abs(tone.encode(layers) - tone.encode(one)[:, None]).max(0)
    np.testing.assert_allclose(tone.apart(layers, one), wanted, atol=1e-6)
