"""Turns mattes into holes: the class of each pixel, growth, and the weight of the result.

Arrays are [height, width]. A quadmask has the codes of `Quadmask`: 0 remove, 63 overlap, 127 affected, 255
keep. Distances are Euclidean, between the centers of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr.header import Window
from voidbridge_protocol.errors import BadMatte, FrameMismatch

Quadmask = NDArray[np.uint8]
"""[height, width], codes 0 remove, 63 overlap, 127 affected, 255 keep."""
Weights = NDArray[np.float32]
"""[height, width], 0 keeps the plate's bits, 1 takes the result."""

REMOVE, OVERLAP, AFFECTED, KEEP = 0, 63, 127, 255
CODES = np.array([REMOVE, OVERLAP, AFFECTED, KEEP], np.float32)

SNAP = 1.0
"""Tolerance in codes before a quadmask value counts as off level: rounding of an 8-bit or lossy file."""


class Hole(NamedTuple):
    """The area of a frame to replace: codes for the engine and weights for the merge.

    `codes` is never 255 where `alpha` is above 0.
    """

    codes: Quadmask
    alpha: Weights

    @property
    def is_empty(self) -> bool:
        return not self.alpha.any()


@dataclass(frozen=True)
class Snapped:
    """A quadmask snapped to its codes, and the number of pixels that were off level."""

    codes: Quadmask
    off: int


def from_mattes(
    primary: NDArray[Any],
    affected: NDArray[Any] | None,
    threshold: float,
    grow: float,
    soften: float,
) -> Hole:
    """Returns the hole of plain mattes. Values of at least `threshold`, in the matte's unit, are inside.

    `primary` is the object, `affected` the pixels that it touches or causes; where both are set, the code is
    63. Raises `BadMatte` if a matte is not finite.
    """
    codes = classes(_set(primary, threshold), None)
    if affected is not None:
        if affected.shape != primary.shape:
            raise FrameMismatch(f"the mattes are {primary.shape} and {affected.shape}")
        codes = classes(codes == REMOVE, _set(affected, threshold))
    return hole(codes, grow, soften)


def from_quadmask(values: NDArray[Any], unit: float, grow: float, soften: float) -> Hole:
    """Returns the hole of a quadmask; `unit` is its white: 1 for floats, 255 for codes."""
    return hole(snapped(values, unit).codes, grow, soften)


def snapped(values: NDArray[Any], unit: float) -> Snapped:
    """Snaps each pixel to its nearest code and counts off-level pixels, which filtering leaves at edges.

    From remove (0) to keep (255) a filter passes through the other codes. Those pixels form a rim one or two
    wide, and growth covers them.
    """
    _refuse_infinite(values)
    scaled = values.astype(np.float32) * np.float32(255 / unit)
    between = (CODES[1:] + CODES[:-1]) / 2
    codes = CODES[np.searchsorted(between, scaled, side="right")]
    off = int(np.count_nonzero(np.abs(scaled - codes) > SNAP))
    return Snapped(codes.astype(np.uint8), off)


def classes(remove: NDArray[np.bool_], affected: NDArray[np.bool_] | None) -> Quadmask:
    """Combines two sets of pixels into codes."""
    codes = np.where(remove, np.uint8(REMOVE), np.uint8(KEEP))
    if affected is not None:
        codes[affected] = np.where(remove[affected], np.uint8(OVERLAP), np.uint8(AFFECTED))
    return codes


def hole(codes: Quadmask, grow: float, soften: float) -> Hole:
    """Grows `codes` by `grow` + `soften` pixels. The weight is 1 up to `grow` and fades out beyond it.

    No pixel further than `grow` + `soften` from the matte changes. With 0 and 0 the codes stay unchanged.
    """
    box = _box(codes != KEEP, int(np.ceil(grow + soften)) + 1)
    grown = np.full_like(codes, KEEP)
    alpha = np.zeros(codes.shape, np.float32)
    if box is not None:
        inner = codes[box]
        distance = _distance(inner != KEEP)
        grown[box] = _grown(inner, distance, grow + soften)
        alpha[box] = _fading(distance, grow, soften)
    return Hole(grown, alpha)


def on_window(values: NDArray[Any], have: Window, want: Window, outside: float) -> NDArray[Any]:
    """Moves a matte from its own data window to the plate's; pixels that it lacks become `outside`."""
    fitted = np.full((want.height, want.width), outside, values.dtype)
    left, top = max(have.xmin, want.xmin), max(have.ymin, want.ymin)
    right, bottom = min(have.xmax, want.xmax), min(have.ymax, want.ymax)
    if left <= right and top <= bottom:
        fitted[
            top - want.ymin : bottom - want.ymin + 1, left - want.xmin : right - want.xmin + 1
        ] = values[
            top - have.ymin : bottom - have.ymin + 1, left - have.xmin : right - have.xmin + 1
        ]
    return fitted


def _set(values: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    if values.dtype == np.float16 and threshold > 0:
        return _set_halves(np.ascontiguousarray(values), threshold)
    _refuse_infinite(values)
    # Compared with a half array, NumPy would first round the threshold to a half.
    inside: NDArray[np.bool_] = values.astype(np.float32, copy=False) >= np.float32(threshold)
    return inside


def _set_halves(values: NDArray[np.float16], threshold: float) -> NDArray[np.bool_]:
    """Compares as words. NumPy is slow with halves, and positive halves sort like their words."""
    least = np.float16(threshold)
    if np.float32(least) < np.float32(threshold):
        least = np.nextafter(least, np.float16(np.inf))
    words = values.view(np.int16)
    _refuse(int(np.count_nonzero((words & 0x7FFF) >= 0x7C00)))
    return np.asarray(words >= least.view(np.int16))


def _refuse_infinite(values: NDArray[Any]) -> None:
    _refuse(0 if values.dtype.kind != "f" else int(np.count_nonzero(~np.isfinite(values))))


def _refuse(wrong: int) -> None:
    if wrong:
        raise BadMatte(f"the matte has {wrong} pixels that are not a number or infinite")


def _grown(codes: Quadmask, distance: NDArray[np.float32], reach: float) -> Quadmask:
    """Grows both classes; `distance` is the distance to either.

    The object's own pixels keep their code: the growth of the other class stops there.
    """
    remove = (codes == REMOVE) | (codes == OVERLAP)
    affected = (codes == AFFECTED) | (codes == OVERLAP)
    if not affected.any():
        return classes(distance <= reach, None)
    wider = affected | ((_distance(affected) <= reach) & ~remove)
    return classes(_distance(remove) <= reach, wider)


def _distance(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Returns each pixel's distance to the nearest one inside, or infinity if there is none."""
    if not inside.any():
        return np.full(inside.shape, np.inf, np.float32)
    outside = (~inside).astype(np.uint8)
    return cast(
        NDArray[np.float32], cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    )


def _fading(distance: NDArray[np.float32], grow: float, soften: float) -> Weights:
    if soften < 1e-3:
        return (distance <= grow).astype(np.float32)
    t: Weights = np.clip((distance - np.float32(grow)) / np.float32(soften), 0, 1)
    return 1 - t * t * (3 - 2 * t)


def _box(inside: NDArray[np.bool_], margin: int) -> tuple[slice, slice] | None:
    """Returns the rectangle around all pixels inside, with a margin, clipped to the picture."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return None
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + margin + 1),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + margin + 1),
    )
