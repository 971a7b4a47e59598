"""Draws a contact sheet of an evaluation: a row for each pair, a column for each removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .png_mark import marked
from .reference import Floats, Hole

Picture = NDArray[np.uint8]

WIDTH, GAP, LINE, HEADER = 200, 8, 24, 44
"""Pixels of a picture's width, between pictures, of a line of text, and of the title."""
PAPER, INK, FAINT = (26, 24, 24), (230, 232, 232), (152, 150, 150)
"""Colors, BGR."""
EDGE = (72, 92, 255)


@dataclass(frozen=True)
class Cell:
    """One picture in the model's space, and the words above it."""

    title: str
    picture: Floats
    outline: Hole | None = None
    """A hole whose outline is drawn."""


@dataclass(frozen=True)
class SheetPair:
    """One pair: the cells of its middle frame."""

    title: str
    cells: Sequence[Cell]


def draw(title: str, rows: Sequence[SheetPair]) -> bytes:
    """Returns the sheet as PNG, with the mark of this tool. Every row has as many cells as the first."""
    heights = [_height(row.cells[0].picture) + 2 * LINE + GAP for row in rows]
    width = len(rows[0].cells) * (WIDTH + GAP) + GAP
    page = np.full((HEADER + sum(heights) + GAP, width, 3), PAPER, np.uint8)
    _write(page, title, (GAP, 28), 0.55, INK)
    top = HEADER
    for row, height in zip(rows, heights, strict=True):
        _write(page, row.title, (GAP, top + LINE - 8), 0.42, FAINT)
        for column, cell in enumerate(row.cells):
            left = GAP + column * (WIDTH + GAP)
            _write(page, cell.title, (left, top + 2 * LINE - 8), 0.4, INK)
            picture = _displayed(cell)
            begin = top + 2 * LINE
            page[begin : begin + picture.shape[0], left : left + WIDTH] = picture
        top += height
    good, coded = cv2.imencode(".png", page)
    if not good:
        raise ValueError(f"a picture of {page.shape} cannot be written as PNG")
    return marked(coded.tobytes())


def _height(picture: Floats) -> int:
    high, wide = picture.shape[:2]
    return max(round(WIDTH * int(high) / int(wide)), 1)


def _displayed(cell: Cell) -> Picture:
    size = (WIDTH, _height(cell.picture))
    kind = cv2.INTER_AREA if cell.picture.shape[1] > WIDTH else cv2.INTER_NEAREST
    small = cv2.resize(np.clip(cell.picture, 0, 1), size, interpolation=kind)
    shown = np.ascontiguousarray((small[..., ::-1] * 255 + 0.5).astype(np.uint8))
    if cell.outline is not None:
        inside = cv2.resize(cell.outline.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        edges, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(shown, edges, -1, EDGE, 1)
    return shown


def _write(
    page: Picture, text: str, at: tuple[int, int], size: float, color: tuple[int, int, int]
) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(page, plain, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)
