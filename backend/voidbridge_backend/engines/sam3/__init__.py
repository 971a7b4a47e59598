"""The engine `sam3` of `mask`: the tracker of SAM 3, from clicks, boxes and key mattes. Weights are a user's own.

The published checkpoint also holds a detector that finds objects by a noun; it is not loaded.
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
    from transformers import Sam3TrackerVideoInferenceSession, Sam3TrackerVideoModel

    from voidbridge_backend.engines.sam2.engine import HALF, SamTracker
    from voidbridge_backend.engines.sam2.weights import find, load

    folder = find("sam3", FOLDERS, models)
    network = load(folder, Sam3TrackerVideoModel, KINDS, device)
    session = Sam3TrackerVideoInferenceSession
    return SamTracker("sam3", network, session, device, folder.name, HALF)


ENGINE = EngineInfo("sam3", "mask", make, extra="void")
