"""Draws a contact sheet of a dataset: for each pair the shown picture, its quadmask and the wanted picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.base import Pixels, Quadmask

WIDTH = 240
GAP = 6
LINE = 22
COLUMNS = 2
"""Pairs beside each other."""
COLORS = {0: (220, 60, 50), 63: (240, 160, 40), 127: (60, 110, 220)}
"""RGB of remove, overlap and affected."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class SheetRow:
    """One pair: pictures of its middle frame."""

    title: str
    shown: Pixels
    codes: Quadmask
    wanted: Pixels


def sheet(rows: Sequence[SheetRow]) -> Picture:
    """Returns the sheet, RGB."""
    height = round(WIDTH * rows[0].shown.shape[0] / rows[0].shown.shape[1])
    cell = (LINE + height + GAP, 3 * WIDTH + 4 * GAP)
    lines = -(-len(rows) // COLUMNS)
    page = np.full((lines * cell[0] + GAP, COLUMNS * cell[1], 3), 32, np.uint8)
    for index, row in enumerate(rows):
        top = index // COLUMNS * cell[0]
        left = index % COLUMNS * cell[1] + GAP
        text = row.title.encode("ascii", "replace").decode()
        cv2.putText(
            page, text, (left, top + LINE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (220,) * 3, 1,
            cv2.LINE_AA,
        )  # fmt: skip
        for place, picture in enumerate(
            (_displayed(row.shown), _coded(row.shown, row.codes), _displayed(row.wanted))
        ):
            x = left + place * (WIDTH + GAP)
            small = cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)
            page[top + LINE : top + LINE + height, x : x + WIDTH] = small
    return page


def _displayed(picture: Pixels) -> Picture:
    shown: Picture = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return shown


def _coded(picture: Pixels, codes: Quadmask) -> Picture:
    """The picture in gray, with the quadmask's areas in color."""
    gray = _displayed(np.repeat(picture.mean(2, keepdims=True) * np.float32(0.7), 3, 2))
    for code, color in COLORS.items():
        gray[codes == code] = gray[codes == code] // 2 + np.array(color, np.uint8) // 2
    return gray
