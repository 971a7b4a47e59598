"""Measures a removal without a truth: compares hole and surroundings, frame by frame, and words the findings
plainly.

Pictures are scene-linear float32 [height, width, 3], finite, of a rectangle around the hole; weights are
[height, width]. All measures use luminance after `reference.encode`, where 0.01 is a barely visible step.
Memory is bounded: two reduced pictures, and a few numbers per frame.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.sequences.patterns import compact

from .reference import MU, PEAK

log = logging.getLogger(__name__)

Value = TypeVar("Value")
Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]

MARGIN = 32
"""Pixels around the hole that the measured rectangle should include."""
BAND = 5
"""Width of the bands whose means are compared across the seam, in pixels of the reduced picture."""
SEAM_SIDE = 400
"""Maximum longer side of the picture in which the seam is measured."""
COARSE = 270
"""Lines of the reduced frame in which motion is measured."""
FLOOR = 0.002
"""Steps and errors below this much code are smaller than an 8-bit step, so nobody sees them."""
FINE = 1.0
"""Standard deviation in pixels of the blur that separates grain from picture."""

SEAM_SHOWS, BOILS, BRIGHTNESS_JUMPS, DARK_RIM = 2.5, 3.0, 0.01, 0.03
GRAIN_FITS = 0.6, 1.6


@dataclass(frozen=True)
class FrameStats:
    """Statistics of one frame: numbers, and luma on a coarse grid that all frames of the shot share."""

    frame: int
    corner: tuple[int, int]
    """Row and column of `luma` on the grid."""
    luma: Pixels
    inside: Mask
    pixels: int
    differing: int
    seam: float
    around: float
    rim: float
    grain: float


@dataclass(frozen=True)
class FrameFigures:
    """The measures of one frame, as curves over a shot show them. NaN if nothing could be compared.

    They are those of `Findings`: `seam_energy` and `grain_match` are ratios, `flicker` is the jump of the hole's
    mean since the frame before, in code and with its sign, the others are counts.
    """

    frame: int
    hole_pixels: int
    outside_differing: int
    seam_energy: float
    flicker: float
    grain_match: float

    def described(self) -> dict[str, Any]:
        """JSON values, as `Findings.described`."""
        return {name: plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Findings:
    """Measurements over the frames that have a hole. A ratio is NaN if nothing could be compared.

    `hole_pixels`         pixels in the hole, over all frames.
    `outside_differing`   samples outside of the hole with any bit other than the plate's.
    `seam_energy`         brightness step across the edge of the hole, divided by the same step across a line
                          outside of it: 1 if no edge is visible.
    `warp_error`, `warp_error_outside`
                          root mean square of a frame minus the one before, warped along the picture's own
                          motion, in the hole and around it, in code.
    `flicker`             root mean square of the jumps of the hole's mean between frames, minus those of its
                          surroundings, in code.
    `grain_match`         the finest details in the hole divided by those around it: 1 if the grain matches.
    `warnings`            plain text, with frame numbers.
    """

    frames: int
    hole_pixels: int
    outside_differing: int
    seam_energy: float
    warp_error: float
    warp_error_outside: float
    flicker: float
    grain_match: float
    warnings: tuple[str, ...]

    def described(self) -> dict[str, Any]:
        """Returns JSON values: five digits, and None for a value that could not be measured."""
        return {name: plain(value) for name, value in asdict(self).items()}


def step_for(height: int, width: int) -> int:
    """Returns the plate pixels per cell of the coarse grid."""
    return max(1, round(min(height, width) / COARSE))


def frame_stats(
    frame: int,
    result: Pixels,
    alpha: Pixels,
    corner: tuple[int, int],
    step: int,
    differing: int,
) -> FrameStats:
    """Measures one frame. `corner` is the rectangle's upper left (row, column); the caller counts `differing`."""
    luma = _code(_luminance(result))
    seam, around, rim = _measured(lambda: _seam(luma, alpha), (math.nan,) * 3)
    coarse, place = _coarse(luma, corner, step)
    covered, _ = _coarse((alpha > 0).astype(np.float32), corner, step)
    return FrameStats(
        frame,
        place,
        coarse,
        covered > 0.5,
        int(np.count_nonzero(alpha > 0)),
        differing,
        seam,
        around,
        rim,
        _measured(lambda: _grain(luma, alpha), math.nan),
    )


def _measured(measure: Callable[[], Value], unknown: Value) -> Value:
    """A result is good whether it can be measured or not: OpenCV refuses some shapes of pictures."""
    try:
        return measure()
    except cv2.error as error:
        log.warning("a measurement failed and is left out: %s", error)
        return unknown


def _luminance(light: Pixels) -> Pixels:
    return np.asarray(cv2.transform(light, np.array([[0.25, 0.5, 0.25]], np.float32)), np.float32)


def _code(light: Pixels) -> Pixels:
    """Same as `reference.encode`, several times as fast and accurate to six digits."""
    curve = cv2.log(1 + np.abs(light) * np.float32(MU / PEAK)) / np.float32(math.log1p(MU))
    return np.asarray(np.copysign(curve, light), np.float32)


@dataclass
class _Sum:
    """A running root mean square."""

    squares: float = 0.0
    count: int = 0

    def add(self, squares: float, count: int = 1) -> None:
        self.squares += squares
        self.count += count

    @property
    def rms(self) -> float:
        return math.sqrt(self.squares / self.count) if self.count else math.nan


@dataclass
class Inspection:
    """Collects the statistics of frames in rising order."""

    tells_missing_grain: bool = True
    """Whether grain that is missing is worth a warning: not where the job adds what the engine lacks."""
    _before: FrameStats | None = None
    _pixels: int = 0
    _differing: int = 0
    _frames: int = 0
    _seam: _Sum = field(default_factory=_Sum)
    _around: _Sum = field(default_factory=_Sum)
    _inside: _Sum = field(default_factory=_Sum)
    _outside: _Sum = field(default_factory=_Sum)
    _flicker: _Sum = field(default_factory=_Sum)
    _grain: list[float] = field(default_factory=list)
    _told: dict[str, list[int]] = field(default_factory=dict)
    _jump: float = math.nan

    def add(self, now: FrameStats) -> FrameFigures:
        """Takes the next frame and returns its measures."""
        self._jump = math.nan
        self._frames += 1
        self._pixels += now.pixels
        self._differing += now.differing
        self._note(now.differing > 0, "pixels outside of the matte differ from the plate", now)
        if not math.isnan(now.seam):
            self._seam.add(now.seam**2)
            self._around.add(now.around**2)
            shows = now.seam > SEAM_SHOWS * max(now.around, 2 * FLOOR)
            self._note(shows, "an edge shows where the result meets the plate", now)
            dark = shows and now.rim > DARK_RIM
            self._note(
                dark,
                "the plate is darker than the result all along the edge: the object's shadow may reach "
                "beyond the matte (grow it, or give --affected)",
                now,
            )
        if not math.isnan(now.grain):
            self._grain.append(now.grain)
        if self._before is not None and self._before.frame == now.frame - 1:
            self._compare(self._before, now)
        self._before = now
        seam = max(now.seam, FLOOR) / max(now.around, FLOOR)
        return FrameFigures(
            now.frame,
            now.pixels,
            now.differing,
            math.nan if math.isnan(now.seam) else seam,
            self._jump,
            now.grain,
        )

    def findings(self) -> Findings:
        grain = float(np.median(self._grain)) if self._grain else math.nan
        warnings = [f"{text} in frames {compact(frames)}" for text, frames in self._told.items()]
        if grain < GRAIN_FITS[0] and self.tells_missing_grain:
            warnings.append(
                f"the result has {grain:.0%} of the plate's grain and may look painted (--grain auto)"
            )
        if grain > GRAIN_FITS[1]:
            warnings.append(f"the result has {grain:.0%} of the grain around it")
        return Findings(
            frames=self._frames,
            hole_pixels=self._pixels,
            outside_differing=self._differing,
            seam_energy=max(self._seam.rms, FLOOR) / max(self._around.rms, FLOOR)
            if self._seam.count
            else math.nan,
            warp_error=self._inside.rms,
            warp_error_outside=self._outside.rms,
            flicker=self._flicker.rms,
            grain_match=grain,
            warnings=tuple(warnings),
        )

    def _note(self, is_so: bool, text: str, now: FrameStats) -> None:
        if is_so:
            self._told.setdefault(text, []).append(now.frame)

    def _compare(self, before: FrameStats, now: FrameStats) -> None:
        shared = _shared(before, now)
        if shared is None:
            return
        (old, was_in), (new, is_in) = shared
        moved = _measured(lambda: _moved(old, new), None)
        if moved is None:
            return
        change = new - moved
        inside, outside = was_in & is_in, ~was_in & ~is_in
        inside[[0, -1]] = inside[:, [0, -1]] = outside[[0, -1]] = outside[:, [0, -1]] = False
        if not inside.any() or not outside.any():
            return
        squares = np.square(change, dtype=np.float64)
        self._inside.add(float(squares[inside].sum()), int(inside.sum()))
        self._outside.add(float(squares[outside].sum()), int(outside.sum()))
        jump = float(change[inside].mean() - np.median(change[outside]))
        self._flicker.add(jump**2)
        self._jump = jump
        self._note(abs(jump) > BRIGHTNESS_JUMPS, "the result's brightness jumps", now)
        error, usual = squares[inside].mean() ** 0.5, squares[outside].mean() ** 0.5
        self._note(
            error > BOILS * max(usual, 2 * FLOOR),
            "the result moves differently from the plate",
            now,
        )


def plain(value: Any) -> Any:
    """Rounds a number for JSON and people: five digits, None if it is not finite."""
    if isinstance(value, float):
        return None if not math.isfinite(value) else float(f"{value:.5g}")
    return list(value) if isinstance(value, tuple) else value


def _seam(luma: Pixels, alpha: Pixels) -> tuple[float, float, float]:
    """Returns (step across the edge, the same outside of it, mean of inside minus outside along the edge)."""
    shrink = -(-max(luma.shape) // SEAM_SIDE)
    if shrink > 1:
        size = max(luma.shape[1] // shrink, 1), max(luma.shape[0] // shrink, 1)
        luma = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32)
        alpha = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32)
    hole = (alpha >= 0.5).astype(np.uint8)
    if not hole.any() or hole.all():
        return math.nan, math.nan, math.nan
    out = cv2.distanceTransform(1 - hole, cv2.DIST_L2, 5)
    away = np.asarray(out - cv2.distanceTransform(hole, cv2.DIST_L2, 5), np.float32)
    edge, line = _steps(luma, away, 0.0), _steps(luma, away, 2.5 * BAND)
    if not edge.size or not line.size:
        return math.nan, math.nan, math.nan
    return _rms(edge), _rms(line), float(edge.mean())


def _steps(luma: Pixels, away: Pixels, at: float) -> Pixels:
    """[n]: along the line `at` pixels outside the hole, the mean of the inner band minus that of the outer."""
    means = []
    for low, high in ((at - BAND, at), (at, at + BAND)):
        band = ((away > low) & (away <= high)).astype(np.float32)
        size = (2 * BAND + 1, 2 * BAND + 1)
        count = cv2.boxFilter(band, -1, size, normalize=False)
        total = cv2.boxFilter(band * luma, -1, size, normalize=False)
        means.append((total, count))
    (inner, inners), (outer, outers) = means
    on_line = (np.abs(away - at) <= 1) & (inners >= 3 * BAND) & (outers >= 3 * BAND)
    difference = inner[on_line] / inners[on_line] - outer[on_line] / outers[on_line]
    return np.asarray(difference, np.float32)


def _rms(values: Pixels) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _coarse(picture: Pixels, corner: tuple[int, int], step: int) -> tuple[Pixels, tuple[int, int]]:
    """Returns means over the grid cells that lie fully in the picture, and the first cell's position."""
    skip = [-place % step for place in corner]
    high, wide = ((edge - s) // step for edge, s in zip(picture.shape, skip, strict=True))
    high, wide = max(high, 0), max(wide, 0)
    part = picture[skip[0] : skip[0] + high * step, skip[1] : skip[1] + wide * step]
    cells = part.reshape(high, step, wide, step).mean(axis=(1, 3), dtype=np.float32)
    return cells, ((corner[0] + skip[0]) // step, (corner[1] + skip[1]) // step)


def _shared(
    one: FrameStats, two: FrameStats
) -> tuple[tuple[Pixels, Mask], tuple[Pixels, Mask]] | None:
    """Returns (luma, inside) of both in their overlap, or None if it is too small for motion estimation."""
    low = [max(a, b) for a, b in zip(one.corner, two.corner, strict=True)]
    ends = [[c + n for c, n in zip(g.corner, g.luma.shape, strict=True)] for g in (one, two)]
    high = [min(a, b) for a, b in zip(*ends, strict=True)]
    if min(high[0] - low[0], high[1] - low[1]) < 12:
        return None
    cut = [
        tuple(slice(a - c, b - c) for a, b, c in zip(low, high, g.corner, strict=True))
        for g in (one, two)
    ]
    return (one.luma[cut[0]], one.inside[cut[0]]), (two.luma[cut[1]], two.inside[cut[1]])


def _moved(before: Pixels, now: Pixels) -> Pixels:
    """Warps `before` along the motion between the two frames (DIS optical flow)."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    old, new = (np.clip(picture * 255, 0, 255).astype(np.uint8) for picture in (before, now))
    motion = flow.calc(np.ascontiguousarray(new), np.ascontiguousarray(old), None)
    y, x = np.mgrid[: now.shape[0], : now.shape[1]].astype(np.float32)
    return np.asarray(
        cv2.remap(
            np.ascontiguousarray(before),
            x + motion[..., 0],
            y + motion[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.float32,
    )


def _grain(luma: Pixels, alpha: Pixels) -> float:
    """Divides the finest details in the hole by those around it. Medians keep edges from counting."""
    fine = np.abs(luma - cv2.GaussianBlur(luma, (0, 0), FINE))
    inside, outside = fine[alpha >= 0.999][::3], fine[alpha == 0][::3]
    if inside.size < 100 or outside.size < 100:
        return math.nan
    usual = float(np.median(outside))
    return float(np.median(inside)) / usual if usual > 1e-6 else math.nan
