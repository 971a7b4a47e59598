"""The shortcuts of `cleanplate` give the same bits as the long way."""

from __future__ import annotations

import cv2
import numpy as np

from voidbridge_backend.engines.cleanplate.motion.brightness import quartiles
from voidbridge_backend.engines.cleanplate.motion.sources import HALF_MAX, depth, halved, widened
from voidbridge_backend.engines.cleanplate.texture.fill import spread, spread_to

RNG = np.random.default_rng(5)


def test_quartiles_are_the_percentiles_of_numpy() -> None:
    for count in (1, 2, 7, 400, 4003):
        picture = RNG.integers(0, 256, (1, 5000)).astype(np.uint8)
        where = np.zeros_like(picture)
        where[0, RNG.permutation(5000)[:count]] = 255
        expected = np.percentile(picture[where > 0], (25, 50, 75))
        assert quartiles(picture, where) == tuple(expected)


def test_the_depth_of_a_hole_is_that_of_the_whole_picture() -> None:
    hidden = np.zeros((90, 120), bool)
    hidden[20:61, 35:90] = True
    hidden[30:40, 50:55] = False
    for mask in (hidden, np.roll(hidden, -35, 1), np.roll(hidden, (-20, 30), (0, 1))):
        whole = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, 5)
        assert whole.max() > 10
        assert np.array_equal(depth(mask), whole)
    assert not depth(np.zeros((5, 5), bool)).any()


def test_half_floats_are_rounded_as_numpy_rounds_them() -> None:
    sizes = np.exp(RNG.uniform(np.log(1e-9), np.log(HALF_MAX), (40, 50, 3)))
    light = np.asarray(sizes * RNG.choice([-1, 1], sizes.shape), np.float32)[:, 3:47]
    light[0, 0] = HALF_MAX, -HALF_MAX, 0
    assert np.array_equal(halved(light), light.astype(np.float16))
    assert np.array_equal(widened(halved(light)), light.astype(np.float16).astype(np.float32))
    assert halved(light[:0]).shape == (0, 44, 3)


def test_values_spread_to_some_pixels_are_those_of_the_whole_picture() -> None:
    light = RNG.random((61, 47, 3)).astype(np.float32)
    known = np.ones((61, 47), bool)
    known[10:40, 8:30] = False
    whole = spread(light, known.astype(np.float32))
    at = np.nonzero(~known)
    assert np.array_equal(spread_to(at, light, known), whole[at])
