"""A tiny model, made once, and a small clip that is what an engine is given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from voidbridge_backend.engines.base import Pixels, Quadmask
from voidbridge_backend.engines.void.tiny import make_tiny

sys.path.insert(0, str(Path(__file__).parent))  # The modules that tests of this folder share.


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Said:
    """A watch that remembers what it was told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.stages: list[str] = []

    def step(self, stage: str, done: int, of: int) -> None:
        self.stages.append(stage)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def said() -> Said:
    return Said()


class SmallClip:
    """A textured plate that moves a pixel a frame, with a hole in the frames from `hole` on."""

    def __init__(
        self,
        count: int,
        hole: range | None = None,
        first: int = 1001,
        height: int = 32,
        width: int = 48,
    ) -> None:
        self.frames = range(first, first + count)
        self.height, self.width = height, width
        self.hole = range(count) if hole is None else hole
        self.asked: list[int] = []
        self._texture = (
            np.random.default_rng(3).random((height, width + count, 3)).astype(np.float32)
        )

    def plate(self, frame: int) -> Pixels:
        self.asked.append(frame)
        at = frame - self.frames[0]
        return self._texture[:, at : at + self.width].copy()

    def quadmask(self, frame: int) -> Quadmask:
        mask = np.full((self.height, self.width), 255, np.uint8)
        if self.has_hole(frame):
            mask[8:20, 10:24] = 0
            mask[20:26, 10:24] = 127
        return mask

    def has_hole(self, frame: int) -> bool:
        return frame - self.frames[0] in self.hole


@pytest.fixture(scope="session")
def small_clip() -> type[SmallClip]:
    return SmallClip
