"""What the model is told about a shot: the plate, and where something is to be removed.

Tensors are [batch, channels, frames, height, width]. Plates are float32 in [-1, 1] for what a display can
show; masks are float32 in [0, 1] with 0 remove, 1 keep.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Levels = Literal["tri", "reference"]
"""How many levels of the quadmask the second pass is told apart; see `mask_levels`."""

AFFECTED = 1 - torch.tensor(127 / 255)
"""The mask's value where pixels are affected: 128/255, one float32 step below the nearest to it."""

AUGMENTATION = 0.0563
"""How much unit noise is added to the plate before it is encoded, in units of [-1, 1].

The model was trained with about exp(-3) of it, and was never shown a plate without.
"""

BLACK = -1.0
"""A plate's value that gets no noise: exactly the black that stands for pixels taken out."""


def mask_levels(quadmask: Tensor, levels: Levels = "tri") -> Tensor:
    """The autoencoder's view of a quadmask: float32, same shape, of codes 0, 63, 127 and 255 (any number type).

    "tri": three levels, as the model was trained: remove and overlap 0, affected 128/255, keep 1.
    "reference": two levels, as the published script of the second pass does it: affected is removed too.
    Values between the codes go to the nearer one, so that averaged masks still have these levels only.
    """
    value = quadmask.to(torch.float32)
    keep = torch.ones_like(value)
    affected = keep * AFFECTED.to(value.device) if levels == "tri" else keep * 0
    return torch.where(value > 191, keep, torch.where(value > 95, affected, keep * 0))


def augmented(plate: Tensor, noise: Tensor) -> Tensor:
    """`plate` with `AUGMENTATION` times `noise` (standard normal, same shape) on it, except where it is black."""
    return plate + torch.where(plate == BLACK, 0.0, noise * AUGMENTATION)


def without_removed(plate: Tensor, mask: Tensor) -> Tensor:
    """`plate` [b, 3, t, h, w] with black where `mask` [b, 1, t, h, w] says remove.

    The published scripts can do this and by default do not: the model is shown the object.
    """
    return torch.where(mask < 0.5, BLACK, plate)
