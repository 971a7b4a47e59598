"""Measures a key from its files, against a true alpha if there is one, and draws it over three backgrounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Header
from voidbridge_backend.exr.layers import Selection, choose_picture
from voidbridge_backend.exr.matte_channels import candidates
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.quality.contact_sheet import write_png
from voidbridge_backend.quality.matte_scores import (
    CLEAR,
    AlphaScores,
    alpha_scores,
    few_clear,
    recomposite_error,
    spill_left,
)
from voidbridge_backend.sequences.patterns import Sequence, frames_for
from voidbridge_protocol.errors import FrameMismatch, UnclearLayer

Array = NDArray[np.float32]
Picture = NDArray[np.uint8]

SHOWN = 3
"""Frames on the picture, spread over the clip."""
TILE_WIDTH, GAP = 400, 8
SQUARE, DARK, LIGHT = 16, 0.02, 0.27
"""Side in pixels and linear values of the checkerboard."""
COLOR = (0.35, 0.05, 0.25)
"""The colored background, linear: far from green, blue and gray, so that spill shows."""


@dataclass(frozen=True)
class KeyReport:
    """Means over the frames. `None` for what has no truth to be held against.

    `sad` is in pixels; `flicker` is the mean change of alpha from frame to frame; `recomposite_error` is the
    largest.
    """

    frames: int
    spill_left: float
    recomposite_error: float
    flicker: float
    clear: float
    """Share of the pixels that show the screen alone."""
    sad: float | None = None
    mse: float | None = None
    gradient: float | None = None
    truth_flicker: float | None = None

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"frames              {self.frames}"
        yield f"clear screen        {self.clear:.1%} of the pixels"
        if warning := few_clear([self.clear]):
            yield f"warning             {warning}"
        yield f"spill left          {self.spill_left:.2%} of the screen's color"
        yield f"recomposite error   {self.recomposite_error:.5f} at most"
        yield f"flicker of alpha    {self.flicker:.5f}" + (
            f", the truth's {self.truth_flicker:.5f}" if self.truth_flicker is not None else ""
        )
        if self.sad is not None:
            yield f"alpha against truth SAD {self.sad:.1f} px, MSE {self.mse:.6f}, gradient {self.gradient:.2f}"


def review(
    result: Sequence,
    plate: Sequence,
    truth: Sequence | None,
    picture: Path | None,
    on_frame: Callable[[int, int], None],
) -> KeyReport:
    """Measures every frame of the result, and draws `picture` (PNG). Raises `RequestError`."""
    frames, files = frames_for(result, None), FrameReader()
    shown = {frames[int(i)] for i in np.linspace(0, len(frames) - 1, SHOWN + 2).round()[1:-1]}
    found: list[_Seen] = []
    columns: list[Picture] = []
    last: tuple[Array, Array | None] | None = None
    for number, frame in enumerate(frames, 1):
        key = reader.read(result.path(frame), _alpha_of_key)
        light = _read(files, plate, frame, choose_picture)
        alpha = key.channels["alpha.A"].astype(np.float32)
        foreground, screen, whole = _layer(key, "fg"), _layer(key, "screen"), light.rgb()
        if whole.shape[:2] != alpha.shape:
            raise FrameMismatch(f"frame {frame} of plate and result differ in size")
        true = _truth(files, truth, frame, alpha.shape) if truth else None
        found.append(_Seen.of(alpha, foreground, screen, whole, true, last))
        last = alpha, true
        if picture is not None and frame in shown:
            columns.append(_column(whole, alpha, foreground))
        on_frame(number, len(frames))
    if picture is not None:
        write_png(picture, _joined(columns))
    return _report(found, truth is not None)


@dataclass(frozen=True)
class _Seen:
    """The numbers of one frame."""

    spill: float
    error: float
    change: float
    true_change: float
    clear: float
    scores: AlphaScores | None

    @classmethod
    def of(
        cls,
        alpha: Array,
        foreground: Array,
        screen: Array,
        plate: Array,
        truth: Array | None,
        last: tuple[Array, Array | None] | None,
    ) -> _Seen:
        change = true_change = math.nan
        if last is not None and last[0].shape == alpha.shape:
            change = float(np.abs(alpha - last[0]).mean())
            if truth is not None and last[1] is not None:
                true_change = float(np.abs(truth - last[1]).mean())
        return cls(
            spill_left(foreground, alpha, screen),
            recomposite_error(plate, alpha, foreground, screen),
            change,
            true_change,
            float((alpha <= CLEAR).mean()),
            alpha_scores(alpha, truth) if truth is not None else None,
        )


def _report(found: list[_Seen], has_truth: bool) -> KeyReport:
    def mean(values: list[float]) -> float:
        known = [value for value in values if not math.isnan(value)]
        return float(np.mean(known)) if known else 0.0

    scores = [asdict(seen.scores) for seen in found if seen.scores is not None]
    against: dict[str, Any] = {}
    if has_truth:
        against = {name: mean([one[name] for one in scores]) for name in scores[0]}
        against["truth_flicker"] = mean([seen.true_change for seen in found])
    return KeyReport(
        len(found),
        mean([seen.spill for seen in found]),
        max(seen.error for seen in found),
        mean([seen.change for seen in found]),
        mean([seen.clear for seen in found]),
        **against,
    )


def _alpha_of_key(header: Header) -> Selection:
    for index, part in enumerate(header.parts):
        if any(channel.name == "alpha.A" for channel in part.channels):
            return Selection(index, ("alpha.A",))
    raise UnclearLayer(
        "the result has no layer alpha",
        "Name the result of `voidbridge key` first, then its plate.",
    )


def _layer(frame: reader.Frame, name: str) -> Array:
    planes = [frame.channels[f"{name}.{c}"].astype(np.float32) for c in "RGB"]
    return np.stack(planes, axis=-1)


def _read(
    files: FrameReader, sequence: Sequence, frame: int, choose: reader.Choose
) -> reader.Frame:
    path = sequence.path(frame)
    return files.read(path, path.name, choose, lambda header: header, sequence.index(frame))


def _truth(files: FrameReader, truth: Sequence, frame: int, shape: tuple[int, ...]) -> Array:
    def choose(header: Header) -> Selection:
        chosen = candidates(header)[0]
        return Selection(chosen.part, (chosen.channel,))

    decoded = _read(files, truth, frame, choose)
    values = decoded.channels[decoded.selected[0]].astype(np.float32)
    if values.shape != shape:
        raise FrameMismatch(f"frame {frame} of truth and result differ in size")
    return values


def _column(plate: Array, alpha: Array, foreground: Array) -> Picture:
    """The plate, its alpha, and the foreground over a checkerboard, over black and over a color."""
    rows, columns = np.indices(alpha.shape) // SQUARE
    checker = np.where((rows + columns) % 2 == 0, DARK, LIGHT).astype(np.float32)[..., None]
    cover = alpha[..., None]
    backgrounds = (checker, np.float32(0), np.array(COLOR, np.float32))
    over = [foreground * cover + (1 - cover) * background for background in backgrounds]
    return _stacked([_shown(plate), _shown(np.repeat(cover, 3, axis=2)), *map(_shown, over)])


def _shown(light: Array) -> Picture:
    """[height, width, 3], 8 bit sRGB, `TILE_WIDTH` wide."""
    height, width = light.shape[:2]
    size = TILE_WIDTH, max(1, round(height * TILE_WIDTH / width))
    method = cv2.INTER_AREA if width > TILE_WIDTH else cv2.INTER_LINEAR
    small = np.clip(cv2.resize(np.clip(light, 0, 1), size, interpolation=method), 0, 1)
    curve = np.where(small <= 0.0031308, small * 12.92, 1.055 * small ** (1 / 2.4) - 0.055)
    return np.asarray(curve * 255 + 0.5, np.uint8)


def _stacked(pictures: list[Picture]) -> Picture:
    gap = np.zeros((GAP, pictures[0].shape[1], 3), np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1])


def _joined(columns: list[Picture]) -> Picture:
    gap = np.zeros((columns[0].shape[0], GAP, 3), np.uint8)
    return np.concatenate([part for column in columns for part in (column, gap)][:-1], axis=1)
