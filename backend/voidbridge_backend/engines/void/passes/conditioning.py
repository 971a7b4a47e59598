"""Prepares the model's inputs for a shot: the plate, and the pixels to remove.

Tensors are [batch, channels, frames, height, width]. Plates are float32; -1 to 1 is the displayable range.
Masks are float32 in [0, 1], with 0 remove and 1 keep.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Levels = Literal["tri", "reference"]
"""Number of quadmask levels that the second pass distinguishes; see `mask_levels`."""

AFFECTED = 1 - torch.tensor(127 / 255)
"""The mask's value for affected pixels: 128/255, one float32 step below the nearest to it."""

AUGMENTATION = 0.0563
"""Standard deviation of noise added to the plate before encoding, in units of [-1, 1].

The model was trained with about exp(-3) of it, and never saw a plate without.
"""

BLACK = -1.0
"""Plate value that gets no noise: exactly the black that marks removed pixels."""


def mask_levels(quadmask: Tensor, levels: Levels = "tri") -> Tensor:
    """Converts a quadmask for the autoencoder: float32, same shape, from codes 0, 63, 127 and 255 (any number
    type).

    "tri" has three levels, as in training: remove and overlap 0, affected 128/255, keep 1. "reference" has two
    levels, as in the published script of the second pass. There, affected is removed too. Values between the codes
    go to the nearer one, so averaged masks still have only these levels.
    """
    value = quadmask.to(torch.float32)
    keep = torch.ones_like(value)
    affected = keep * AFFECTED.to(value.device) if levels == "tri" else keep * 0
    return torch.where(value > 191, keep, torch.where(value > 95, affected, keep * 0))


def augmented(plate: Tensor, noise: Tensor) -> Tensor:
    """Adds `AUGMENTATION` times `noise` (standard normal, same shape) to `plate`, except on black pixels."""
    return plate + torch.where(plate == BLACK, 0.0, noise * AUGMENTATION)


def without_removed(plate: Tensor, mask: Tensor) -> Tensor:
    """Returns `plate` [b, 3, t, h, w] with black where `mask` [b, 1, t, h, w] says remove.

    The published scripts offer this but do not use it by default: the model sees the object.
    """
    return torch.where(mask < 0.5, BLACK, plate)
