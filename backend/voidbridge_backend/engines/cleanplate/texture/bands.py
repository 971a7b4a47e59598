"""The broad and the fine part of a synthesized picture, taken from different guesses.

Pieces copied from different places meet at different brightness, and their seams show. So only the fine detail is
copied. The broad part is the mean of all patches that lie over a pixel, which blurs where they disagree. Where the
patches fit the known pixels at the gap's edge no better than a blur does, nothing continues into the gap, and a
smooth fill is the likelier guess. Bands are blended apart as in Burt and Adelson, "A Multiresolution Spline With
Application to Image Mosaics", 1983.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import Floats

from .fill import smooth, spread

BROAD = 3.0
"""Deviation of the blur that parts the bands, in pixels of the reduced picture: about a patch's radius."""
AROUND = 8.0
"""Deviation of the blur over which the fit of the patches is measured along the edge."""
FITS, GUESSES = 0.5, 0.8
"""Error of the copies beside the gap, over that of a blur: structure continues below, above it is random."""
SMOOTHEST = 0.8
"""Share of the smooth fill in the broad part where the texture is random."""


def broad_change(
    known: Floats, voted: Floats, sources: NDArray[np.intp], active: Mask, gap: Mask
) -> Floats:
    """Returns the correction to add to the broad part of copied pixels, [height, width, 3], 0 outside the gap.

    All of the reduced picture, logarithmic: `known` is without the `gap`, `voted` with the gap filled by the
    mean of the patches. `sources` [height, width, 2] (y, x) is where each `active` pixel was copied from.
    """
    share = (~gap).astype(np.float32)
    blurred = _blurred(known * share[..., None], BROAD)
    low = _over(blurred, _blurred(share, BROAD)[..., None])
    from_y, from_x = sources[active].T
    copied = known.copy()
    copied[active] = known[from_y, from_x]
    mixture = _randomness(known, copied, low, active & ~gap) * SMOOTHEST
    guess = np.where(gap[..., None], voted, known)
    filled = smooth(known, gap)
    broad = _blurred(guess + (filled - guess) * mixture[..., None], BROAD)
    change = np.zeros_like(known)
    inside = active & gap
    change[inside] = (broad - low[sources[..., 0], sources[..., 1]])[inside]
    return change


def _randomness(known: Floats, copied: Floats, low: Floats, edge: Mask) -> Floats:
    """[height, width], 0 to 1: how little of the picture beside the gap its copies explain."""
    weight = edge.astype(np.float32)
    missed, detail = (
        _blurred(np.square(known - guess).sum(-1) * weight, AROUND) for guess in (copied, low)
    )
    near = _blurred(weight, AROUND)
    errors = np.stack([_over(missed, near), _over(detail, near)], -1)
    errors *= weight[..., None]
    missed, detail = np.moveaxis(spread(errors, weight), -1, 0)
    ratio = missed / np.maximum(detail, 1e-12)
    return np.asarray(np.clip((ratio - FITS) / (GUESSES - FITS), 0, 1), np.float32)


def _over(total: Floats, weight: Floats) -> Floats:
    return np.asarray(total / np.maximum(weight, 1e-6), np.float32)


def _blurred(picture: Floats, deviation: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation), np.float32)
