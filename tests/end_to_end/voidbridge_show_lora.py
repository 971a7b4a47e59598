"""A LoRA with random numbers for a tiny model, as a show's file, for tests of the hosts."""

from __future__ import annotations

from pathlib import Path


def write_show_lora(models: Path, path: Path) -> Path:
    """Writes a LoRA of the show harbour beside every attention product of pass 1, strong enough to be seen."""
    import torch

    from voidbridge_backend.engines.void.files import networks
    from voidbridge_backend.engines.void.model import lora_file

    draw = torch.Generator().manual_seed(1)
    pairs = {
        name: lora_file.LoraPair(
            torch.randn(4, inputs, generator=draw) / 4, torch.randn(outputs, 4, generator=draw) / 4
        )
        for name, (outputs, inputs) in networks.transformer_layers(models).items()
        if ".attn1.to_" in name
    }
    base = networks.pass_weights(models, 1).fingerprint()
    record = lora_file.LoraRecord(show="harbour", base=base, passes=1, rank=4)
    path.write_bytes(lora_file.written(pairs, record))
    return path
