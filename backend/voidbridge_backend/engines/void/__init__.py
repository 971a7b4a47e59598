"""The engine `void`: Netflix's VOID on CogVideoX-Fun 1.5, run through diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.base import Engine


def make(device: str, models: Path | None) -> Engine:
    """Creates the engine with the models in `models`, for `device` ("cpu", "cuda:0").

    Raises `ModelMissing` with every missing file, `BadSetting` for invalid options, and `EngineFailed` if this
    machine fails the self-test.
    """
    from . import options, selftest
    from .engine import Void
    from .files import weights

    folder = weights.require(models, 1)
    engine = Void(folder, device, options.from_folder(folder))
    selftest.check(
        str(engine.placement.device),
        engine.dtype,
        engine.options.linears,
        engine.attention,
        engine.layout,
    )
    return engine


ENGINE = EngineInfo("void", "remove", make, extra="void", takes_loras=True)
