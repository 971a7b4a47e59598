"""Small shots whose truth is known, for the tests of `cleanplate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from voidbridge_backend.engines.base import Pixels, Quadmask
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_backend.quality.reference import encode
from voidbridge_protocol.errors import JobCancelled
from voidbridge_protocol.operations.remove import RemoveSettings

HEIGHT, WIDTH = 96, 160


def texture(seed: int = 0, height: int = 140, width: int = 260) -> Pixels:
    """A picture with detail at every scale, 0.02 to about 1."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for blur in (1, 2, 5, 12):
        layer = cv2.GaussianBlur(rng.standard_normal(total.shape).astype(np.float32), (0, 0), blur)
        total += layer / layer.std()
    return np.exp(0.45 * total - 1.6).astype(np.float32)


@dataclass
class Shot:
    """A background seen by a moving camera, and a disc of light 9 before it."""

    length: int
    camera: Callable[[int], tuple[float, float]]
    disc: Callable[[int], tuple[float, float] | None]
    radius: int = 14
    background: Pixels = field(default_factory=texture)
    exposure: Callable[[int], float] = lambda n: 1.0
    first: int = 1001
    height, width = HEIGHT, WIDTH

    @property
    def frames(self) -> Sequence[int]:
        return range(self.first, self.first + self.length)

    def truth(self, frame: int) -> Pixels:
        x, y = self.camera(frame - self.first)
        move = np.array([[1, 0, x + 40], [0, 1, y + 20]], np.float64)
        seen = cv2.warpAffine(
            self.background, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        )
        return (seen * np.float32(self.exposure(frame - self.first))).astype(np.float32)

    def plate(self, frame: int) -> Pixels:
        light = self.truth(frame)
        inside, _ = self._disc(frame)
        light[inside] = 9
        return light

    def quadmask(self, frame: int) -> Quadmask:
        inside, below = self._disc(frame)
        codes = np.full((HEIGHT, WIDTH), 255, np.uint8)
        codes[below] = 127
        codes[inside] = 0
        codes[inside & below] = 63
        return codes

    def has_hole(self, frame: int) -> bool:
        return bool((self.quadmask(frame) != 255).any())

    def _disc(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        place = self.disc(frame - self.first)
        if place is None:
            return np.zeros((2, HEIGHT, WIDTH), bool)
        away = np.hypot(x - place[0], y - place[1])
        return away < self.radius, (away < self.radius + 3) & (y > place[1])


class Watch:
    def __init__(self, stop: tuple[str, int, int] | None = None) -> None:
        self.steps: list[tuple[str, int, int]] = []
        self.notes: list[str] = []
        self.stop = stop

    def step(self, stage: str, done: int, of: int) -> None:
        if (stage, done, of) == self.stop:
            raise JobCancelled("stopped by the artist")
        self.steps.append((stage, done, of))

    def warn(self, text: str) -> None:
        self.notes.append(text)


def still(n: int) -> tuple[float, float]:
    return 0.0, 0.0


def by_hand(n: int) -> tuple[float, float]:
    return 2.5 * math.sin(n * 1.3), 1.7 * math.sin(n * 0.9 + 1)


def pan(n: int) -> tuple[float, float]:
    return 3.7 * n - 15, 0.4 * n


def across(n: int) -> tuple[float, float]:
    return 25.0 + 14 * n, 48.0


def nowhere(n: int) -> None:
    return None


def resting(n: int) -> tuple[float, float]:
    return 80.0, 48.0


def removed(shot: Shot, wanted: Collection[int] | None = None) -> dict[int, Pixels]:
    """The wanted frames, or all; a wanted frame has the bits that it has in the whole shot."""
    return dict(Cleanplate().remove(shot, RemoveSettings(grow=0, soften=0), Watch(), wanted))


def hole_psnr(shot: Shot, results: dict[int, Pixels]) -> float:
    errors = []
    for frame, result in results.items():
        hole = shot.quadmask(frame) != 255
        errors.append(np.square(encode(result) - encode(shot.truth(frame)))[hole])
    return -10 * math.log10(np.concatenate(errors).mean() + 1e-12)
