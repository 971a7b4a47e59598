"""The interface of engines for the operation `train`: pairs in, a LoRA out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from voidbridge_protocol.operations.train import TrainSettings

from .base import JobContext


@dataclass(frozen=True)
class TrainedLora:
    """The result of a training."""

    data: bytes
    """The LoRA as a file."""
    history: Mapping[str, Any]
    """`loss` and `held`: [step, value] each, rising; `best`: the step of the LoRA; `stopped`: why it ended."""


class Trainer(Protocol):
    """Trains LoRAs. A worker makes it once and keeps it between jobs."""

    name: str

    def describe(self) -> dict[str, Any]:
        """Returns the engine's entry in the provenance of a result: version, model hashes, options."""

    def train(
        self,
        pairs: Sequence[Path],
        held: Sequence[Path],
        checkpoint: Path,
        settings: TrainSettings,
        context: JobContext,
    ) -> TrainedLora:
        """Trains on `pairs` and measures on `held`, and continues from the file `checkpoint` if it is there.

        The same input gives the same bits on one device, interrupted or not. Raises a `JobError` for what it
        cannot do.
        """
