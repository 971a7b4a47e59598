"""The engine `ltx` of `generate`: LTX-2 through diffusers. Its weights are a user's own, and so is the consent to
their terms.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.generate_base import Generator


def make(device: str, models: Path | None) -> Generator:
    """The engine with the weights in `models`.

    Raises `ModelMissing` with every lacking part, `TermsNotAccepted` until the terms of the weights were accepted
    for this folder.
    """
    from . import weights
    from .terms import TERMS

    folder = models or Path()
    weights.require(folder)
    TERMS.require(folder)

    from .engine import Ltx

    return Ltx(folder, device)


ENGINE = EngineInfo("ltx", "generate", make, extra="void")
