"""The interface of engines for the operation `mask`: pictures and prompts in, mattes out.

Pictures are uint8 [height, width, 3] RGB in a display-like code; mattes are float32 [height, width], 0 to 1, of the
same size. Points are (x, y) in pixels of that size, from the top left corner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Matte = NDArray[np.float32]
Pictures = Callable[[int], Picture]


@dataclass(frozen=True)
class Clicks:
    """Clicks and boxes of one object on one frame. A box is (left, top, right, bottom), the last two excluded."""

    positive: tuple[tuple[float, float], ...] = ()
    negative: tuple[tuple[float, float], ...] = ()
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Prompts:
    """All prompts of one object, by frame. A frame with a key matte needs no clicks.

    A noun stands in place of both. The settings allow one only for an engine that knows nouns.
    """

    clicks: Mapping[int, Clicks]
    keys: Mapping[int, Matte]
    noun: str = ""


class Tracked(NamedTuple):
    """The matte of one frame. `score` is 1 when the engine is sure and 0 when it is not."""

    frame: int
    matte: Matte
    score: float


class Masker(Protocol):
    """Tracks objects. A worker makes it once and keeps it between jobs."""

    name: str

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the pictures that the engine wants of a plate of this size."""

    def describe(self) -> dict[str, Any]:
        """Returns the engine's entry in the provenance of a result."""

    def track(
        self,
        pictures: Pictures,
        frames: Sequence[int],
        prompts: Prompts,
        heartbeat: Callable[[], None],
    ) -> Iterator[Tracked]:
        """One object through all `frames`, each frame once, in any order. An absent object has an empty matte.

        The same input gives the same bits. `heartbeat` is called for each step; it may raise `JobCancelled`.
        """
