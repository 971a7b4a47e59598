"""Scene-linear light as a picture that can be compared: logarithmic, about 0 to 1.

Nothing that is returned to the artist goes through here; only decisions are made on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

GREY = 0.18
STEEP = 50.0
"""`encode` is straight below about 1 / STEEP of light and logarithmic above it."""
WHITE = 16.0
"""The light, after exposure, that comes to 1."""
WEIGHTS = np.array([0.30, 0.59, 0.11], np.float32)


@dataclass(frozen=True)
class Tone:
    """`exposure` brings a shot's middle to grey, so that a night shot has features too."""

    exposure: float = 1.0

    def encode(self, light: Floats) -> Floats:
        """[..., 3] or [...]: light to about 0 to 1; negative light is 0, above WHITE goes on rising."""
        code = self._risen(light)
        code *= np.float32(1 / math.log1p(STEEP * WHITE))
        return code

    def apart(self, layers: Floats, one: Floats) -> Floats:
        """[layer, pixel]: how far each of `layers` [3, layer, pixel] is from `one` [3, pixel], both encoded, in the
        channel that differs most.
        """
        most = np.zeros(layers.shape[1:], np.float32)
        for plane, same in zip(layers, one, strict=True):
            difference = self._risen(plane)
            difference -= self._risen(same)
            np.maximum(most, np.abs(difference, out=difference), out=most)
        most *= np.float32(1 / math.log1p(STEEP * WHITE))
        return most

    def _risen(self, light: Floats) -> Floats:
        _, lit = cv2.threshold(light, 0, 0, cv2.THRESH_TOZERO)
        lit *= np.float32(STEEP * self.exposure)
        return _log1p(lit).reshape(light.shape)

    def compress(self, light: Floats) -> Floats:
        """Like `encode`, odd about zero: nothing is lost, and `expand` brings it back."""
        steep = np.float32(STEEP * self.exposure)
        return np.asarray(np.copysign(_log1p(np.abs(light) * steep), light), np.float32)

    def expand(self, compressed: Floats) -> Floats:
        """The inverse of `compress`."""
        steep = np.float32(STEEP * self.exposure)
        rise = np.exp(np.abs(compressed))
        rise -= 1
        rise /= steep
        return np.asarray(np.copysign(rise, compressed), np.float32)

    def grey8(self, light: Floats) -> NDArray[np.uint8]:
        """[height, width, 3] light to an 8 bit luma [height, width] for tracking."""
        return self.grey_of_light(light @ WEIGHTS)

    def light_of_grey(self, grey: NDArray[np.uint8]) -> Floats:
        """The light of a luma of `grey8`."""
        table = np.expm1(np.arange(256) / 255 * math.log1p(STEEP * WHITE)) / (STEEP * self.exposure)
        return np.asarray(table.astype(np.float32)[grey], np.float32)

    def grey_of_light(self, luma: Floats) -> NDArray[np.uint8]:
        """[height, width] light to the 8 bit luma that `grey8` has for it."""
        code = self.encode(luma)
        code *= 255
        code += np.float32(0.5)
        return np.asarray(np.minimum(code, 255, out=code), np.uint8)


def _log1p(lifted: Floats) -> Floats:
    """Off by 1e-7 near 0, far below grain, and five times as fast as NumPy's. Overwrites what it is given."""
    lifted += 1
    return np.asarray(cv2.log(lifted), np.float32).reshape(lifted.shape)


def exposed(samples: list[Floats]) -> Tone:
    """The tone of a shot from a few of its pictures [height, width, 3]: the brightest median is grey."""
    middles = [float(np.median(picture @ WEIGHTS)) for picture in samples]
    brightest = max(middles, default=GREY)
    return Tone(min(max(GREY / max(brightest, 1e-6), 0.05), 200.0))
