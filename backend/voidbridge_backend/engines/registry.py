"""Finds the engines and makes them. An engine is a folder beside this file whose package defines `ENGINE`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from voidbridge_backend import engines
from voidbridge_protocol.errors import BadSetting, EngineFailed, PaidUse


@dataclass(frozen=True)
class EngineInfo:
    """Declares an engine. The module that holds it imports nothing heavy: the daemon reads it too."""

    name: str
    operation: str
    make: Callable[[str, Path | None], Any]
    """Makes the engine for a device ("cpu", "cuda:0") and the models folder; imports what it needs itself.

    The result has the interface that the operation's renderer asks for.
    """
    extra: str = "backend"
    """The extra of `pip install 'voidbridge[EXTRA]'` that installs what the engine is built on."""
    forbids_paid_use: bool = False
    """Whether the terms of its weights forbid that anybody is charged for a job."""
    takes_loras: bool = False
    """Whether it takes LoRAs of a request. Only then is a LoRA's file sent."""


@cache
def available() -> dict[tuple[str, str], EngineInfo]:
    """Every engine by (operation, name)."""
    folders = (found.name for found in pkgutil.iter_modules(engines.__path__) if found.ispkg)
    modules = (importlib.import_module(f"{engines.__name__}.{name}") for name in folders)
    found = (getattr(module, "ENGINE", None) for module in modules)
    return {(info.operation, info.name): info for info in found if info}


def make(
    operation: str,
    name: str,
    device: str = "cpu",
    models: Path | None = None,
    bills: bool = False,
) -> Any:
    """The engine `name` of this operation, ready to work on `device` ("cpu", "cuda:0").

    `models` is the folder with the weights, for an engine that has any. Only this engine's own modules are
    imported. `bills` says that users are charged here. Raises `BadSetting` for an unknown name, `PaidUse` for an
    engine that forbids it, and `EngineFailed` if a package of the engine is not installed. An engine may raise
    more if its weights cannot be used.
    """
    info = available().get((operation, name))
    if info is None:
        known = ", ".join(engine for of, engine in available() if of == operation) or "none"
        raise BadSetting(f"{operation} has no engine {name!r}; there are: {known}")
    if bills and info.forbids_paid_use:
        raise PaidUse(
            f"this daemon bills its users (`bills` is set), and the terms of {name}'s weights forbid that"
        )
    try:
        return info.make(device, models)
    except ImportError as error:
        raise EngineFailed(
            f"the engine {name} cannot be loaded: {error}",
            f"Install what it needs with: pip install 'voidbridge[{info.extra}]'",
        ) from error
