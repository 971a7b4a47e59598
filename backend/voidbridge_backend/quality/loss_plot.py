"""Draws the losses of a training as a PNG."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .png_mark import marked

WIDTH, HEIGHT = 960, 480
LEFT, TOP, RIGHT, BOTTOM = 80, 50, 20, 50
INK, FAINT, LINE, HELD = (40, 40, 40), (220, 220, 220), (200, 160, 110), (40, 60, 200)
"""Colors, BGR."""
MEAN_OF = 20
"""Steps over which the loss of the training is averaged."""

Points = Sequence[Sequence[float]]
"""[step, value] each, rising."""


def plot(loss: Points, held: Points, title: str) -> bytes:
    """Returns a PNG: the loss of the training, averaged over `MEAN_OF` steps, and that of the held-out pairs."""
    page = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    smooth = _averaged(loss)
    values = [value for _, value in (*smooth, *held)] or [0.0]
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or 0.5
    low, high = low - margin, high + margin
    last = max([step for step, _ in (*smooth, *held)] or [1.0]) or 1.0

    def place(step: float, value: float) -> tuple[int, int]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)
        return round(x), round(y)

    for part in range(6):
        value, step = low + (high - low) * part / 5, last * part / 5
        y, x = place(0, value)[1], place(step, low)[0]
        cv2.line(page, (LEFT, y), (WIDTH - RIGHT, y), FAINT, 1)
        _write(page, f"{value:.3f}", (8, y + 5))
        _write(page, f"{step:.0f}", (x - 14, HEIGHT - 22))
    for points, color in ((smooth, LINE), (held, HELD)):
        at = np.array([place(*point) for point in points], np.int32).reshape(-1, 1, 2)
        if len(at):
            cv2.polylines(page, [at], False, color, 2, cv2.LINE_AA)
    for point in held:
        cv2.circle(page, place(*point), 4, HELD, -1, cv2.LINE_AA)
    _write(
        page, f"{title}   blue: loss of the training   red: held-out pairs   x: steps", (LEFT, 30)
    )
    good, coded = cv2.imencode(".png", page)
    if not good:
        raise ValueError(f"a picture of {page.shape} cannot be written as PNG")
    return marked(coded.tobytes())


def _averaged(points: Points) -> list[tuple[float, float]]:
    values: NDArray[np.float64] = np.array([value for _, value in points], np.float64)
    return [
        (step, float(values[max(0, place + 1 - MEAN_OF) : place + 1].mean()))
        for place, (step, _) in enumerate(points)
    ]


def _write(page: NDArray[np.uint8], text: str, at: tuple[int, int]) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(page, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
