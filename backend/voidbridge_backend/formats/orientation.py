"""Turns a stored picture upright. Orientations are the numbers of Exif and TIFF, tag 274.

1 is upright; 6 is stored lying on its left side, as a phone does it that is held upright.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .synthetic import TURNED

UPRIGHT = 1
_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, 1),
}
"""Exif 2.32, 4.6.4, Orientation."""
_MATRICES = {
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
"""Signs of a, b, c and d of ISO/IEC 14496-12: x' = a x + c y, y' = b x + d y, y downwards."""


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """[height, width, ...] as it is to be seen, contiguous. An unknown number changes nothing."""
    turn = _TURNS.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    return (height, width) if 5 <= orientation <= 8 else (width, height)


def upright_aspect(aspect: float, orientation: int) -> float:
    """The pixel aspect of the turned picture. One without a meaning becomes 1."""
    known = aspect if 0.01 <= aspect <= 100 else 1.0
    return 1 / known if 5 <= orientation <= 8 else known


def source_text(source: str, orientation: int) -> str:
    """The text about a source, with what was done to it."""
    return f"{source}, {TURNED}" if orientation in _TURNS else source


def of_matrix(a: int, b: int, c: int, d: int) -> int | None:
    """The orientation of a display matrix; `None` for an angle that is no quarter turn. Scales do not count."""
    signs = _sign(a), _sign(b), _sign(c), _sign(d)
    return UPRIGHT if signs in ((1, 0, 0, 1), (0, 0, 0, 0)) else _MATRICES.get(signs)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
