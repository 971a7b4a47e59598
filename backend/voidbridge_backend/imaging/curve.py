"""Converts scene-linear light to the display-like code that a model was trained on, and exactly back.

Pixels are float32, [height, width, 3], RGB. Up to code 0.8 the code is sRGB. Above, a logarithmic shoulder
continues with the same slope and reaches 1 at the shot's peak. It does not end there, and nothing is clamped.
Below 0 the curve is its own mirror image. One exposure and one peak hold for a whole shot, which prevents
flicker.
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
"""The code at which the shoulder begins."""
KNEE_LIGHT = ((KNEE + OFFSET) / SCALE) ** GAMMA

DARKEST, BRIGHTEST = 0.01, 1.0
"""Range of median luminance that stays unchanged, in units of a white of 1. It includes night and snow."""
PEAK_SHARE = 0.999
"""Fraction of all samples below the peak: a single firefly does not flatten the highlights."""
SAMPLES = 250_000
"""Approximate number of pixels sampled per frame."""

LOWEST_STOP, STOPS, PER_STOP = -24, 48, 16
LUMINANCE = (0.25, 0.5, 0.25)
"""Weights that give a good median in any RGB."""


@dataclass(frozen=True)
class Grade:
    """Scaling of a shot's light before the curve: `gain` multiplies it, then `peak` becomes code 1."""

    gain: float = 1.0
    peak: float = 1.0


@dataclass
class ShotExposure:
    """Brightness histogram of a shot. Frames add up in any order; `merge` joins two."""

    luminance: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(STOPS * PER_STOP, np.int64)
    )
    largest: NDArray[np.int64] = field(default_factory=lambda: np.zeros(STOPS * PER_STOP, np.int64))

    def add(self, scene: Pixels) -> None:
        """Counts one frame of scene-linear light, ignoring non-finite values."""
        step = max(1, round(math.sqrt(scene.shape[0] * scene.shape[1] / SAMPLES)))
        pixels = scene[::step, ::step].reshape(-1, 3).astype(np.float64)
        pixels = pixels[np.isfinite(pixels).all(axis=1)]
        self.luminance += _counted(pixels @ np.array(LUMINANCE))
        self.largest += _counted(pixels.max(axis=1))

    def merge(self, other: ShotExposure) -> None:
        self.luminance += other.luminance
        self.largest += other.largest

    def grade(self) -> Grade:
        """Leaves an ordinary exposure unchanged; scales any other to the nearest end of the ordinary range."""
        if not self.luminance.any():
            return Grade()
        median = _quantile(self.luminance, 0.5)
        gain = min(max(median, DARKEST), BRIGHTEST) / median
        return Grade(gain, max(_quantile(self.largest, PEAK_SHARE) * gain, 1.0))


@dataclass(frozen=True)
class ModelSpace:
    """Converts between a shot's scene-linear light and a model's code.

    `to_rec709` [3, 3], from the shot's primaries to linear Rec.709.
    """

    to_rec709: Matrix
    grade: Grade = Grade()

    def to_model(self, scene: Pixels) -> Pixels:
        """Returns codes of about 0 to 1; 0.18 becomes 0.46. Light above the peak exceeds 1; colors outside
        Rec.709 go below 0.
        """
        light = _multiplied(scene, self.to_rec709 * self.grade.gain)
        return encoded(light, self.grade.peak)

    def from_model(self, code: Pixels) -> Pixels:
        """Inverse of `to_model`."""
        light = decoded(code, self.grade.peak)
        back = np.linalg.inv(self.to_rec709 * self.grade.gain).astype(np.float64)
        return _multiplied(light, back)


def encoded(light: Pixels, peak: float) -> Pixels:
    """Applies the curve: `KNEE_LIGHT` becomes 0.8, `peak` (at least 1) becomes 1."""
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
    # A model may return any value. Beyond the largest half no plate can hold it.
    steps = np.minimum((size[bright] - np.float32(KNEE)) / np.float32(rise), np.float32(80))
    light[bright] = KNEE_LIGHT + width * np.expm1(steps)
    return np.copysign(light, code)


def _shoulder(peak: float) -> tuple[float, float]:
    """Returns (rise, width) of KNEE + rise * log(1 + (light - KNEE_LIGHT) / width): C1 at the knee, 1 at `peak`."""
    slope = SCALE / GAMMA * KNEE_LIGHT ** (1 / GAMMA - 1)
    reach = max(peak, 1.0) - KNEE_LIGHT

    # The shoulder's gain up to the peak rises with its width, from 0 to slope * reach > 1 - KNEE.
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
    """[STOPS * PER_STOP]: counts of positive values in each sixteenth of a stop."""
    logs = np.log2(values[values > 0])
    places = np.clip((logs - LOWEST_STOP) * PER_STOP, 0, STOPS * PER_STOP - 1).astype(np.intp)
    return np.bincount(places, minlength=STOPS * PER_STOP)


def _quantile(counts: NDArray[np.int64], share: float) -> float:
    """Returns the value below which this fraction lies, to a sixteenth of a stop."""
    place = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
    return float(2.0 ** ((place + 0.5) / PER_STOP + LOWEST_STOP))
