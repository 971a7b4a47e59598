"""Measures a removal against a known truth, frame by frame.

Plates, results and truths are scene-linear float32 [height, width, 3]; a hole is bool [height, width]. Errors
are measured after `encode`, so that a lamp of 40 does not outweigh the rest of the picture. Only the previous
frame is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Hole = NDArray[np.bool_]

PEAK = 16.0
"""The light that `encode` maps to 1, which is also the peak of the PSNR."""
MU = 800.0
"""Steepness of `encode`: 0.18 becomes 0.34, 1 becomes 0.59."""
COARSE = 16
"""Side in pixels of the blocks whose means show pumping and boiling without the grain."""


def encode(light: Floats) -> Floats:
    """Display-like encoding: `log(1 + MU v) / log(1 + MU)` of `v = light / PEAK`, odd about zero, nothing clamped.

    The mu-law of Kalantari and Ramamoorthi, "Deep High Dynamic Range Imaging of Dynamic Scenes" (2017).
    """
    curve = np.log1p(np.abs(light) * np.float32(MU / PEAK)) / np.float32(math.log1p(MU))
    return np.asarray(np.copysign(curve, light), np.float32)


@dataclass(frozen=True)
class ReferenceScores:
    """Measurements over all frames.

    `hole_psnr_db`       10 log10 of 1 / (mean squared error of the encoded light in the hole); infinite
                         if there is no error, NaN if there is no hole.
    `flicker`            root mean square, over pixels in the hole of two neighbouring frames, of the encoded
                         result minus that of the frame before, warped along the camera's true motion.
                         Grain counts: a still fill under moving grain has less than the truth.
    `truth_flicker`      the same of the truth.
    `pumping`, `truth_pumping`
                         the same of means over blocks of COARSE x COARSE pixels: changes besides grain.
    `outside_differing`  pixels outside the hole that have any bit other than the plate.
    """

    frames: int
    hole_pixels: int
    hole_psnr_db: float
    flicker: float
    truth_flicker: float
    pumping: float
    truth_pumping: float
    outside_differing: int

    @property
    def flicker_ratio(self) -> float:
        """`flicker` divided by the truth's own; 1 if both stand still."""
        if self.truth_flicker == 0:
            return 1.0 if self.flicker == 0 else math.inf
        return self.flicker / self.truth_flicker


class Quality:
    """Collects frames in rising order and keeps sums."""

    def __init__(self) -> None:
        self._frames = self._pixels = self._differing = 0
        self._error = 0.0
        self._change = _Change(1), _Change(1)
        self._coarse = _Change(COARSE), _Change(COARSE)
        self._before: _BoxedFrame | None = None

    def add(
        self,
        result: Floats,
        truth: Floats,
        plate: Floats,
        hole: Hole,
        motion: NDArray[np.float64] | None = None,
    ) -> None:
        """Adds one frame. `motion` [3, 3] maps pixels (x, y, 1) of the frame before to this one; None means no
        motion.
        """
        differing = result.view(np.uint32) != plate.view(np.uint32)
        self._frames += 1
        self._pixels += int(hole.sum())
        self._differing += int((differing.any(-1) & ~hole).sum())
        now = _BoxedFrame.of(result, truth, hole)
        self._error += float(np.square(now.result - now.truth, dtype=np.float64)[now.hole].sum())
        if self._before is not None and now.hole.size:
            before = self._before
            motion = now.to_box(np.eye(3) if motion is None else motion, before)
            both = now.hole & (
                _moved(before.hole.astype(np.float32), motion, now.hole.shape) > 0.999
            )
            pairs = (now.result, before.result), (now.truth, before.truth)
            for index, (here, there) in enumerate(pairs):
                change = here - _moved(there, motion, now.hole.shape)
                self._change[index].add(change, both)
                self._coarse[index].add(change, both)
        self._before = now if now.hole.size else None

    def report(self) -> ReferenceScores:
        squared = self._error / (3 * self._pixels) if self._pixels else math.nan
        return ReferenceScores(
            frames=self._frames,
            hole_pixels=self._pixels,
            hole_psnr_db=-10 * math.log10(squared) if squared else math.inf,
            flicker=self._change[0].rms,
            truth_flicker=self._change[1].rms,
            pumping=self._coarse[0].rms,
            truth_pumping=self._coarse[1].rms,
            outside_differing=self._differing,
        )


@dataclass(frozen=True)
class _BoxedFrame:
    """Encoded light in the box around a hole. Pixels outside of it are not measured."""

    left: int
    top: int
    result: Floats
    truth: Floats
    hole: Hole

    @classmethod
    def of(cls, result: Floats, truth: Floats, hole: Hole) -> _BoxedFrame:
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        top = left = bottom = right = 0
        if rows.size:
            # Whole blocks, plus space for the taps of the filter that warps it to the next frame.
            top, left = (max(int(e[0]) - 4, 0) // COARSE * COARSE for e in (rows, columns))
            bottom, right = (-(-(int(e[-1]) + 5) // COARSE) * COARSE for e in (rows, columns))
        box = np.s_[top:bottom, left:right]
        return cls(left, top, encode(result[box]), encode(truth[box]), hole[box])

    def to_box(self, motion: NDArray[np.float64], before: _BoxedFrame) -> NDArray[np.float64]:
        """Converts `motion` between whole frames to motion from the previous box to this one."""
        return _shift(-self.left, -self.top) @ motion @ _shift(before.left, before.top)


def _shift(x: int, y: int) -> NDArray[np.float64]:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


class _Change:
    """The root mean square of changes, of single pixels or of blocks that lie fully in the hole."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._sum, self._count = 0.0, 0

    @property
    def rms(self) -> float:
        return math.sqrt(self._sum / self._count) if self._count else 0.0

    def add(self, change: Floats, hole: Hole) -> None:
        side = self._block
        if side > 1:
            height, width = hole.shape[0] // side * side, hole.shape[1] // side * side
            tiles = height // side, side, width // side, side
            change = change[:height, :width].reshape(*tiles, 3).mean((1, 3))
            hole = np.asarray(hole[:height, :width].reshape(tiles).all((1, 3)), np.bool_)
        self._sum += float(np.square(change, dtype=np.float64)[hole].sum())
        self._count += 3 * int(hole.sum())


def _moved(picture: Floats, motion: NDArray[np.float64], shape: tuple[int, ...]) -> Floats:
    size = shape[1], shape[0]
    if np.array_equal(motion, np.eye(3)) and picture.shape[:2] == shape[:2]:
        return picture
    moved = cv2.warpPerspective(picture, motion, size, flags=cv2.INTER_CUBIC)
    return np.asarray(moved, np.float32)
