"""The engine `echo`, for tests: removes nothing, and its result can be computed by its caller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.base import Engine


def make(device: str, models: Path | None) -> Engine:
    """The engine; it needs neither."""
    from .engine import Echo

    return Echo()


ENGINE = EngineInfo("echo", "remove", make)
