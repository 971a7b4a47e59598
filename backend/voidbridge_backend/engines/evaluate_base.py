"""The interface of engines for the operation `evaluate`: held-out pairs and a LoRA in, removals out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voidbridge_protocol.operations.evaluate import EvaluateSettings

from .base import JobContext, Pixels

Hole = NDArray[np.bool_]


@dataclass(frozen=True)
class HeldPair:
    """A held-out pair as pictures. Pixels are float32 [height, width, 3] in the model's space, about 0 to 1."""

    number: int
    """Its place among the held-out pairs."""
    name: str
    shown: Pixels
    """The middle frame with the object."""
    wanted: Sequence[Pixels]
    """Every frame of the wanted answer, after the autoencoder that also makes the removals."""
    holes: Sequence[Hole]
    """[height, width] for each frame: the pixels to remove and the affected ones."""


@dataclass(frozen=True)
class EvaluatedRemoval:
    """One removal of a pair's object."""

    pair: HeldPair
    strength: float | None
    """The strength of the LoRA; None for the base without it."""
    frames: Iterator[Pixels]
    """As many as `pair.wanted`; read them before the next removal."""


class Evaluator(Protocol):
    """Removes the objects of held-out pairs. A worker makes it once and keeps it between jobs."""

    name: str

    def describe(self) -> dict[str, Any]:
        """Returns the engine's entry in the provenance of a result: version, model hashes, options."""

    def removals(
        self,
        held: Sequence[Path],
        lora: Path,
        settings: EvaluateSettings,
        context: JobContext,
    ) -> Iterator[EvaluatedRemoval]:
        """Yields each pair with the base, and then each pair with every strength of the LoRA.

        The noise is the same for all removals of a pair. Raises `BadPair`, `BadLora`, `ModelMissing`,
        `OutOfMemory`.
        """
