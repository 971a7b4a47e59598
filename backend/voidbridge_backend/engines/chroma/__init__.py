"""The default engine of `key`: a keyer for green and blue screens that needs no weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.key_base import KeyEngine


def make(device: str, models: Path | None) -> KeyEngine:
    """The engine; it works on the CPU and has no weights."""
    from .engine import Chroma

    return Chroma()


ENGINE = EngineInfo("chroma", "key", make)
