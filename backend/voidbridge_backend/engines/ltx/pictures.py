"""Fits pictures, [height, width, 3] codes, to the model's size and back, and matches tones at a join."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from voidbridge_backend.engines.base import Pixels

GRID = 32
"""Pixels of one latent: the model's sizes are multiples of it."""
PIXELS = 768 * 512
"""Pixels of the model's picture, about; four times as many with `upscale`."""
SOFT = 1 / 16
"""Blur of the difference at a join, as a part of the picture's height: tone is matched, texture is not."""


@dataclass(frozen=True)
class Fit:
    """A plate's picture inside the model's: scaled with square pixels, at the upper left, its edge repeated."""

    plate: tuple[int, int]
    """(height, width) of the plate."""
    content: tuple[int, int]
    """(height, width) of the plate's picture inside the model's."""
    model: tuple[int, int]
    """(height, width) of the model's picture."""

    @classmethod
    def of(cls, height: int, width: int, aspect: float, pixels: int, grid: int = GRID) -> Fit:
        """At most about `pixels` of the model for a plate whose pixels are `aspect` times as wide as high.

        A plate that is smaller keeps its height. `grid` is the multiple that the model's sizes have.
        """
        shown = width * aspect
        scale = min(1.0, math.sqrt(pixels / (height * shown)))
        content = max(1, round(height * scale)), max(1, round(shown * scale))
        # The autoencoder cannot pad a single latent, so each side has two.
        model = tuple(max(-(-side // grid), 2) * grid for side in content)
        return cls((height, width), content, (model[0], model[1]))

    def to_model(self, picture: Pixels) -> Pixels:
        """Float32 [*model, 3]."""
        high, wide = self.content
        small = picture
        if picture.shape[:2] != self.content:
            # An area filter keeps fine detail from becoming a pattern that moves.
            small = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA)
        below, right = self.model[0] - high, self.model[1] - wide
        filled = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_REPLICATE)
        return np.asarray(filled, np.float32)

    def to_plate(self, picture: Pixels) -> Pixels:
        """Float32 [*plate, 3]."""
        high, wide = self.content
        part = np.ascontiguousarray(picture[:high, :wide])
        if self.content == self.plate:
            return part
        size = (self.plate[1], self.plate[0])
        return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_CUBIC), np.float32)


@dataclass(frozen=True)
class Join:
    """How the model's picture of a known frame differs in tone from the frame itself, on one side or on both."""

    before: Pixels | None
    behind: Pixels | None

    def applied(self, picture: Pixels, share: float) -> Pixels:
        """The picture with the difference added. `share` is 0 at the frames before, 1 at those behind."""
        if self.before is None and self.behind is None:
            return picture
        one = self.before if self.before is not None else self.behind
        other = self.behind if self.behind is not None else self.before
        assert one is not None
        assert other is not None
        return np.asarray(
            picture + one * np.float32(1 - share) + other * np.float32(share), np.float32
        )


def difference(known: Pixels, made: Pixels) -> Pixels:
    """The soft difference in tone of a known frame and the model's picture of it."""
    sigma = max(1.0, known.shape[0] * SOFT)
    return np.asarray(cv2.GaussianBlur(known - made, (0, 0), sigma), np.float32)
