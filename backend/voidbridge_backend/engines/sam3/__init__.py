"""The engine `sam3` of `mask`: SAM 3 tracks objects from clicks, boxes, key mattes and nouns.

Weights are a user's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voidbridge_backend.engines.registry import EngineInfo

if TYPE_CHECKING:
    from voidbridge_backend.engines.mask_base import Masker

FOLDERS = ("sam3",)
"""In the models folder, as facebook/sam3 is published on huggingface.co behind the SAM licence."""
KINDS = ("sam3_video", "sam3_tracker_video")


def make(device: str, models: Path | None) -> Masker:
    """The engine with the weights in `models`. Raises `ModelMissing` without a whole checkpoint."""
    from voidbridge_backend.engines.sam2.weights import find, load

    folder = find("sam3", FOLDERS, models)  # before PyTorch is loaded, which takes seconds

    from transformers import Sam3TrackerVideoInferenceSession, Sam3TrackerVideoModel

    from .engine import Sam3

    network = load(folder, Sam3TrackerVideoModel, KINDS, device)
    return Sam3(network, Sam3TrackerVideoInferenceSession, device, folder)


ENGINE = EngineInfo("sam3", "mask", make, extra="void")
