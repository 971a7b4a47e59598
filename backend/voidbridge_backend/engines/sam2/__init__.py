"""The engine `sam2` of `mask`: SAM 2.1 tracks objects from clicks, boxes and key mattes. Weights are a user's own.

N. Ravi et al., "SAM 2: Segment anything in images and videos", 2024. The network is that of transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.mask_base import Masker

FOLDERS = (
    "sam2.1-hiera-large",
    "sam2.1-hiera-base-plus",
    "sam2.1-hiera-small",
    "sam2.1-hiera-tiny",
)
"""In the models folder, as facebook/NAME is published on huggingface.co. The first that is there is used."""


def make(device: str, models: Path | None) -> Masker:
    """The engine with the weights in `models`. Raises `ModelMissing` without a whole checkpoint."""
    from .weights import find, load

    folder = find("sam2", FOLDERS, models)  # before PyTorch is loaded, which takes seconds

    from transformers import Sam2VideoInferenceSession, Sam2VideoModel

    from .engine import SamTracker

    network = load(folder, Sam2VideoModel, ("sam2_video",), device)
    return SamTracker("sam2", network, Sam2VideoInferenceSession, device, folder.name)


ENGINE = EngineInfo("sam2", "mask", make, extra="void")
