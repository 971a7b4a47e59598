"""The engine `void` of the operation `train`: LoRAs for VOID's transformers, with peft and accelerate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.train_base import Trainer


def make(device: str, models: Path | None) -> Trainer:
    """Creates the trainer for the models in `models`. Raises `ModelMissing` with every missing file."""
    from voidbridge_backend.engines.void.files import weights

    from .engine import VoidTrainer

    return VoidTrainer(weights.require(models, 1), device)


ENGINE = EngineInfo("void", "train", make, extra="void")
