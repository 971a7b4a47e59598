"""The default engine of `remove`: finds the background where other frames show it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.base import Engine


def make(device: str, models: Path | None) -> Engine:
    """The engine; it works on the CPU and has no weights."""
    from .engine import Cleanplate

    return Cleanplate()


ENGINE = EngineInfo("cleanplate", "remove", make)
