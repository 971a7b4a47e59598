"""Draws three small shots on which `cleanplate` fails: plate, result and truth of the middle frame.

    python benchmarks/failures.py PICTURE.png

The shots are drawn here: thin columns before a wall, waves that never repeat, and an object that stands still.
Prints the peak signal to noise ratio in the hole of each, over all frames, in dB of display values.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from voidbridge_backend.engines.base import Pixels, Quadmask
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_protocol.operations.remove import RemoveSettings

HEIGHT, WIDTH, LENGTH = 112, 200, 12
OBJECT = np.array([1.2, 0.15, 0.08], np.float32)


def texture(seed: int, height: int, width: int, low: float = 0.05, high: float = 0.7) -> Pixels:
    """Colored noise of three sizes."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for side, strength in ((3, 0.25), (12, 0.5), (40, 1.0)):
        small = rng.random((height // side + 2, width // side + 2, 3)).astype(np.float32)
        total += strength * cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    total = (total - total.min()) / (total.max() - total.min())
    return np.asarray(low + (high - low) * total, np.float32)


WALL, STONE = texture(1, HEIGHT + 20, WIDTH + 60), texture(2, HEIGHT, 400, 0.4, 1.0)


def columns(n: int) -> Pixels:
    """A wall, and columns at three distances before it."""
    light = WALL[5 : 5 + HEIGHT, 2 * n : 2 * n + WIDTH].copy()
    for left, speed in ((30, 4), (80, 7), (120, 10), (170, 5)):
        x = left + 40 - speed * n
        begin, end = max(x, 0), min(x + 7, WIDTH)
        if begin < end:
            light[:, begin:end] = STONE[:, begin + speed * n : end + speed * n]
    return light


def waves(n: int) -> Pixels:
    """Interfering waves, each at its own speed."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    rng, total = np.random.default_rng(3), np.zeros((HEIGHT, WIDTH), np.float32)
    for _ in range(14):
        u, v, speed = rng.uniform(-0.35, 0.35), rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.5)
        total += np.sin(u * x + v * y + speed * n + rng.uniform(0, 6))
    light = 0.25 + 0.05 * total
    tint = np.array([0.5, 0.8, 1.0], np.float32)
    return np.asarray(np.maximum(light, 0.01)[..., None] * tint, np.float32)


def standing(n: int) -> Pixels:
    return WALL[5 : 5 + HEIGHT, 10 : 10 + WIDTH].copy()


@dataclass
class Drawn:
    """A clip with a block of color before a background."""

    background: Callable[[int], Pixels]
    step: int
    frames: Sequence[int] = range(LENGTH)
    height: int = HEIGHT
    width: int = WIDTH

    def plate(self, frame: int) -> Pixels:
        light = self.background(frame)
        light[self._hole(frame)] = OBJECT
        return light

    def quadmask(self, frame: int) -> Quadmask:
        return np.where(self._hole(frame), 0, 255).astype(np.uint8)

    def has_hole(self, frame: int) -> bool:
        return True

    def _hole(self, frame: int) -> np.ndarray:
        hole = np.zeros((HEIGHT, WIDTH), bool)
        left = 20 + self.step * frame if self.step else 80
        hole[34:84, left : left + 36] = True
        return hole


class Silent:
    def step(self, stage: str, done: int, total: int) -> None: ...

    def warn(self, text: str) -> None: ...


def display(light: Pixels) -> Pixels:
    return np.asarray(np.clip(light, 0, 1) ** (1 / 2.2), np.float32)


def row(clip: Drawn) -> tuple[np.ndarray, float]:
    """(plate, result and truth of the middle frame beside each other, dB in the hole)."""
    settings = RemoveSettings(grow=0, soften=0)
    made = dict(Cleanplate().remove(clip, settings, Silent()))
    errors = [
        np.square(display(light) - display(clip.background(frame)))[clip.quadmask(frame) == 0]
        for frame, light in made.items()
    ]
    frame = LENGTH // 2
    three = (clip.plate(frame), made[frame], clip.background(frame))
    shown = np.concatenate([display(one) for one in three], axis=1)
    return shown, float(-10 * np.log10(np.concatenate(errors).mean()))


def main(picture: Path) -> None:
    rows = []
    for name, background, step in (
        ("columns", columns, 9),
        ("waves", waves, 9),
        ("standing", standing, 0),
    ):
        shown, decibels = row(Drawn(background, step))
        rows.append(shown)
        print(f"{name}: {decibels:.1f} dB", flush=True)
    pixels = np.rint(np.concatenate(rows) * 255).astype(np.uint8)
    cv2.imwrite(str(picture), pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
