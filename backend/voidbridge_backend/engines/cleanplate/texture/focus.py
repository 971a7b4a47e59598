"""Brings a background from sharper frames to the sharpness of the frame that it goes into, as a rack focus needs.

The kept pixels beside the hole show how soft the frame is: there the other frames' background is known too.
"""

from __future__ import annotations

import cv2
import numpy as np

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import WEIGHTS, Floats, Tone

DEVIATIONS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
"""Gaussian blurs that are tried, as standard deviations in pixels."""
FIRST = 1.0
"""The blur that tells whether others are worth a try."""
BETTER = 0.7
"""A blur must reduce the squared difference beside the hole to this share."""
FEWEST = 256
"""Pixels beside the hole without which nothing is compared."""


def softened(light: Floats, plate: Floats, known: Mask, beside: Mask, tone: Tone) -> Floats:
    """`light` [height, width, 3], valid where `known`, as sharp as `plate` is on the pixels `beside` the hole.

    Returns `light` itself where no blur makes it clearly more alike. `light` should have no grain of its own.
    """
    where = beside & known
    if where.sum() < FEWEST:
        return light
    target = tone.encode(plate[where] @ WEIGHTS)
    luma = tone.encode(light @ WEIGHTS)

    def unlike(deviation: float) -> float:
        blurred = _blurred(luma, known, deviation)[where]
        return float(np.square(blurred - target).mean())

    sharp = float(np.square(luma[where] - target).mean())
    if unlike(FIRST) >= BETTER**0.5 * sharp:
        return light
    best = min(DEVIATIONS, key=unlike)
    return _blurred(light, known, best) if unlike(best) < BETTER * sharp else light


def _blurred(picture: Floats, known: Mask, deviation: float) -> Floats:
    """A blur over the `known` pixels alone; 0 elsewhere."""
    weight = known.astype(np.float32)
    share = np.maximum(cv2.GaussianBlur(weight, (0, 0), deviation), 1e-3)
    many = (..., None) if picture.ndim == 3 else ...
    spread = cv2.GaussianBlur(picture * weight[many], (0, 0), deviation)
    return np.asarray(spread / share[many] * weight[many], np.float32)
