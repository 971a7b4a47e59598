"""Makes two pictures equally bright, so that tracking does not take a change of light for a motion.

The pictures are 8 bit lumas of `Tone.grey8`, which rise with the logarithm of light. Light that is clipped tells
nothing of a gain: where it is, and how bright it gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.tone import STEEP, WEIGHTS, WHITE, Floats

Grey = NDArray[np.uint8]
Values = NDArray[np.float64]

LIGHT, CONTRAST = 2.5, 0.06
"""Differences of two lumas, in steps of 8 bits and as a part, up to which they count as equally bright."""
STEP = math.log1p(STEEP * WHITE) / 255
"""The logarithm of light rises by this for each step of a luma."""
SHARES = np.arange(0.05, 0.96, 0.05)
"""The parts of the pixels whose brightness is compared."""
SIMPLER = 0.7
"""A gain and an offset have to leave less than this part of what a gain alone leaves."""
LEVEL, ABOVE, CLIPPED = 1e-3, 0.05, 0.02
"""A channel is clipped if more than CLIPPED of the samples are as bright as any, to LEVEL, and another frame has
them different by ABOVE."""
FEWEST = 30
"""Samples that a gain needs."""


def equally_bright(source: Grey, target: Grey, there: Grey, both: Grey) -> tuple[Grey, Grey]:
    """`source` and `target`, the one with less contrast as bright as the other: rounding costs that one least.

    `there` is the source where the target sees it, and `both` is not 0 where the two can be compared. The same
    pictures where they are equally bright.
    """
    low, middle, high = quartiles(there, both)
    low_here, middle_here, high_here = quartiles(target, both)
    gain = (high_here - low_here) / max(high - low, 1.0)
    if abs(middle_here - middle) < LIGHT and abs(gain - 1) < CONTRAST:
        return source, target
    before, behind = _levels(there, both), _levels(target, both)
    if np.ptp(before) > np.ptp(behind):
        return source, np.asarray(cv2.LUT(target, _table(behind, before)), np.uint8)
    return np.asarray(cv2.LUT(source, _table(before, behind)), np.uint8), target


def _table(before: Values, behind: Values) -> Grey:
    """The new value of each of 256 lumas, if the levels `before` come to `behind`.

    By a gain of the light, by a gain and an offset, or by those of the luma, as a fade by gamma needs them.
    """
    dark, bright = _light(before), _light(behind)
    gain = float(np.median(bright / np.maximum(dark, 1e-6)))
    line, bend = _line(dark, bright), _line(before, behind)
    ways: list[tuple[float, Callable[[Values], Values]]] = [
        (SIMPLER, lambda luma: _luma(_light(luma) * gain)),
        (1.0, lambda luma: _luma(line(_light(luma)))),
        (1.0, bend),
    ]
    misfits = [part * float(np.median(np.abs(way(before) - behind))) for part, way in ways]
    values = ways[int(np.argmin(misfits))][1](np.arange(256.0))
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _line(before: Values, behind: Values) -> Callable[[Values], Values]:
    """The line that most of `before` -> `behind` lie on: the median of all slopes (Theil 1950, Sen 1968)."""
    first, second = np.triu_indices(len(before), 1)
    run = before[second] - before[first]
    apart = run > 0
    rise = (behind[second] - behind[first])[apart] / run[apart]
    slope = max(float(np.median(rise)), 0.0) if rise.size else 1.0
    offset = float(np.median(behind - slope * before))
    return lambda values: values * slope + offset


def _light(luma: Values) -> Values:
    return np.asarray(np.expm1(luma * STEP), np.float64)


def _luma(light: Values) -> Values:
    return np.asarray(np.log1p(np.maximum(light, 0)) / STEP, np.float64)


def _levels(picture: Grey, where: Grey) -> Values:
    """The lumas that SHARES of the pixels lie below, to parts of a step."""
    counts = cv2.calcHist([picture], [0], where, [256], [0, 256]).ravel()
    upto = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    return np.asarray(np.interp(SHARES * upto[-1], upto, np.arange(257) - 0.5), np.float64)


def quartiles(picture: Grey, where: Grey) -> tuple[float, float, float]:
    """As NumPy's percentiles of the pixels where `where` is not 0, at least one; a histogram needs no sorting."""
    counts = cv2.calcHist([picture], [0], where, [256], [0, 256]).ravel()
    upto = np.cumsum(counts, dtype=np.float64)

    def value(share: float) -> float:
        at = share * (upto[-1] - 1)
        low, high = np.searchsorted(upto, (np.floor(at), np.ceil(at)), side="right")
        return float(low + (high - low) * (at % 1))

    return value(0.25), value(0.5), value(0.75)


def reach(light: Floats) -> float:
    """How far the luma of `light` [n, 3] reaches."""
    dark, bright = np.percentile(light @ WEIGHTS, (5, 95))
    return float(bright - dark)


def ceiling(light: Floats, expected: Floats) -> Floats:
    """[3]: where the channels of `light` [n, 3] are clipped while more is `expected`; infinite elsewhere."""
    if not len(light):
        return np.full(3, np.inf, np.float32)
    top = light.max(0)
    above = (light >= top * (1 - LEVEL)) & (expected > top * (1 + ABOVE))
    clipped = above.sum(0) > CLIPPED * len(light)
    return np.asarray(np.where(clipped, top, np.inf), np.float32)


def clipped(here: Floats, there: Floats, gain: Floats) -> tuple[Floats, Floats]:
    """(`gain`, ceiling), each [3], of channels that are clipped `here` [n, 3] and vary `there` [n, 3].

    Other channels keep their gain and have an infinite ceiling.
    """
    gain, ceilings = gain.copy(), np.full(3, np.inf, np.float32)
    for channel, (mine, other) in enumerate(zip(here.T, there.T, strict=True)):
        high = mine >= mine.max() * (1 - LEVEL)
        if mine.max() <= 0 or high.sum() <= CLIPPED * len(mine):
            continue
        dim, dark, bright = np.percentile(other[high], (1, 10, 90))
        if bright - dark <= ABOVE * bright or dim <= 0:
            continue
        ceilings[channel] = mine.max()
        rest = ~high & (other > 0)
        # Without others, what is clipped tells the least gain.
        told = rest.sum() >= FEWEST
        gain[channel] = np.median(mine[rest] / other[rest]) if told else mine.max() / dim
    return gain, ceilings
