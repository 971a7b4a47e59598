"""Pastes an object into a clean plate, with motion, motion blur and a soft shadow: a pair whose truth is known.

Pictures are float32 [height, width, 3] in the model's space, about 0 to 1. Alphas are float32 [height, width].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.base import Pixels, Quadmask
from voidbridge_backend.imaging.grid import combined

Alpha = NDArray[np.float32]

SHUTTER = 0.5
"""Share of a frame for which the invented shutter is open: 180 degrees."""
EXPOSURES = 5
"""Places of the object that are averaged within a frame."""
SEEN = 0.02
"""Smallest alpha that counts as object."""
DARKENED = 0.03
"""Smallest darkening that counts as shadow."""


@dataclass(frozen=True)
class CutOutClip:
    """An object frame by frame: pictures, not premultiplied, and alphas."""

    pictures: Sequence[Pixels]
    alphas: Sequence[Alpha]


@dataclass(frozen=True)
class PastedClip:
    """The plate with the object, and the quadmask of object and shadow."""

    pictures: list[Pixels]
    codes: list[Quadmask]


@dataclass(frozen=True)
class _Motion:
    """How the object moves over the clip: a straight path, a scale, and the shadow beside it."""

    begin: NDArray[np.float64]
    end: NDArray[np.float64]
    scale: float
    shadow: NDArray[np.float64]
    strength: float
    softness: float

    def place(self, time: float, frames: int) -> NDArray[np.float64]:
        share = time / max(frames - 1, 1)
        return self.begin + (self.end - self.begin) * share


def pasted(plate: Sequence[Pixels], cut: CutOutClip, seed: int) -> PastedClip:
    """Pastes `cut` into every frame of `plate`; another seed gives another path, size and shadow.

    The object's frames run forwards and backwards if the plate is longer. Affected cells follow the rules of
    `imaging.grid`.
    """
    random = np.random.default_rng(seed)
    motion = _motion(random, cut, plate[0].shape[:2])
    there_and_back = [*range(len(cut.pictures)), *reversed(range(len(cut.pictures)))]
    pictures, codes = [], []
    for index, background in enumerate(plate):
        number = there_and_back[index % len(there_and_back)]
        light, alpha = _exposed(cut.pictures[number], cut.alphas[number], motion, index, len(plate))
        dark = _shadow(alpha, motion)
        picture = background * (1 - dark)[..., None] * (1 - alpha)[..., None] + light
        pictures.append(np.ascontiguousarray(picture, np.float32))
        codes.append(combined(alpha > SEEN, dark > DARKENED, is_first=index == 0, grid=True))
    return PastedClip(pictures, codes)


def blob(texture: Sequence[Pixels], seed: int) -> CutOutClip:
    """Returns an ellipse of another clip's picture, for a show without cut-outs."""
    random = np.random.default_rng(seed)
    height, width = texture[0].shape[:2]
    rows, columns = np.mgrid[:height, :width]
    radii = random.uniform(0.12, 0.25, 2) * min(height, width)
    distance = np.hypot((rows - height / 2) / radii[0], (columns - width / 2) / radii[1])
    alpha = np.clip((1 - distance) * min(radii) + 0.5, 0, 1).astype(np.float32)
    return CutOutClip([np.flip(frame, 1) for frame in texture], [alpha] * len(texture))


def _motion(random: np.random.Generator, cut: CutOutClip, size: tuple[int, ...]) -> _Motion:
    """Draws a motion that keeps the middle of the object inside the picture."""
    height, width = size[:2]
    middle = _middle(cut.alphas[0])
    inside = np.array([width, height])
    begin, end = (random.uniform(0.2, 0.8, 2) * inside - middle for _ in range(2))
    return _Motion(
        begin,
        end,
        float(random.uniform(0.7, 1.2)),
        random.uniform((-0.1, 0.02), (0.1, 0.12)) * inside,
        float(random.uniform(0.3, 0.6)),
        float(random.uniform(0.015, 0.04) * height),
    )


def _middle(alpha: Alpha) -> NDArray[np.float64]:
    """(x, y) of the alpha's weight; the picture's middle if it is empty."""
    total = float(alpha.sum())
    height, width = alpha.shape
    if total == 0:
        return np.array([width / 2, height / 2])
    return np.array(
        [
            float((alpha.sum(0) * np.arange(width)).sum()) / total,
            float((alpha.sum(1) * np.arange(height)).sum()) / total,
        ]
    )


def _exposed(
    picture: Pixels, alpha: Alpha, motion: _Motion, index: int, frames: int
) -> tuple[Pixels, Alpha]:
    """Returns premultiplied light and alpha of one frame, averaged over the open shutter."""
    size = (alpha.shape[1], alpha.shape[0])
    middle = _middle(alpha)
    stacked = np.dstack([picture * alpha[..., None], alpha]).astype(np.float32)
    total = np.zeros_like(stacked)
    for part in range(EXPOSURES):
        time = index + SHUTTER * (part / (EXPOSURES - 1) - 0.5)
        shift = motion.place(time, frames) + middle * (1 - motion.scale)
        matrix = np.array([[motion.scale, 0, shift[0]], [0, motion.scale, shift[1]]])
        total += cv2.warpAffine(stacked, matrix, size, flags=cv2.INTER_LINEAR)
    total /= EXPOSURES
    return total[..., :3], np.clip(total[..., 3], 0, 1)


def _shadow(alpha: Alpha, motion: _Motion) -> Alpha:
    """Returns by how much each pixel is darkened: the alpha beside itself, blurred."""
    matrix = np.array([[1, 0, motion.shadow[0]], [0, 1, motion.shadow[1]]])
    moved = cv2.warpAffine(alpha, matrix, (alpha.shape[1], alpha.shape[0]))
    dark: Alpha = cv2.GaussianBlur(moved, (0, 0), motion.softness) * np.float32(motion.strength)
    return dark
