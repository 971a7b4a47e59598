"""Which pixels of a matte's growth are plain background.

A matte grows because its edge is often too tight. Where no frame shows what lies under the growth, its own pixels
are better than invented ones, as long as the object does not shine through them. Its share in a pixel is the
position of the pixel's light between the background's and the object's (the compositing equation; Porter and
Duff 1984).
"""

from __future__ import annotations

import cv2
import numpy as np

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import Floats, Tone

from .fill import spread_to

SHINES = 0.12
"""Mean share of the object's light from which on a stretch of the growth is not background."""
CORE = 2.0
"""Pixels inside the artist's matte from which on there is nothing but the object."""
PASSES, CROWD = 0.06, 0.25
"""Encoded difference to what other frames show, from which on a pixel is passing; and the part of a neighborhood's
pixels that has to pass for what is more than grain.
"""
NOISE = 0.02
"""Difference of light between object and background, before exposure, that tells nothing."""


def background(light: Floats, hole: Mask, growth: Mask, depth: Floats, exposure: float) -> Mask:
    """The pixels of the `growth` in a `hole` that hold no light of the object; all [height, width(, 3)].

    `depth` is how far a pixel lies inside the artist's matte in pixels, 0 and less in the growth.
    """
    if not growth.any():
        return growth
    core = hole & (depth > CORE)
    if not core.any():
        core = hole & (depth > 0)
    if not core.any():
        return np.zeros_like(growth)
    at = np.nonzero(growth)
    foreground, behind = (spread_to(at, light, known) for known in (core, ~hole))
    contrast = foreground - behind
    ring = growth.astype(np.float32)
    across = max(float(-depth[growth].min()) / 3, 1.5)
    share, most = np.zeros_like(ring), np.zeros_like(ring)
    share[at] = (contrast * (light[at] - behind)).sum(-1)
    most[at] = np.square(contrast).sum(-1)
    share, most = _mean(share, across), _mean(most, across)
    faint = _mean(ring, across) * np.float32((NOISE / exposure) ** 2)
    return np.asarray(growth & (np.abs(share) < SHINES * most + faint), np.bool_)


def passing(light: Floats, lasting: Floats, known: Mask, tone: Tone, reach: float) -> Mask:
    """Where something passes before what lasts, up to `reach` pixels from where other frames are `known`.

    `light` is the frame's own and `lasting` that of the other frames [height, width, 3].
    """
    apart = np.abs(tone.encode(light) - tone.encode(lasting)).max(-1)
    across = max(reach / 3, 1.5)
    passes = _mean((known & (apart > PASSES)).astype(np.float32), across)
    return np.asarray(passes > CROWD * np.maximum(_mean(known.astype(np.float32), across), 1e-3))


def _mean(picture: Floats, deviation: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation), np.float32)
