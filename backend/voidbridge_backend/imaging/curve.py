"""Scene-linear light in, the display-like code that a model was trained on out, and exactly back again.

Pixels are float32, [height, width, 3], RGB. Up to code 0.8 the code is sRGB; above, a logarithmic shoulder
takes over with the same slope and reaches 1 at the shot's own peak, without an end: nothing is clamped. Below
0 the curve is its own mirror image. One exposure and one peak hold for a whole shot, so that nothing flickers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Matrix = NDArray[np.float64]

# IEC 61966-2-1: a power above TOE, a straight line below it.
TOE, SLOPE, SCALE, OFFSET, GAMMA = 0.0031308, 12.92, 1.055, 0.055, 2.4
KNEE = 0.8
"""The code where the shoulder begins."""
KNEE_LIGHT = ((KNEE + OFFSET) / SCALE) ** GAMMA

DARKEST, BRIGHTEST = 0.01, 1.0
"""The median luminance that is left alone, in units of a white of 1; night and snow are inside."""
PEAK_SHARE = 0.999
"""The peak is above this share of all samples: one firefly does not flatten the highlights."""
SAMPLES = 250_000
"""Pixels of one frame that are looked at, about."""

LOWEST_STOP, STOPS, PER_STOP = -24, 48, 16
LUMINANCE = (0.25, 0.5, 0.25)
"""Good for a median in any RGB."""


@dataclass(frozen=True)
class Grade:
    """What is done to a shot's light before the curve: `gain` is multiplied, `peak` (after it) becomes code 1."""

    gain: float = 1.0
    peak: float = 1.0


@dataclass
class Exposure:
    """How bright a shot is. Frames add up in any order; `merge` joins two."""

    luminance: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(STOPS * PER_STOP, np.int64)
    )
    largest: NDArray[np.int64] = field(default_factory=lambda: np.zeros(STOPS * PER_STOP, np.int64))

    def add(self, scene: Pixels) -> None:
        """Counts one frame of scene-linear light. What is not finite is not counted."""
        step = max(1, round(math.sqrt(scene.shape[0] * scene.shape[1] / SAMPLES)))
        pixels = scene[::step, ::step].reshape(-1, 3).astype(np.float64)
        pixels = pixels[np.isfinite(pixels).all(axis=1)]
        self.luminance += _counted(pixels @ np.array(LUMINANCE))
        self.largest += _counted(pixels.max(axis=1))

    def merge(self, other: Exposure) -> None:
        self.luminance += other.luminance
        self.largest += other.largest

    def grade(self) -> Grade:
        """The exposure of an ordinary shot is left as it is; one far off is brought to the near end of what is."""
        if not self.luminance.any():
            return Grade()
        median = _quantile(self.luminance, 0.5)
        gain = min(max(median, DARKEST), BRIGHTEST) / median
        return Grade(gain, max(_quantile(self.largest, PEAK_SHARE) * gain, 1.0))


@dataclass(frozen=True)
class ModelSpace:
    """The way between a shot's scene-linear light and a model's code.

    `to_rec709`  [3, 3], from the shot's primaries to linear Rec.709.
    """

    to_rec709: Matrix
    grade: Grade = Grade()

    def to_model(self, scene: Pixels) -> Pixels:
        """About 0 to 1; 0.18 becomes 0.46. Beyond the peak it is above 1, outside Rec.709 below 0."""
        light = _multiplied(scene, self.to_rec709 * self.grade.gain)
        return encoded(light, self.grade.peak)

    def from_model(self, code: Pixels) -> Pixels:
        """Inverse of `to_model`."""
        light = decoded(code, self.grade.peak)
        back = np.linalg.inv(self.to_rec709 * self.grade.gain).astype(np.float64)
        return _multiplied(light, back)


def encoded(light: Pixels, peak: float) -> Pixels:
    """The curve: `KNEE_LIGHT` becomes 0.8, `peak` (at least 1) becomes 1."""
    rise, width = _shoulder(peak)
    size = np.abs(light)
    code = np.where(
        size <= TOE,
        np.float32(SLOPE) * size,
        np.float32(SCALE) * np.power(size, np.float32(1 / GAMMA)) - np.float32(OFFSET),
    )
    bright = size > KNEE_LIGHT
    code[bright] = KNEE + rise * np.log1p(
        (size[bright] - np.float32(KNEE_LIGHT)) / np.float32(width)
    )
    return np.copysign(code, light)


def decoded(code: Pixels, peak: float) -> Pixels:
    """Inverse of `encoded`."""
    rise, width = _shoulder(peak)
    size = np.abs(code)
    light = np.where(
        size <= SLOPE * TOE,
        size / np.float32(SLOPE),
        np.power((size + np.float32(OFFSET)) / np.float32(SCALE), np.float32(GAMMA)),
    )
    bright = size > KNEE
    # A model may answer anything; beyond the largest half no plate can hold it.
    steps = np.minimum((size[bright] - np.float32(KNEE)) / np.float32(rise), np.float32(80))
    light[bright] = KNEE_LIGHT + width * np.expm1(steps)
    return np.copysign(light, code)


def _shoulder(peak: float) -> tuple[float, float]:
    """(rise, width) of KNEE + rise * log(1 + (light - KNEE_LIGHT) / width): C1 at the knee, 1 at `peak`."""
    slope = SCALE / GAMMA * KNEE_LIGHT ** (1 / GAMMA - 1)
    reach = max(peak, 1.0) - KNEE_LIGHT

    # What the shoulder gains up to the peak rises with its width, from 0 to slope * reach > 1 - KNEE.
    low, high = 1e-9, 1e6
    for _ in range(200):
        width = math.sqrt(low * high)
        if slope * width * math.log1p(reach / width) < 1 - KNEE:
            low = width
        else:
            high = width
    return slope * width, width


def _multiplied(pixels: Pixels, matrix: Matrix) -> Pixels:
    if np.array_equal(matrix, np.eye(3)):
        return pixels
    return pixels @ matrix.T.astype(np.float32)


def _counted(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """[STOPS * PER_STOP]: how many positive values are in each sixteenth of a stop."""
    logs = np.log2(values[values > 0])
    places = np.clip((logs - LOWEST_STOP) * PER_STOP, 0, STOPS * PER_STOP - 1).astype(np.intp)
    return np.bincount(places, minlength=STOPS * PER_STOP)


def _quantile(counts: NDArray[np.int64], share: float) -> float:
    """The value below which this share lies, to a sixteenth of a stop."""
    place = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
    return float(2.0 ** ((place + 0.5) / PER_STOP + LOWEST_STOP))
