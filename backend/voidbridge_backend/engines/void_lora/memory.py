"""Counts the memory of a training from shapes alone, before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from voidbridge_backend.engines.void.model.denoiser import PIXELS_PER_PATCH

TARGETS = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")
"""The products of each block that a LoRA adds to, as in diffusers' training of CogVideoX (docs/lora.md)."""
TEXT_TOKENS = 226
ADAM = 12
"""Bytes of a trained number: itself and AdamW's two means, float32."""
GRADIENT = 4
RECOMPUTED = 12
"""Tensors of a block's width that one block holds while it is computed again: measured by no one yet [E]."""
FEED_FORWARD = 8
"""The same of its four times wider layer, in units of the block's width."""


@dataclass(frozen=True)
class Shape:
    """A clip: pixels, and latent frames."""

    height: int
    width: int
    latents: int

    @property
    def tokens(self) -> int:
        patches = (self.height // PIXELS_PER_PATCH) * (self.width // PIXELS_PER_PATCH)
        return self.latents // 2 * patches + TEXT_TOKENS


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on the device while training."""

    trained: int
    """Numbers that are trained."""
    weights: int
    lora: int
    activations: int
    """Inputs of all blocks, kept for the gradient."""
    recomputed: int

    @property
    def total(self) -> int:
        return self.weights + self.lora + self.activations + self.recomputed


def count(
    network: Any, rank: int, clip: Shape, base: str = "full", processes: int = 1
) -> TrainingMemory:
    """Counts for a transformer, which may stand on the meta device, in bfloat16 with `rank` on `TARGETS`.

    Several `processes` gather all their gradients in each: one of each process, the own one, and the sum.
    """
    blocks = list(network.transformer_blocks)
    large = trained = 0
    for block in blocks:
        for name, module in block.named_modules():
            if name in TARGETS:
                trained += rank * (module.in_features + module.out_features)
        large += sum(
            module.weight.numel()
            for part in (block.attn1, block.ff)
            for module in part.modules()
            if hasattr(module, "in_features")
        )
    numbers = sum(parameter.numel() for parameter in network.parameters())
    weights = 2 * numbers - (large if base == "fp8" else 0)
    config = network.config
    width = config.num_attention_heads * config.attention_head_dim
    states = clip.tokens * width * 2
    return TrainingMemory(
        trained,
        weights,
        trained * (ADAM + GRADIENT * (1 if processes == 1 else processes + 2)),
        states * len(blocks),
        states * (RECOMPUTED + FEED_FORWARD),
    )
