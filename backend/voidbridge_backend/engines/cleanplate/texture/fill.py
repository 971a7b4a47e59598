"""Smooth fills: values spread from where they are known, and the seam of a fill with its surroundings."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import Floats, Tone

SEAM_FLOOR = 0.004
"""Light, before exposure, added to both sides of the seam's ratio."""
SEAM_TRUST = 0.45
"""Logarithm of the ratio from which on a piece of the edge shows another thing, not another brightness."""


def spread(values: Floats, weight: Floats) -> Floats:
    """`values` [height, width, channels] where `weight` [height, width] is 1; smoothly in between.

    Pull-push (Gortler et al., "The Lumigraph", 1996): weighted means down a pyramid, and back up into the
    gaps. All zeros when nothing is known.
    """
    height, width = weight.shape
    if min(height, width) < 2 or max(height, width) <= 3:
        total = weight.sum()
        mean = np.einsum("hwc,hw->c", values, weight) / (total if total > 0 else 1)
        return np.asarray(np.broadcast_to(mean, values.shape), np.float32).copy()
    if weight.min() >= 1:
        return values
    inside = values * weight[..., None]
    back = _coarser(inside, weight)
    return np.asarray(inside + back * (1 - weight)[..., None], np.float32)


def _coarser(inside: Floats, weight: Floats) -> Floats:
    """The next level of a pyramid, of values that were multiplied with their `weight`."""
    height, width = weight.shape
    size = (width + 1) // 2, (height + 1) // 2
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    total = _planes(cv2.resize(inside, size, interpolation=cv2.INTER_AREA))
    mean = np.asarray(total / np.where(share > 0, share, 1)[..., None], np.float32)
    # A quarter of a block known is as good as all of it: the mean is of what is known.
    coarse = spread(mean, np.minimum(share * 4, 1))
    return _planes(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))


def spread_to(at: tuple[NDArray[np.intp], ...], light: Floats, known: Mask) -> Floats:
    """[n, 3]: `spread` from the `known` pixels of `light` to the pixels `at` (y, x), none of which is known."""
    if min(known.shape) < 2 or max(known.shape) <= 3:
        return spread(light, known.astype(np.float32))[at]
    inside = cv2.copyTo(light, known.view(np.uint8))
    return _coarser(inside, known.astype(np.float32))[at]


def smooth(light: Floats, gap: Mask) -> Floats:
    """`light` [height, width, 3] with nothing but a smooth transition in the `gap` [height, width]."""
    filled = spread(np.where(gap[..., None], 0, light), (~gap).astype(np.float32))
    return np.asarray(np.where(gap[..., None], filled, light), np.float32)


def _planes(picture: Floats) -> Floats:
    return picture if picture.ndim == 3 else picture[..., None]


def joined(fill: Floats, known: Mask, plate: Floats, hole: Mask, block: int, tone: Tone) -> Floats:
    """`fill` with a smooth gain that makes it meet the plate around the hole; of use in the hole only.

    All are of one box, [height, width(, 3)]. `known` marks the valid pixels of `fill`, and includes a band around
    the hole. In that band the ratio of plate to fill is measured over blocks of `block` pixels, and spread into the
    hole. Parts of the edge where the two show different things are left out.
    """
    band = (known & ~hole).view(np.uint8)
    height, width = hole.shape
    size = -(-width // block), -(-height // block)
    floor = np.float32(SEAM_FLOOR / tone.exposure)
    share = _means(band.astype(np.float32), block)
    here, there = (_means(cv2.copyTo(light, band), block) for light in (plate, fill))
    safe = np.where(share > 0, share, 1)[..., None]
    # Grain goes below black too: cut off there, it would make black brighter.
    lowest = np.float32(-0.5) * floor
    ratio = np.log(
        (np.maximum(here / safe, lowest) + floor) / (np.maximum(there / safe, lowest) + floor)
    ).astype(np.float32)
    trust = np.maximum(1 - (np.abs(ratio).max(-1) / SEAM_TRUST) ** 2, 0) ** 2
    weight = np.where(share > 0.05, trust, 0).astype(np.float32)
    if not weight.any():
        return fill
    gain = spread(ratio, weight)
    gain = np.exp(cv2.GaussianBlur(gain, (0, 0), 0.8, borderType=cv2.BORDER_REPLICATE))
    full = cv2.resize(gain, (size[0] * block, size[1] * block), interpolation=cv2.INTER_LINEAR)
    lifted = fill + floor
    lifted *= full[:height, :width]
    lifted -= floor
    return lifted


def _means(picture: Floats, block: int) -> Floats:
    """Means over blocks; a block cut off by the edge counts what is missing as 0."""
    height, width = picture.shape[:2]
    below, right = -height % block, -width % block
    padded = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_CONSTANT, value=0)
    size = padded.shape[1] // block, padded.shape[0] // block
    return np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), np.float32)
