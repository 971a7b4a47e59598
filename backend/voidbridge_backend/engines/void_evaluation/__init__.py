"""The engine `void` of the operation `evaluate`: a LoRA beside its base, on pairs that it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.evaluate_base import Evaluator


def make(device: str, models: Path | None) -> Evaluator:
    """Creates the evaluator for the models in `models`. Raises `ModelMissing` with every missing file."""
    from voidbridge_backend.engines.void.files import weights

    from .engine import VoidEvaluator

    return VoidEvaluator(weights.require(models, 1), device)


ENGINE = EngineInfo("void", "evaluate", make, extra="void")
