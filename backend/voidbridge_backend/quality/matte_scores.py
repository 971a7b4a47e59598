"""How good a key is: alpha beside its truth, light of the screen that is left, and flicker.

Alphas are [height, width], float32, from 0 to 1; pictures [height, width, 3], linear light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

GRADIENT_SIGMA = 1.4
"""Standard deviation of the derivative of a Gaussian in the gradient error (Rhemann et al. 2009)."""
SMALLER = 4
"""Factor by which alpha is reduced before it is compared with that of the next frame."""
VISIBLE = 0.02
"""Foreground with less alpha than this is not looked at."""
CLEAR = 0.01
"""A pixel with no more alpha than this shows the screen alone."""
FEW_CLEAR = 0.02
"""Share of the pixels below which a plate shows hardly any screen: its estimate rests on little."""


@dataclass(frozen=True)
class AlphaScores:
    """Differences to a true alpha, as in Rhemann et al., "A Perceptually Motivated Online Benchmark" (2009).

    `sad` sum of absolute differences, in pixels; `mse` mean squared difference; `gradient` sum of squared
    differences of the gradients' lengths.
    """

    sad: float
    mse: float
    gradient: float


def alpha_scores(alpha: Array, truth: Array) -> AlphaScores:
    """Raises `ValueError` for different sizes."""
    if alpha.shape != truth.shape:
        raise ValueError(f"alpha is {alpha.shape}, the truth {truth.shape}")
    difference = alpha.astype(np.float64) - truth
    edges = (_gradient(alpha) - _gradient(truth)) ** 2
    return AlphaScores(
        float(np.abs(difference).sum()), float((difference**2).mean()), float(edges.sum())
    )


def spill_left(foreground: Array, alpha: Array, screen: Array) -> float:
    """Mean light of the screen's key plane above the other planes in visible foreground, as a share of the
    screen's.
    """
    seen = alpha > VISIBLE
    if not seen.any():
        return 0.0
    key = int(np.argmax(screen.reshape(-1, 3).mean(axis=0)))
    of_screen = float(np.maximum(_excess(screen, key), 0).mean())
    left = np.maximum(_excess(foreground, key), 0) * alpha
    return float(left[seen].sum() / max(float(alpha[seen].sum()) * of_screen, 1e-9))


def recomposite_error(
    plate: Array, alpha: Array, foreground: Array, screen: Array, visible: float = VISIBLE
) -> float:
    """Largest difference to the plate of the straight foreground over the screen, where alpha is above
    `visible`.
    """
    seen = alpha > visible
    if not seen.any():
        return 0.0
    cover = alpha[..., None]
    over = cover * foreground + (1 - cover) * screen
    return float(np.abs(over - plate)[seen].max())


def flicker(alphas: Sequence[Array]) -> float:
    """Mean absolute change of alpha from frame to frame."""
    changes = [float(np.abs(b - a).mean()) for a, b in pairwise(alphas)]
    return float(np.mean(changes)) if changes else 0.0


@dataclass(frozen=True)
class KeyStats:
    """One frame of a key as numbers, and its alpha at a small size for the comparison with the next."""

    frame: int
    spill: float
    solid: float
    soft: float
    clear: float
    small: Array


def key_stats(frame: int, alpha: Array, foreground: Array, screen: Array) -> KeyStats:
    """Scores of a key that need no truth."""
    height, width = alpha.shape
    size = max(1, width // SMALLER), max(1, height // SMALLER)
    return KeyStats(
        frame,
        spill_left(foreground, alpha, screen),
        float((alpha >= 0.99).mean()),
        float(((alpha > CLEAR) & (alpha < 0.99)).mean()),
        float((alpha <= CLEAR).mean()),
        cv2.resize(alpha, size, interpolation=cv2.INTER_AREA),
    )


class KeyQuality:
    """Collects the numbers of a clip. Frames come in rising order."""

    def __init__(self) -> None:
        self._stats: list[KeyStats] = []
        self._changes: list[float] = []

    def add(self, stats: KeyStats) -> None:
        """Keeps the numbers of a frame, and the small alpha of the last one only."""
        if self._stats and self._stats[-1].small.shape == stats.small.shape:
            self._changes.append(float(np.abs(stats.small - self._stats[-1].small).mean()))
        if self._stats:
            self._stats[-1] = replace(self._stats[-1], small=np.zeros((0, 0), np.float32))
        self._stats.append(stats)

    def described(self) -> dict[str, float]:
        """For the provenance: means over the clip; `flicker` is the mean change of alpha from frame to frame."""
        if not self._stats:
            return {}
        return {
            "spill_left": round(float(np.mean([one.spill for one in self._stats])), 5),
            "solid": round(float(np.mean([one.solid for one in self._stats])), 5),
            "soft": round(float(np.mean([one.soft for one in self._stats])), 5),
            "flicker": round(float(np.mean(self._changes)) if self._changes else 0.0, 6),
        }

    def warning(self) -> str:
        """Returns a warning for the artist if the plate shows hardly any screen; empty otherwise."""
        return few_clear([one.clear for one in self._stats])


def few_clear(clear: Sequence[float]) -> str:
    """Returns a warning if the mean share of clear pixels is small. `clear`: that of each frame, 0 to 1."""
    share = float(np.mean(clear)) if clear else 1.0
    if share >= FEW_CLEAR:
        return ""
    return (
        f"hardly any of the plate is screen: {share:.1%} of its pixels show the screen alone. Check the screen"
        " color and the color space, or give a hint and a clean screen"
    )


def _gradient(alpha: Array) -> NDArray[np.float64]:
    soft = cv2.GaussianBlur(alpha.astype(np.float64), (0, 0), GRADIENT_SIGMA)
    across = cv2.Sobel(soft, cv2.CV_64F, 1, 0, ksize=3) / 8
    down = cv2.Sobel(soft, cv2.CV_64F, 0, 1, ksize=3) / 8
    length: NDArray[np.float64] = np.hypot(across, down)
    return length


def _excess(picture: Array, key: int) -> Array:
    others = np.delete(picture, key, axis=-1).max(axis=-1)
    out: Array = picture[..., key] - others
    return out
