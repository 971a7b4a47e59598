"""The engine's verdict on its own result: how much of a hole it invented, and how well it predicts known pixels.

Kept pixels beside a hole are fetched from the other frames, as the hole is, and compared with the plate.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from voidbridge_backend.sequences.patterns import compact

from .geometry import Mask
from .tone import Floats, Tone

INVENTED = 0.03
"""Part of a hole from which on it is told that no frame showed it."""
TRUSTED_DB = 37.5
"""A result can be trusted if the kept pixels beside the hole are predicted this well."""
TRY = "try the engine void, or more frames around the range (--handles)"
FEWEST = 64
"""Pixels beside the hole without which nothing is told."""


def check(plate: Floats, predicted: Floats, where: Mask, tone: Tone) -> float:
    """Peak signal to noise ratio in dB of what is `predicted` [height, width, 3]; NaN where too little is known."""
    if int(where.sum()) < FEWEST:
        return float("nan")
    apart = _display(predicted, tone) - _display(plate, tone)
    inside = where.astype(np.float32)
    share = cv2.blur(inside, (3, 3))
    mean = cv2.blur(apart * inside[..., None], (3, 3)) / np.maximum(share, 1e-3)[..., None]
    return float(-10 * np.log10(max(float(np.square(mean[where]).mean()), 1e-12)))


def _display(light: Floats, tone: Tone) -> Floats:
    return np.asarray(np.sqrt(np.clip(light * np.float32(tone.exposure), 0, 1)), np.float32)


def notes(unseen: Mapping[int, float], predicted: Mapping[int, float]) -> list[str]:
    """Returns warnings about frames whose result cannot be trusted; both values are by frame."""
    told = []
    invented = {frame: share for frame, share in unseen.items() if share > INVENTED}
    if invented:
        least, most = min(invented.values()), max(invented.values())
        range_ = (
            f"{most:.0%}" if round(least, 2) == round(most, 2) else f"{least:.0%} to {most:.0%}"
        )
        told.append(
            f"{range_} of the hole in frames {compact(invented)} was seen in no frame and is invented; {TRY}"
        )
    missed = [frame for frame, quality in predicted.items() if quality < TRUSTED_DB]
    if missed:
        told.append(
            f"the background beside the hole is not predicted in frames {compact(missed)}: the shot has depth or "
            f"motion that cleanplate does not follow; {TRY}"
        )
    return told
