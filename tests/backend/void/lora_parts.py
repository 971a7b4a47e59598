"""Random LoRAs for the tiny model, which tests of this folder share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model import lora_file
from voidbridge_backend.engines.void.model.lora_file import LoraPair, LoraRecord, Spelling

Layers = Mapping[str, tuple[int, int]]


def layers_of(models: Path) -> Layers:
    return networks.transformer_layers(models)


def random_pairs(layers: Layers, rank: int = 4, seed: int = 1) -> dict[str, LoraPair]:
    """One for each attention product."""
    draw = torch.Generator().manual_seed(seed)
    return {
        name: LoraPair(
            torch.randn(rank, inputs, generator=draw) / 4,
            torch.randn(outputs, rank, generator=draw) / 4,
        )
        for name, (outputs, inputs) in layers.items()
        if ".attn1.to_" in name
    }


def write(
    path: Path,
    pairs: Mapping[str, LoraPair],
    record: LoraRecord | None = None,
    spelling: Spelling = "diffusers",
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lora_file.written(pairs, record or LoraRecord(), spelling))
    return path
