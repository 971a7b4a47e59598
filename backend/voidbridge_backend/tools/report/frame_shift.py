"""Finds the number of frames by which a result is late."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.quality.reference import encode

SMALL = 120
"""Lines of the reduced pictures used to find a shift of frames."""
REACH = 2
"""Largest detected shift in frames; such errors are one or two frames."""


class FrameShift:
    """Finds the neighboring frame that a frame resembles most outside of the hole. Keeps five small pictures."""

    def __init__(self) -> None:
        self._recent: deque[tuple[Pixels, Pixels, NDArray[np.bool_]]] = deque(maxlen=2 * REACH + 1)
        self._errors = np.zeros(2 * REACH + 1)

    def add(self, plate: Pixels, result: Pixels, hole: NDArray[np.bool_]) -> None:
        shrink = max(1, plate.shape[0] // SMALL)
        size = max(plate.shape[1] // shrink, 1), max(plate.shape[0] // shrink, 1)
        small = [
            np.asarray(
                cv2.resize(encode(one[..., 1]), size, interpolation=cv2.INTER_AREA), np.float32
            )
            for one in (plate, result)
        ]
        covered = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        self._recent.append((small[0], small[1], covered))
        if (
            len(self._recent) == self._recent.maxlen
            and len({p.shape for p, *_ in self._recent}) == 1
        ):
            _, middle, _ = self._recent[REACH]
            outside = ~np.logical_or.reduce([covered for *_, covered in self._recent])
            if outside.any():
                self._errors += [
                    float(np.square(middle - near, dtype=np.float64)[outside].mean())
                    for near, *_ in self._recent
                ]

    @property
    def frames(self) -> int:
        """The result's delay in frames; 0 unless another frame fits clearly better."""
        best = int(np.argmin(self._errors))
        if self._errors[best] < 0.5 * self._errors[REACH]:
            return REACH - best
        return 0
