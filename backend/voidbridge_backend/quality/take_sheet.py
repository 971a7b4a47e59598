"""Draws the takes of a shot below each other as a PNG, each with its words, for looking at only."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr.reader import read
from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_protocol.errors import RequestError

from .png_mark import marked

PAPER, INK, FAINT = (26, 24, 24), (230, 232, 232), (152, 150, 150)
"""Colors, BGR."""
WIDTH, GAP, WORDS, HEADER, LINE = 240, 10, 260, 60, 18
"""Pixels of a picture's width, between pictures, for the words, above the pictures, and for a line of words."""
LETTERS = 32
MOST_LINES = 5
EXPOSURE = 1.5


@dataclass(frozen=True)
class TakeRow:
    """One take: its name, how it was made, its prompt, and some of its frames."""

    name: str
    made: str
    prompt: str
    files: tuple[tuple[int, Path], ...]


def take_sheet(title: str, rows: Sequence[TakeRow]) -> bytes:
    """The bytes of the PNG. A frame that cannot be read stays dark."""
    pictures = [[_shown(path) for _, path in row.files] for row in rows]
    height = max((p.shape[0] for row in pictures for p in row), default=WIDTH // 2)
    height = max(height, LINE * (MOST_LINES + 2))
    across = WORDS + max((len(row) for row in pictures), default=1) * (WIDTH + GAP) + GAP
    page = np.full((HEADER + len(rows) * (height + 2 * GAP + LINE), across, 3), PAPER, np.uint8)
    _write(page, title, (GAP, 36), 0.8, INK)
    for at, (row, found) in enumerate(zip(rows, pictures, strict=True)):
        top = HEADER + at * (height + 2 * GAP + LINE)
        lines = [row.made, *textwrap.wrap(row.prompt, LETTERS)[:MOST_LINES]]
        _write(page, row.name, (GAP, top + LINE), 0.55, INK)
        for number, text in enumerate(lines, 2):
            _write(page, text, (GAP, top + LINE * number), 0.42, FAINT)
        for column, ((frame, _), picture) in enumerate(zip(row.files, found, strict=True)):
            left = WORDS + column * (WIDTH + GAP)
            page[top : top + picture.shape[0], left : left + WIDTH] = picture
            _write(page, str(frame), (left, top + height + LINE - 4), 0.42, FAINT)
    good, coded = cv2.imencode(".png", page, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    assert good
    return marked(coded.tobytes())


def _shown(path: Path) -> NDArray[np.uint8]:
    """[height, WIDTH, 3] BGR codes: a soft shoulder and the sRGB curve."""
    try:
        frame = read(path)
        plan = ColorPlan.choose("", frame.part)
        light = plan.to_scene(frame.rgb()) @ plan.to_rec709.T.astype(np.float32)
    except (OSError, RequestError):
        return np.zeros((WIDTH // 2, WIDTH, 3), np.uint8)
    bounded = 1 - np.exp(-np.clip(np.nan_to_num(light), 0, 1e4) * np.float32(EXPOSURE))
    wide = max(round(light.shape[0] * WIDTH / light.shape[1]), 1)
    small = cv2.resize(bounded.astype(np.float32), (WIDTH, wide), interpolation=cv2.INTER_AREA)
    curve = np.where(small <= 0.0031308, 12.92 * small, 1.055 * small ** (1 / 2.4) - 0.055)
    return np.asarray((curve[..., ::-1] * 255 + 0.5).clip(0, 255), np.uint8)


def _write(
    page: NDArray[np.uint8],
    text: str,
    corner: tuple[int, int],
    size: float,
    color: tuple[int, int, int],
) -> None:
    cv2.putText(page, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)
