"""Scene-linear light as a picture that can be compared: logarithmic, about 0 to 1.

Nothing that is returned to the artist goes through here; only decisions are made on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
        code = _log1p(np.maximum(light, 0) * np.float32(STEEP * self.exposure))
        code *= np.float32(1 / math.log1p(STEEP * WHITE))
        return code

    def apart(self, layers: Floats, one: Floats) -> Floats:
        """[layer, pixel]: how far `encode` of each layer [layer, pixel, 3] is from that of `one` [pixel, 3], in the
        channel that differs most. One logarithm instead of three.
        """
        lifted, base = (
            np.maximum(light, 0) * np.float32(STEEP * self.exposure) + np.float32(1)
            for light in (layers, one)
        )
        lifted /= base
        # Three maxima of whole planes are several times faster than one along an axis of three.
        most = np.maximum(np.maximum(lifted[..., 0], lifted[..., 1]), lifted[..., 2])
        least = np.minimum(np.minimum(lifted[..., 0], lifted[..., 1]), lifted[..., 2])
        ratio = np.maximum(most, 1 / least)
        return np.asarray(np.log(ratio) * np.float32(1 / math.log1p(STEEP * WHITE)), np.float32)

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
        luma = self.encode(light @ WEIGHTS)
        return np.asarray(np.minimum(luma * 255 + 0.5, 255), np.uint8)


def _log1p(lifted: Floats) -> Floats:
    """In place. NumPy's own is exact near 0 and five times slower; this is off by 1e-7 there, far below grain."""
    lifted += 1
    return np.asarray(np.log(lifted, out=lifted), np.float32)


def exposed(samples: list[Floats]) -> Tone:
    """The tone of a shot from a few of its pictures [height, width, 3]: the brightest median is grey."""
    middles = [float(np.median(picture @ WEIGHTS)) for picture in samples]
    brightest = max(middles, default=GREY)
    return Tone(min(max(GREY / max(brightest, 1e-6), 0.05), 200.0))
