"""Finds the kind of a clip's matte.

The kind is decided for the whole clip from counts of its values, collected frame by frame. A clip is a quadmask
only if it really holds the levels 63 or 127. A soft edge passes through every level and is not one. This module
only counts; `quadmask` makes the holes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_protocol.errors import BadMatte

from .quadmask import AFFECTED, CODES, KEEP, Hole, from_mattes, from_quadmask

MatteKind = Literal["matte", "quadmask"]

LEVELS = 1 << 16
"""Number of half floats; the histogram has one bin for each."""
EXACT = 1 << 24
"""float32 represents every whole number up to this one."""
NEAR = 0.15
"""Tolerance in codes around a level. code/255 as a half is off by 0.03 at most, 0.5 by 0.5."""
NEAR_TRANSFORMED = 0.02
"""The same for levels after a color transform: a plain matte of 0.05 is not to be taken for a 63 read as sRGB."""
NEAR_LOSSY = 8.0
"""The same for a lossy format: JPEG at a quality of 75 moves flat levels by up to 6."""
LEAST_LOSSY = 0.25
"""A plain matte in a lossy format counts from this value on: its noise around an edge reaches 0.2."""
SHARE = 0.5
"""In a quadmask, at least this fraction of the pixels between 0 and white is on the two middle levels. A resize
in the host leaves other values along edges only.
"""
MOST = 0.6
"""A plain matte that covers a larger fraction of the clip is probably wrong."""


@dataclass(frozen=True)
class Verdict:
    """The kind of a clip's matte, as values for `quadmask` and as text for the artist."""

    kind: MatteKind
    unit: float
    """The file's white: 1, or 255 if the codes are stored directly."""
    channel: str
    text: str
    warnings: tuple[str, ...] = ()
    transform: str = ""
    """The color transform that changed a quadmask, one of `_TRANSFORMS`; empty for none."""
    threshold: float = 0.0
    """From which share of white on a plain matte is set."""

    @property
    def outside(self) -> float:
        """The value outside the pixels of the matte's file."""
        return self.unit if self.kind == "quadmask" else 0.0


@dataclass
class Evidence:
    """Histogram of the values in a clip's matte. Frames add up in any order; `merge` joins two.

    Floats are counted as halves, which is finer than the levels to distinguish.
    """

    channel: str = ""
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(LEVELS, np.int64))
    least: float = np.inf
    most: float = -np.inf
    """The largest value, in the values' own precision."""
    outside: int = 0
    """Pixels of the plate where the matte's files have none: nothing is removed there."""

    is_lossy: bool = False
    """Whether the format of the files adds noise."""

    def add(self, values: NDArray[Any], name: str = "the matte", outside: int = 0) -> None:
        """Counts one frame, [height, width]; `outside` is how many pixels of the plate it leaves out.

        `BadMatte` names it when it holds a NaN or an infinity.
        """
        self.outside += outside
        if not values.size:
            return
        halves = values
        if values.dtype != np.float16:
            wrong = 0 if values.dtype.kind != "f" else np.count_nonzero(~np.isfinite(values))
            # Values beyond the halves are always white, in any unit.
            halves = np.clip(values.astype(np.float32), -60_000, 60_000).astype(np.float16)
            extremes = values.min(), values.max()
        counts = _counted(halves.view(np.uint16))
        if values.dtype == np.float16:
            # One pass over the pixels counts everything, because NumPy is slow with halves.
            wrong = counts[~_FINITE].sum()
            held = _VALUES[(counts > 0) & _FINITE]
            extremes = held.min(initial=np.inf), held.max(initial=-np.inf)
        if wrong:
            raise BadMatte(f"{name} has {wrong} pixels that are not a number or infinite")
        self.counts += counts
        self._widen(*map(float, extremes))

    def merge(self, other: Evidence) -> None:
        self.counts += other.counts
        self.outside += other.outside
        self.is_lossy |= other.is_lossy
        self._widen(other.least, other.most)

    def _widen(self, least: float, most: float) -> None:
        self.least, self.most = min(self.least, least), max(self.most, most)

    @property
    def counted(self) -> int:
        """Pixels that the files have."""
        return int(self.counts.sum())

    @property
    def pixels(self) -> int:
        """Pixels of the plate, over all frames."""
        return self.counted + self.outside

    def covered(self, threshold: float) -> float:
        """The share of the plate's picture that a plain matte sets."""
        return (
            self.count_from(self.set_from(threshold) * self.unit) / self.pixels
            if self.pixels
            else 0.0
        )

    def set_from(self, threshold: float) -> float:
        """From which share of white on a pixel counts; more than `threshold` for a lossy format."""
        return max(threshold, LEAST_LOSSY) if self.is_lossy else threshold

    def not_kept(self) -> float:
        """The share of the plate's picture that a quadmask does not keep."""
        kept = self.count_from((AFFECTED + KEEP) / 2 * self.unit / 255)
        return (self.counted - kept) / self.pixels if self.pixels else 0.0

    @property
    def largest(self) -> float:
        held = _VALUES[self.counts > 0]
        return float(held.max()) if held.size else 0.0

    @property
    def unit(self) -> float:
        """Returns 255 if the values can only be codes, otherwise 1, with room for a filter's overshoot."""
        return 255.0 if self.largest > 4 else 1.0

    @property
    def is_one_everywhere(self) -> bool:
        """True for the alpha of a picture without a matte: opaque on every pixel of the clip."""
        return self.pixels > 0 and self.count_near([self.unit]) == self.pixels

    def count_near(self, levels: list[float], near: float = NEAR) -> int:
        """Pixels within `near` codes of one of these values, and the rounding to a half.

        Of a lossy format within `NEAR_LOSSY` at least.
        """
        near = max(near, NEAR_LOSSY) if self.is_lossy else near
        close = np.zeros(LEVELS, bool)
        for level in levels:
            close |= np.abs(_VALUES - level) <= near * self.unit / 255 + level * 2.0**-11
        return int(self.counts[close].sum())

    def count_from(self, value: float) -> int:
        """Counts pixels of at least this value."""
        return int(self.counts[value <= _VALUES].sum())


def kind_of(
    evidence: Evidence, asked: str = "auto", threshold: float = 0.1, undo: bool = False
) -> Verdict:
    """Returns the kind of the clip's matte; `asked` is "auto", "matte" or "quadmask".

    Raises `BadMatte` if the clip has no pixel, or if a color transform changed a quadmask. Its 63 would be read as
    0, and its 127 as 63. With `undo` the transform is recorded instead, and `undone` reverses it.
    """
    if not evidence.pixels:
        raise BadMatte("the matte has no pixels")
    unit, where = evidence.unit, f"channel {evidence.channel}" if evidence.channel else "the matte"
    middle, share = _middle(evidence, lambda code: code / 255)
    if asked != "matte" and share < SHARE and not evidence.is_lossy:
        transformed = _transformed(evidence, where, undo)
        if transformed is not None:
            return transformed
    if asked == "quadmask" or (asked == "auto" and share >= SHARE):
        return _quadmask(evidence, where, middle, share)
    covered = evidence.covered(threshold)
    warnings = []
    if covered > MOST:
        warnings.append(
            f"the matte covers {covered:.0%} of the picture; if it is a quadmask without 63 and 127, "
            "in which black is removed, set --matte-kind quadmask, or invert it"
        )
    text = f"{where} is a plain matte: white is removed, {covered:.1%} of the picture"
    least = evidence.set_from(threshold)
    if evidence.is_lossy:
        warnings.append(
            f"the matte's format is lossy: it is set from {least:g} on; PNG or OpenEXR keep its edge exact"
        )
    return Verdict("matte", unit, evidence.channel, text, tuple(warnings), threshold=least)


def _counted(words: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Counts each of the `LEVELS` words in [height, width].

    OpenCV counts five times as fast as NumPy and releases the GIL. Its counts are float32, which holds whole
    numbers up to `EXACT` only, so a large picture is counted in bands.
    """
    counts = np.zeros(LEVELS, np.int64)
    height, width = words.shape
    band = max(1, EXACT // max(1, width))
    for top in range(0, height if width else 0, band):
        rows = np.ascontiguousarray(words[top : top + band])
        counts += cv2.calcHist([rows], [0], None, [LEVELS], [0, LEVELS]).ravel().astype(np.int64)
    return counts


def hole_of(
    values: NDArray[Any],
    verdict: Verdict,
    affected: tuple[NDArray[Any], Verdict] | None = None,
    *,
    threshold: float,
    grow: float,
    soften: float,
) -> Hole:
    """Returns one frame's hole, from the matte's file values and the verdict on its clip.

    `values` and the values of `affected` are [height, width] over the plate's data window. `threshold` is in
    units of white, distances are in pixels. Raises `BadMatte` if a quadmask comes with an affected matte,
    because the quadmask already contains that class.
    """
    if verdict.kind == "quadmask":
        if affected is not None:
            raise BadMatte(
                "the matte is a quadmask, which already says what is affected",
                "Omit the affected matte, or give a plain matte as the first.",
            )
        return from_quadmask(undone(values, verdict), verdict.unit, grow, soften)
    first = _in_units(values, verdict)
    second = None if affected is None else _in_units(*affected)
    return from_mattes(first, second, threshold, grow, soften)


def undone(values: NDArray[Any], verdict: Verdict) -> NDArray[Any]:
    """Returns a quadmask's values before color management. Levels become exact; others stay in between."""
    if not verdict.transform:
        return values
    decode = _TRANSFORMS[verdict.transform]
    found = [decode(code) * verdict.unit for code in CODES.tolist()]
    return np.asarray(np.interp(values, found, CODES * (verdict.unit / KEEP)), np.float32)


def _in_units(values: NDArray[Any], verdict: Verdict) -> NDArray[Any]:
    return values if verdict.unit == 1 else values / np.float32(verdict.unit)


def _middle(
    evidence: Evidence, decode: Callable[[float], float], near: float = NEAR
) -> tuple[int, float]:
    """Counts pixels on the two middle levels as `decode` shows them, and their fraction of all between the ends."""
    unit = evidence.unit
    middle = evidence.count_near([decode(63) * unit, decode(127) * unit], near)
    ends = evidence.count_near([0.0, unit])
    between = evidence.counted - ends
    return middle, middle / between if between else 0.0


def _quadmask(evidence: Evidence, place: str, middle: int, share: float) -> Verdict:
    off = evidence.counted - middle - evidence.count_near([0.0, evidence.unit])
    removed = evidence.count_near([0.0]) / evidence.pixels
    levels = "codes 0 to 255" if evidence.unit > 1 else "values 0 to 1"
    warnings = []
    if off:
        warnings.append(
            f"{off} pixels of the quadmask ({off / evidence.pixels:.2%}) are on no level, because it was "
            "filtered; each takes the nearest level. Resize a quadmask with the filter Impulse"
        )
    if not middle and not removed:
        warnings.append("the quadmask keeps every pixel: it holds neither 0 nor 63 nor 127")
    text = f"{place} is a quadmask in {levels}: black is removed, {removed:.1%} of the picture"
    return Verdict("quadmask", evidence.unit, evidence.channel, text, tuple(warnings))


def _transformed(evidence: Evidence, place: str, undo: bool) -> Verdict | None:
    """Returns the verdict on a quadmask that a color transform changed, or None if it is not one."""
    for what, decode in _TRANSFORMS.items():
        _, share = _middle(evidence, decode, NEAR_TRANSFORMED)
        if share < SHARE:
            continue
        low, high = decode(63) * evidence.unit, decode(127) * evidence.unit
        values = f"it holds {low:.4g} and {high:.4g} where 63 and 127 should be"
        if undo:
            text = f"{place} is a quadmask that was {what}, which is undone: {values}"
            return Verdict("quadmask", evidence.unit, evidence.channel, text, (text,), what)
        raise BadMatte(
            f"{place} looks like a quadmask that was {what}: {values}",
            "Read it as raw data (in Nuke: raw data; in Resolve: no color space), let "
            "--matte-color undo take that back, or choose --matte-kind matte if it is meant to "
            "be a plain matte.",
        )
    return None


def _from_srgb(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _to_srgb(value: float) -> float:
    return value * 12.92 if value <= 0.0031308 else float(1.055 * value ** (1 / 2.4) - 0.055)


_TRANSFORMS: dict[str, Callable[[float], float]] = {
    "read as sRGB": lambda code: _from_srgb(code / KEEP),
    "read as sRGB and stored in 8 bits": lambda code: round(_from_srgb(code / KEEP) * KEEP) / KEEP,
    "read with a gamma of 2.2": lambda code: float((code / KEEP) ** 2.2),
    "read with a gamma of 2.4": lambda code: float((code / KEEP) ** 2.4),
    "written as sRGB": lambda code: _to_srgb(code / KEEP),
    "written with a gamma of 2.2": lambda code: float((code / KEEP) ** (1 / 2.2)),
}
"""Effect of each color transform on the levels 63 and 127."""

_VALUES = np.nan_to_num(
    np.arange(LEVELS, dtype=np.uint16).view(np.float16), nan=np.inf, posinf=np.inf, neginf=-np.inf
).astype(np.float32)
"""The value of each half float. NaN is never counted."""
_FINITE = np.isfinite(np.arange(LEVELS, dtype=np.uint16).view(np.float16))
