"""The default engine of `generate`: frames between and beyond photographed ones, without weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.generate_base import Generator


def make(device: str, models: Path | None) -> Generator:
    """The engine; it works on the CPU and has no weights."""
    from .engine import Morph

    return Morph()


ENGINE = EngineInfo("morph", "generate", make)
