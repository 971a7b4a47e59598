"""Measures the visible difference between a result and its truth with ColorVideoVDP, if it is installed.

R. K. Mantiuk et al., "ColorVideoVDP: A visual difference predictor for image, video and display distortions",
2024. It is optional, because its packages have to match PyTorch's build: pip install 'voidbridge[jod]'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

DISPLAY = "standard_hdr_linear"
"""Its own model of a 4K monitor of 1500 cd/m2, seen from two picture heights. It takes linear Rec.709 in cd/m2."""
WHITE = 100.0
"""The luminance in cd/m2 of light 1."""


@dataclass(frozen=True)
class Pairs:
    """The pairs to compare.

    `pair` the frame at an index from 0 as (result, truth): [height, width, 3], scene-linear Rec.709, finite.
    `rate` frames per second.
    """

    count: int
    height: int
    width: int
    rate: float
    pair: Callable[[int], tuple[Floats, Floats]]


def is_installed() -> bool:
    return find_spec("pycvvdp") is not None


def jod(pairs: Pairs) -> float:
    """Returns just-objectionable differences: 10 is identical; at 9, three of four viewers can tell the worse one.

    Raises `ImportError` if ColorVideoVDP is missing or incomplete.
    """
    import torch
    from pycvvdp import cvvdp
    from pycvvdp.video_source import video_source_dm

    class PairSource(video_source_dm):  # type: ignore[misc]  # the package has no types
        """Serves frames in the form that ColorVideoVDP requests: one after the other, each independently."""

        def __init__(self) -> None:
            super().__init__(display_photometry=DISPLAY)
            self._at, self._held = -1, pairs.pair(0)

        def get_video_size(self) -> tuple[int, int, int]:
            return pairs.height, pairs.width, pairs.count

        def get_frames_per_second(self) -> float:
            return pairs.rate

        def get_test_frame(self, frame: int, device: Any, colorspace: str) -> Any:
            return self._shown(frame, 0, device, colorspace)

        def get_reference_frame(self, frame: int, device: Any, colorspace: str) -> Any:
            return self._shown(frame, 1, device, colorspace)

        def _shown(self, frame: int, index: int, device: Any, colorspace: str) -> Any:
            if frame != self._at:
                self._at, self._held = frame, pairs.pair(frame)
            light = np.maximum(self._held[index], 0) * np.float32(WHITE)
            planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(light, -1, 0)))
            return self.apply_dm_and_color_transform(planes[None, :, None].to(device), colorspace)

    with torch.no_grad():
        score, _ = cvvdp(display_name=DISPLAY, quiet=True).predict_video_source(PairSource())
    return float(score)
