"""Pictures into the network and out of it: resampling, normalisation, the sRGB curve.

Arrays are [height, width, channels] or [height, width], float32.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

Array = NDArray[np.float32]

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Mean and standard deviation per channel of the pictures that encoders of this kind are trained on (ImageNet)."""


def to_srgb(linear: Array) -> Array:
    """Linear light to the piecewise sRGB curve (IEC 61966-2-1). Negatives become 0; values above 1 continue."""
    x = np.maximum(linear, 0)
    out = np.where(x <= 0.0031308, x * 12.92, 1.055 * np.power(x, 1 / 2.4) - 0.055)
    return out.astype(np.float32)


def to_linear(encoded: Array) -> Array:
    """The inverse of `to_srgb`. Negative values become 0."""
    x = np.maximum(encoded, 0)
    out = np.where(x <= 0.04045, x / 12.92, np.power((x + 0.055) / 1.055, 2.4))
    return out.astype(np.float32)


def network_input(rgb: Array, hint: Array, size: int, *, linear: bool) -> Tensor:
    """[1, 4, size, size]: normalised sRGB and the hint as it is, both stretched to a square.

    `rgb` [height, width, 3] is linear light if `linear` is set, else sRGB-encoded. `hint` [height, width] is from 0
    to 1; a hint of another size is resampled to the plate's first.
    """
    if hint.shape != rgb.shape[:2]:
        hint = cv2.resize(hint, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    picture = _shrunk(_planes(rgb), size)
    if linear:
        picture = _planes(to_srgb(_pixels(picture)))
    mean, deviation = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return torch.cat([(picture - mean) / deviation, _shrunk(_planes(hint[..., None]), size)], 1)


def back_lanczos(planes: Tensor, height: int, width: int) -> Array:
    """[1, channels, S, S] to [height, width, channels] by Lanczos 4. Overshoots are kept."""
    pixels = _pixels(planes)
    if pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LANCZOS4)
    return np.ascontiguousarray(pixels.reshape(height, width, -1))


def _planes(pixels: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


def _pixels(planes: Tensor) -> Array:
    out: Array = np.ascontiguousarray(planes[0].float().cpu().numpy().transpose(1, 2, 0))
    return out


def _shrunk(planes: Tensor, size: int) -> Tensor:
    if planes.shape[-2:] == (size, size):
        return planes
    return interpolate(
        planes, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
