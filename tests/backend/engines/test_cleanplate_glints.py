"""Beside lamps, the sources of `cleanplate` whose pixels come to lie on the frame's own count most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.combine import combined
from voidbridge_backend.engines.cleanplate.geometry import FrameBox, shift
from voidbridge_backend.engines.cleanplate.motion.align import NEUTRAL, WarpedSource
from voidbridge_backend.engines.cleanplate.motion.sources import piece
from voidbridge_backend.engines.cleanplate.texture import glints
from voidbridge_backend.engines.cleanplate.tone import Floats, Tone
from voidbridge_backend.parallel import Pool

WIDTH, HEIGHT = 64, 48
BOX = FrameBox(0, 0, WIDTH, HEIGHT)
TONE = Tone()
MOVES = ((0.5, 0.5), (0.3, 0.5), (0.5, 0.8), (0.4, 0.3), (0.06, 0.95))
"""How far the camera moved for each source, in pixels: only the last one's pixels nearly lie on the frame's."""


def seen(x: float, y: float, level: float) -> Floats:
    """A pavement with glints of `level` times white, each a pixel or two wide."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    light = np.full((HEIGHT, WIDTH), 0.2)
    for row in range(4, HEIGHT, 8):
        for column in range(4, WIDTH, 9):
            away = (columns + x - column) ** 2 + (rows + y - row) ** 2
            light += level * np.exp(-away / (2 * 0.85**2))
    return np.repeat(light[..., None], 3, 2).astype(np.float32)


def laid(level: float, moves: tuple[tuple[float, float], ...] = MOVES) -> list[WarpedSource]:
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    return [
        WarpedSource(piece(frame, BOX, seen(x, y, level), nothing, TONE), shift(x, y), NEUTRAL, 0.0)
        for frame, (x, y) in enumerate(moves)
    ]


def missed(sources: list[WarpedSource], level: float) -> float:
    """The encoded error, root mean square, away from the edge."""
    everywhere = np.ones((HEIGHT, WIDTH), bool)
    with Pool() as pool:
        light = combined(sources, 9, BOX, everywhere, TONE, pool).light
    inside = np.s_[8:-8, 8:-8]
    error: NDArray[np.float32] = TONE.encode(light) - TONE.encode(seen(0, 0, level))
    return float(np.sqrt(np.square(error[inside]).mean()))


def test_glints_are_those_of_the_source_that_needs_least_resampling() -> None:
    alone = missed(laid(60, MOVES[-1:]), 60)
    assert missed(laid(60), 60) < 1.25 * alone
    assert missed(laid(60, MOVES[:-1]), 60) > 1.5 * alone


def test_a_source_is_trusted_where_its_own_pixels_lie_on_the_frames() -> None:
    at = np.array([[3.0, 7.0], [3.06, 6.95], [3.5, 7.0], [3.5, 7.5]])
    trust = glints.trust(at)
    assert trust[0] == 1
    assert trust[1] > 0.6
    assert trust[2] < 0.02
    assert trust[3] < trust[2]


def test_only_pixels_beside_bright_light_are_steep() -> None:
    shown = np.ones((HEIGHT, WIDTH), bool)
    assert not glints.steep(np.moveaxis(seen(0, 0, 1.0), -1, 0), shown, TONE)[0].size
    where, rise = glints.steep(np.moveaxis(seen(0, 0, 60), -1, 0), shown, TONE)
    assert 0 < where.size < shown.size
    assert (rise > glints.STEEP).all()
    # What no source shows is no edge.
    flat = np.full((3, HEIGHT, WIDTH), 3.0, np.float32)
    shown[:, 30:] = False
    assert not glints.steep(flat * shown, shown, TONE)[0].size
