"""When `cleanplate` moves its sources by more than one plane, and that this never begins or ends at once."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.choice import faded, fittest, gained
from voidbridge_backend.engines.cleanplate.combine import Combination
from voidbridge_backend.engines.cleanplate.geometry import FrameBox
from voidbridge_backend.engines.cleanplate.motion.align import (
    NEUTRAL,
    WarpedSource,
    surrounding,
    warp_source,
)
from voidbridge_backend.engines.cleanplate.motion.sources import piece
from voidbridge_backend.engines.cleanplate.tone import Tone

SIZE = 4
HOLE = np.ones((SIZE, SIZE), bool)


def laid(stray: float) -> list[WarpedSource]:
    light = np.zeros((SIZE, SIZE, 3), np.float32)
    source = piece(1001, FrameBox(0, 0, SIZE, SIZE), light, ~HOLE, Tone())
    one = WarpedSource(source, np.eye(3), NEUTRAL, 0.0, stray)
    return [one, replace(one)]


def seen(level: float, confidence: float, known: bool = True) -> Combination:
    light = np.full((SIZE, SIZE, 3), level, np.float32)
    return Combination(light, HOLE & known, np.full((SIZE, SIZE), confidence, np.float32))


@pytest.mark.parametrize("seed", [2, 3])
def test_grain_moves_no_source_of_a_still_camera(seed: int) -> None:
    """Behind a soft shadow that came between: with a fraction of 0.98 one or two of six frames moved."""
    random, (height, width) = np.random.default_rng(seed), (120, 200)
    box, hole = FrameBox(0, 0, width, height), np.zeros((height, width), bool)
    hole[40:80, 80:120] = True

    def soft(deviation: float, *channels: int) -> NDArray[np.float32]:
        noise = cv2.GaussianBlur(
            random.random((height, width, *channels)), (0, 0), deviation
        ).astype(np.float32)
        return np.asarray((noise - noise.mean()) / noise.std(), np.float32)

    still, shadow = np.maximum(0.2 + 0.15 * soft(2.5, 3), 0.01), soft(12)[..., None]

    def frame(darker: float) -> NDArray[np.float32]:
        grain = 0.02 * random.standard_normal(still.shape)
        return np.maximum(still * (1 + darker * shadow) + grain, 0).astype(np.float32)

    source = piece(1, box, frame(0), np.zeros_like(hole), Tone())
    for _ in range(6):
        target = surrounding(box, frame(0.1), hole, 14, Tone())
        one = warp_source(target, source, np.eye(3), Tone())
        assert one is not None
        assert np.array_equal(one.homography, np.eye(3))


def test_a_freer_motion_has_to_leave_clearly_less_than_the_plane() -> None:
    plane, close, far = laid(0.10), laid(0.075), laid(0.03)
    assert fittest(plane, plane, []) is plane
    assert fittest(plane, close, []) is plane
    assert fittest(plane, plane, close) is plane
    assert fittest(plane, far, []) is far
    assert fittest(plane, plane, far) is far


def test_what_layers_add_to_the_agreement_fades_them_in() -> None:
    shares = [gained(seen(0, 0.6), seen(0, sure), HOLE) for sure in (0.5, 0.64, 0.67, 0.69, 0.8)]
    assert shares[:2] == [0, 0]
    assert 0 < shares[2] < shares[3] < 1
    assert shares[4] == 1


def test_both_are_mixed_where_both_are_known() -> None:
    flat, deep = seen(1, 0.5), seen(3, 0.9)
    deep.known[0] = False
    mixed = faded(flat, deep, 0.25)
    assert mixed.known.all()
    assert mixed.light[1:] == pytest.approx(1.5)
    assert mixed.light[0] == pytest.approx(1)
    assert mixed.confidence[1:] == pytest.approx(0.6)
    alone = faded(seen(1, 0.5, known=False), deep, 0.25)
    assert alone.light[1:] == pytest.approx(3)
    assert not alone.known[0].any()
