"""The interface of engines for the operation `generate`: footage around a gap in, the gap's frames out.

Pictures are float32 [height, width, 3] RGB, scene-linear in the plate's own primaries, unbounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from voidbridge_protocol.operations.generate import GenerateSettings

from .base import JobContext, Pixels


class GapClip(Protocol):
    """The photographed frames around a gap, numbered along the gap: random access, a bounded number decoded."""

    @property
    def frames(self) -> Sequence[int]:
        """Rising, with gaps. A clip behind the gap is numbered on from it."""

    def picture(self, frame: int) -> Pixels:
        """One of `frames`, finite; each call may decode. Do not write to it."""


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
