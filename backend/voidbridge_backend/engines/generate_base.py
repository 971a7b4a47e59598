"""The interface of engines for the operation `generate`: footage around a gap in, the gap's frames out.

Pictures are float32 [height, width, 3] RGB, scene-linear in the plate's own primaries, unbounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from voidbridge_protocol.operations.generate import GenerateSettings

from .base import JobContext, Pixels


@dataclass(frozen=True)
class Sound:
    """Sound of new frames."""

    samples: NDArray[np.float32]
    """[channels, samples], -1 to 1."""
    rate: int
    """Samples a second."""


class GapClip(Protocol):
    """The photographed frames around a gap, numbered along the gap: random access, a bounded number decoded.

    In the mode `hdr` they are the frames themselves that are made again.
    """

    @property
    def frames(self) -> Sequence[int]:
        """Rising, with gaps. A clip behind the gap is numbered on from it."""

    def picture(self, frame: int) -> Pixels:
        """One of `frames`, finite; each call may decode. Do not write to it."""

    @property
    def to_rec709(self) -> NDArray[np.float64]:
        """[3, 3], from the pictures' primaries to linear Rec.709."""

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel over its height, on a display."""

    @property
    def frames_per_second(self) -> float | None:
        """None where the files name no rate."""


class Generator(Protocol):
    """Makes frames. A worker makes it once and keeps it between jobs."""

    name: str

    def describe(self) -> dict[str, Any]:
        """Returns the engine's entry in the provenance of a result: version, model hashes, options."""

    def generate(
        self,
        footage: GapClip,
        frames: Sequence[int],
        settings: GenerateSettings,
        context: JobContext,
    ) -> Iterator[tuple[int, Pixels]]:
        """Yields each of `frames` once, in order, in the size of the footage.

        The same footage and settings give the same bits. Raises a `JobError` for what it cannot do.
        """


@runtime_checkable
class MakesSound(Protocol):
    """A generator that can make sound."""

    def sound(self) -> Sound:
        """The sound of the last job, once `generate` has ended: as long as its frames, to the sample."""
