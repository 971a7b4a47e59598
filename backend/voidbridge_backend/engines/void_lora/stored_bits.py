"""Keeps the base's large layers in 8 bits while a LoRA is trained: for memory, not for speed.

Each weight is stored as float8_e4m3 with one scale a row, and widened when it is used. Gradients pass through to
the LoRA; the base has none. Only `engines.void.fp8` multiplies in 8 bits, which gives no gradient.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from voidbridge_backend.engines.void.model.fp8 import rounded


class StoredLinear(nn.Module):
    """An `nn.Linear` of [..., inputs] to [..., outputs] whose weight is stored in 8 bits."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = rounded(linear.weight.detach())
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        weight = self.weight.to(inputs.dtype) * self.scale.to(inputs.dtype)
        bias = None if self.bias is None else self.bias.to(inputs.dtype)
        return F.linear(inputs, weight, bias)


def store(blocks: Any) -> None:
    """Replaces the attention and feed-forward layers of each block, and leaves a LoRA beside them as it is."""
    for block in blocks:
        for part in (block.attn1, block.ff):
            for name, linear in list(part.named_modules()):
                if isinstance(linear, nn.Linear) and "lora_" not in name:
                    part.set_submodule(name, StoredLinear(linear))
