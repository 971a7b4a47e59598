"""The engine `void` of the operation `evaluate`: a LoRA beside its base, on pairs that it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.evaluate_base import Evaluator


def make(device: str, models: Path | None) -> Evaluator:
    """Creates the evaluator for the models in `models`. Raises what the engine `void` raises."""
    from voidbridge_backend.engines import void
    from voidbridge_backend.engines.void.engine import Void

    from .engine import VoidEvaluator

    engine = void.make(device, models)
    assert isinstance(engine, Void)
    return VoidEvaluator(engine)


ENGINE = EngineInfo("void", "evaluate", make, extra="void")
