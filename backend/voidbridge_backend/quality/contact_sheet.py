"""Draws one picture of a removal: plate, quadmask, result, truth and difference of a few frames.

Plates are scene-linear ACEScg, float32 [height, width, 3]; a sheet is 8 bit sRGB [height, width, 3].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_protocol.transfer.atomic_files import write_whole

from .png_mark import marked
from .reference import Floats, encode

Picture = NDArray[np.uint8]

PAPER, INK, FAINT = (24, 24, 26), (232, 232, 230), (150, 150, 152)
GAP, MARGIN, GUTTER, HEADER = 14, 34, 190, 104
"""Pixels between pictures, around all of them, for the row names, and above the pictures."""
DIFFERENCE = 8
"""Amplification of the difference, which is computed after `reference.encode`."""
CODES = {
    0: ("remove", (255, 92, 72)),
    63: ("overlap", (255, 176, 52)),
    127: ("affected", (74, 144, 255)),
}
"""The colors of the quadmask's codes."""
DOUBT = (255, 40, 30)
"""The color of what is invented."""
AP1_TO_SRGB = np.array(
    [
        [1.70505, -0.62179, -0.08326],
        [-0.13026, 1.14080, -0.01055],
        [-0.02400, -0.12897, 1.15297],
    ],
    np.float32,
)
"""ACEScg to linear sRGB, Bradford from the ACES white to D65 (Academy TB-2014-004, ITU-R BT.709)."""
EXPOSURE = 1.5


@dataclass(frozen=True)
class Moment:
    """One frame of a sheet, already reduced to the size at which it is drawn."""

    frame: int
    plate: Picture
    quadmask: Picture
    result: Picture
    truth: Picture | None
    difference: Picture | None
    psnr_db: float
    confidence: Picture | None = None


def moment(
    frame: int,
    plate: Floats,
    quadmask: NDArray[np.uint8],
    result: Floats,
    truth: Floats | None,
    width: int = 440,
    confidence: Floats | None = None,
) -> Moment:
    """Prepares one frame for a sheet, `width` pixels wide. Without a truth its two rows are omitted.

    `confidence` [height, width], 0 to 1, has a row if it is given.
    """
    hole = quadmask != 255
    shown = np.where(hole[..., None], result, plate)
    psnr, difference, true = math.nan, None, None
    if truth is not None:
        apart = encode(shown) - encode(truth)
        error = float(np.square(apart[hole], dtype=np.float64).mean()) if hole.any() else 0.0
        psnr = -10 * math.log10(error) if error else math.inf
        raised = np.minimum(np.abs(apart).max(-1) * DIFFERENCE, 1).astype(np.float32)
        grey = _reduced(raised, width) * 255
        difference = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
        true = _displayed(truth, width)
    codes = _coded(plate, quadmask, width)
    sure = None if confidence is None else _judged(plate, confidence, width)
    return Moment(
        frame,
        _displayed(plate, width),
        codes,
        _displayed(shown, width),
        true,
        difference,
        psnr,
        sure,
    )


def sheet(moments: Sequence[Moment], title: str, subtitle: str = "") -> Picture:
    """Draws the sheet on a dark background: a column for each moment, a row for each kind of picture."""
    if not moments:
        raise ValueError("a contact sheet needs at least one frame")
    rows = _rows(moments)
    height, width = moments[0].plate.shape[:2]
    across = 2 * MARGIN + GUTTER + len(moments) * (width + GAP) - GAP
    down = MARGIN + HEADER + len(rows) * (height + GAP) - GAP + MARGIN
    page = np.full((down, across, 3), PAPER, np.uint8)
    _write(page, title, (MARGIN, MARGIN + 26), 0.95, INK)
    _write(page, subtitle, (MARGIN, MARGIN + 56), 0.55, FAINT)
    for column, one in enumerate(moments):
        x = MARGIN + GUTTER + column * (width + GAP)
        _write(page, f"frame {one.frame}", (x, MARGIN + HEADER - 12), 0.5, FAINT)
    for index, (name, note, pictures) in enumerate(rows):
        y = MARGIN + HEADER + index * (height + GAP)
        _write(page, name, (MARGIN, y + 22), 0.68, INK)
        for line, text in enumerate(note):
            _write(page, text, (MARGIN, y + 48 + 20 * line), 0.45, FAINT)
        if name == "Quadmask":
            _legend(page, MARGIN, y + 46)
        for column, picture in enumerate(pictures):
            x = MARGIN + GUTTER + column * (width + GAP)
            page[y : y + height, x : x + width] = picture
            if name == "Result" and math.isfinite(moments[column].psnr_db):
                _tag(page, f"{moments[column].psnr_db:.1f} dB", (x + width, y + height))
    return page


def write_png(path: Path, picture: Picture) -> None:
    """Writes the whole picture or nothing, with the mark of this tool. Raises `DiskFull`."""
    # Level 9 takes five times as long for files that are 2 % smaller.
    good, coded = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not good:
        raise OSError(f"a picture of {picture.shape} cannot be written as PNG to {path}")
    write_whole(path, marked(coded.tobytes()))


def _rows(moments: Sequence[Moment]) -> list[tuple[str, list[str], list[Picture]]]:
    rows = [
        ("Plate", ["the input"], [one.plate for one in moments]),
        ("Quadmask", [], [one.quadmask for one in moments]),
        ("Result", ["PSNR in the hole", "against the truth"], [one.result for one in moments]),
    ]
    sure = [one.confidence for one in moments if one.confidence is not None]
    if len(sure) == len(moments):
        rows.append(("Confidence", ["bright: frames agree", "red: invented"], sure))
    truths = [one.truth for one in moments if one.truth is not None]
    apart = [one.difference for one in moments if one.difference is not None]
    if len(truths) != len(moments) or len(apart) != len(moments):
        rows[2] = ("Result", [], rows[2][2])
        return rows
    note = ["result minus truth,", f"raised {DIFFERENCE} times"]
    return [
        *rows,
        ("Truth", ["the same frame", "without the object"], truths),
        ("Difference", note, apart),
    ]


def _reduced(picture: Floats, width: int) -> Floats:
    height = max(round(picture.shape[0] * width / picture.shape[1]), 1)
    return np.asarray(
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.float32
    )


def _displayed(light: Floats, width: int) -> Picture:
    """Applies a soft shoulder and the sRGB curve, for viewing only."""
    # Reduced after the shoulder; otherwise one lamp would outshine everything around it.
    bounded = 1 - np.exp(-np.maximum(light @ AP1_TO_SRGB.T, 0) * np.float32(EXPOSURE))
    small = _reduced(bounded.astype(np.float32), width)
    curve = np.where(small <= 0.0031308, 12.92 * small, 1.055 * small ** (1 / 2.4) - 0.055)
    return (curve * 255 + 0.5).clip(0, 255).astype(np.uint8)


def _coded(plate: Floats, quadmask: NDArray[np.uint8], width: int) -> Picture:
    """Draws the plate, dark and grey, under the colors of the codes."""
    seen = _displayed(plate, width).astype(np.float32)
    ground = seen.mean(-1, keepdims=True) * 0.45
    for code, (_, color) in CODES.items():
        cover = _reduced((quadmask == code).astype(np.float32), width)[..., None]
        ground = ground * (1 - 0.82 * cover) + 0.82 * cover * np.asarray(color, np.float32)
    return np.broadcast_to(ground, seen.shape).clip(0, 255).astype(np.uint8)


def _judged(plate: Floats, confidence: Floats, width: int) -> Picture:
    """Draws the plate, grey, and red over it where nothing is sure."""
    seen = _displayed(plate, width).mean(-1, keepdims=True)
    doubt = 1 - np.clip(_reduced(confidence, width), 0, 1)[..., None]
    mixed = seen * (1 - 0.82 * doubt) + 0.82 * doubt * np.asarray(DOUBT, np.float32)
    return np.asarray(mixed.clip(0, 255), np.uint8)


def _write(
    page: Picture, text: str, corner: tuple[int, int], size: float, color: tuple[int, int, int]
) -> None:
    cv2.putText(page, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)


def _legend(page: Picture, x: int, y: int) -> None:
    for line, (name, color) in enumerate(CODES.values()):
        top = y + 22 * line
        page[top : top + 13, x : x + 13] = color
        _write(page, name, (x + 22, top + 12), 0.45, FAINT)


def _tag(page: Picture, text: str, corner: tuple[int, int]) -> None:
    """Draws text on a dark plate in the lower right corner of a picture."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    right, bottom = corner
    box = page[bottom - 28 : bottom - 6, right - width - 22 : right - 6]
    box[:] = (box * 0.25 + np.asarray(PAPER) * 0.75).astype(np.uint8)
    _write(page, text, (right - width - 14, bottom - 12), 0.5, INK)
