"""The engines by their names."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_protocol.errors import BadSetting, EngineFailed

if TYPE_CHECKING:
    from .base import Engine

NAMES = ("cleanplate", "void", "echo")
"""Every engine that there is; the first is the default."""


def make(name: str, device: str = "cpu", models: Path | None = None) -> Engine:
    """The engine called `name`, ready to work on `device` ("cpu", "cuda:0").

    `models` is the folder with the weights, for an engine that has any. Only the module of the engine
    asked for is imported: an installation without torch still has the others. Raises `BadSetting` for
    an unknown name, `EngineFailed` when what the engine is built on is not installed, and whatever the
    engine itself raises when its weights cannot be used.
    """
    if name not in NAMES:
        raise BadSetting(f"no engine is called {name!r}; there are {', '.join(NAMES)}")
    if name == "echo":
        from .echo import Echo

        return Echo()
    if name == "cleanplate":
        from .cleanplate import Cleanplate

        return Cleanplate()
    return _void(device, models)


def _void(device: str, models: Path | None) -> Engine:
    # By name: the package's types and layers stay whole where the extra `void` is not installed.
    try:
        module = importlib.import_module(f"{__name__}.void")
    except ImportError as error:
        raise EngineFailed(
            f"the engine void cannot be loaded: {error}",
            "Install what it needs with: pip install 'voidbridge[void]'",
        ) from error
    engine: Engine = module.make(device, models)
    return engine
