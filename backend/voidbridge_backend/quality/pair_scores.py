"""Measures the removal of a pair whose wanted answer is known, as the model sees it.

Pixels are float32 [height, width, 3] in the model's space, display-like, 0 to 1. Holes are bool [height, width].
Only sums are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from .no_reference import Inspection, frame_stats, plain, step_for
from .reference import Floats, Hole

SIGMA = 1.5
"""Standard deviation of SSIM's window in pixels; the window has 11 x 11."""
FIRST, SECOND = 0.01**2, 0.03**2
"""SSIM's constants for a peak of 1."""
LUMA = np.array([[0.2126, 0.7152, 0.0722]], np.float32)
"""ITU-R BT.709."""


@dataclass(frozen=True)
class PairScores:
    """Measurements of one removal, or means over several. NaN if a figure could not be measured.

    `hole_psnr_db`  10 log10 of 1 / (mean squared error in the hole), values clamped to 0 to 1.
    `hole_ssim`     mean in the hole of the structural similarity of luma (Wang et al. 2004).
    `flicker`, `seam_energy`
                    as `no_reference.Findings`, with the wanted answer outside of the hole.
    """

    hole_psnr_db: float = math.nan
    hole_ssim: float = math.nan
    flicker: float = math.nan
    seam_energy: float = math.nan

    def described(self) -> dict[str, float | None]:
        """Returns JSON values: five digits, and None for a figure that is not finite."""
        return {name: plain(value) for name, value in asdict(self).items()}


def mean(scores: Iterable[PairScores]) -> PairScores:
    """Returns the mean of each figure over the pairs in which it is finite."""
    found = list(scores)
    means = {}
    for one in fields(PairScores):
        values = [getattr(score, one.name) for score in found]
        known = [value for value in values if math.isfinite(value)]
        means[one.name] = sum(known) / len(known) if known else math.nan
    return PairScores(**means)


@dataclass
class PairMeter:
    """Takes the frames of one removal in order."""

    _frames: int = 0
    _pixels: int = 0
    _error: float = 0.0
    _similar: float = 0.0
    _inspection: Inspection = field(default_factory=lambda: Inspection(tells_missing_grain=False))

    def add(self, result: Floats, wanted: Floats, hole: Hole) -> None:
        one, other = (np.clip(picture, 0, 1) for picture in (result, wanted))
        self._pixels += int(hole.sum())
        self._error += float(np.square(one - other, dtype=np.float64)[hole].sum())
        self._similar += float(similarity(_luma(one), _luma(other))[hole].sum(dtype=np.float64))
        merged = np.where(hole[..., None], one, other)
        alpha = hole.astype(np.float32)
        step = step_for(*hole.shape)
        stats = frame_stats(self._frames, _linear(merged), alpha, (0, 0), step, 0)
        self._inspection.add(stats)
        self._frames += 1

    def scores(self) -> PairScores:
        if not self._pixels:
            return PairScores()
        squared = self._error / (3 * self._pixels)
        findings = self._inspection.findings()
        return PairScores(
            -10 * math.log10(squared) if squared else math.inf,
            self._similar / self._pixels,
            findings.flicker,
            findings.seam_energy,
        )


def similarity(one: Floats, other: Floats) -> Floats:
    """Returns the structural similarity at each pixel of two pictures [height, width] with a peak of 1.

    Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment" (2004), with its Gaussian window.
    """
    means = _blurred(one), _blurred(other)
    spread = _blurred(one * one) - means[0] ** 2 + _blurred(other * other) - means[1] ** 2
    shared = _blurred(one * other) - means[0] * means[1]
    light = (2 * means[0] * means[1] + FIRST) / (means[0] ** 2 + means[1] ** 2 + FIRST)
    return np.asarray(light * (2 * shared + SECOND) / (spread + SECOND), np.float32)


def _blurred(picture: Floats) -> NDArray[np.float64]:
    wide = picture.astype(np.float64)
    return np.asarray(cv2.GaussianBlur(wide, (11, 11), SIGMA), np.float64)


def _luma(picture: Floats) -> Floats:
    return np.asarray(cv2.transform(picture, LUMA), np.float32)


def _linear(picture: Floats) -> Floats:
    """Undoes the sRGB curve (IEC 61966-2-1)."""
    low, high = picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4
    return np.where(picture <= 0.04045, low, high).astype(np.float32)
