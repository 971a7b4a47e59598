"""Reads weights as other programs store them: under a prefix, and in 8 bits with a scale.

ComfyUI writes both. A layer in 8 bits has its weight, divided by a scale, and the scale under one of two names.
Such files also describe inputs for products in 8 bits, which is not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from voidbridge_protocol.errors import ModelMissing

EIGHT_BITS = frozenset({"F8_E4M3", "F8_E5M2"})
"""8-bit types as safetensors spells them."""

PREFIXES = (
    "model.diffusion_model.",
    "diffusion_model.",
    "first_stage_model.",
    "text_encoders.t5xxl.transformer.",
    "transformer.",
    "vae.",
)
"""Names of a whole network within a file."""

SCALES = (".scale_weight", ".weight_scale")
UNUSED = (".scale_input", ".input_scale", ".comfy_quant")
MARK = "scaled_fp8"


def prefix(names: Iterable[str]) -> str:
    """Returns the prefix that all weights of a file share, or nothing."""
    weights = [name for name in names if name != MARK]
    for found in PREFIXES:
        if weights and all(name.startswith(found) for name in weights):
            return found
    return ""


def is_weight(name: str) -> bool:
    """Returns False for scales and remarks, which belong to a weight."""
    return name != MARK and not name.endswith((*SCALES, *UNUSED))


def restored(stored: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Returns the weights by their plain names, in `dtype`, mapped from the file if they are stored so.

    A scale is one number, or one for each row. Raises `ModelMissing` if it has another shape.
    """
    start = prefix(stored)
    found = {}
    for name, tensor in stored.items():
        if not is_weight(name):
            continue
        layer = name.removesuffix(".weight")
        scales = [stored[layer + end] for end in SCALES if layer + end in stored]
        if layer != name and scales:
            found[name.removeprefix(start)] = _scaled(name, tensor, scales[0]).to(dtype)
        else:
            found[name.removeprefix(start)] = tensor.to(dtype)
    return found


def _scaled(name: str, weight: Tensor, scale: Tensor) -> Tensor:
    rows = scale.float().flatten()
    if len(rows) not in (1, len(weight)):
        raise ModelMissing(
            f"{name} has {list(weight.shape)} numbers in 8 bits and scales of {list(scale.shape)}",
            "Scales for blocks are not read. Get a file with one scale for each layer or row.",
        )
    return weight.float() * rows.view(-1, *[1] * (weight.ndim - 1))
