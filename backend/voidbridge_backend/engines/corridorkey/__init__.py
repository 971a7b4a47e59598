"""The engine `corridorkey` of `key`: a trained network. Its weights are a user's own, and so is the consent to
their terms.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.key_base import KeyEngine


def make(device: str, models: Path | None) -> KeyEngine:
    """The engine with the weights in `models`.

    Raises `TermsNotAccepted` until the terms of the weights were accepted for this folder, `ModelMissing`
    without a file of weights.
    """
    from .terms import TERMS

    folder = models or Path()
    TERMS.require(folder)  # before PyTorch is loaded, which takes seconds

    from . import weights
    from .engine import CorridorKey

    return CorridorKey(weights.find(folder), device)


ENGINE = EngineInfo("corridorkey", "key", make, extra="void", forbids_paid_use=True)
