"""The engine `flow`: mattes from clicks, boxes or key mattes, carried by optical flow. It needs no weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.mask_base import Masker


def make(device: str, models: Path | None) -> Masker:
    """The engine; it needs neither a device nor weights."""
    from .engine import Flow

    return Flow()


ENGINE = EngineInfo("flow", "mask", make)
