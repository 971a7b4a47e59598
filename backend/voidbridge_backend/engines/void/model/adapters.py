"""Puts LoRAs beside the layers of a transformer, with peft. The weights of the model itself never change.

An addition that is small against a weight would round away inside bfloat16 or 8 bits, so nothing is merged.
Another strength changes one number for each layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from voidbridge_backend.engines.void.model.lora_file import Lora, LoraPair
from voidbridge_protocol.errors import BadLora


def layers(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Returns [outputs, inputs] of each linear layer by name, as it was before LoRAs came."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and ".lora_" not in name:
            found[name.removesuffix(".base_layer")] = (module.out_features, module.in_features)
    return found


def attach(network: Any, loras: Mapping[str, Lora], dtype: torch.dtype) -> None:
    """Puts each LoRA beside the layers of a network that stands on the CPU, with strength 1.

    It has to come before 8-bit layers, compiling and the first move to a device, because names of tensors change.
    """
    for name, lora in loras.items():
        add(network, name, lora.ranks, dtype)
        set_pairs(network, name, lora.pairs)
    if loras:
        set_strengths(network, dict.fromkeys(loras, 1.0))
    network.requires_grad_(False)


def add(network: Any, name: str, ranks: Mapping[str, int], dtype: torch.dtype) -> None:
    """Adds the LoRA `name` of these ranks by layer, in `dtype`. Its own values are to be set."""
    most = max(ranks.values(), default=0)
    if not most:
        raise BadLora(f"the LoRA {name} changes no layer")
    config = LoraConfig(
        r=most,
        lora_alpha=most,
        target_modules=list(ranks),
        rank_pattern={f"^{layer}": rank for layer, rank in ranks.items() if rank != most},
        alpha_pattern={f"^{layer}": rank for layer, rank in ranks.items() if rank != most},
        lora_dropout=0.0,
    )
    # peft draws first values, which nobody uses, and warns of a second LoRA, which is meant here.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")
        network.add_adapter(config, adapter_name=name)
    for _, layer in _layers(network, name):
        for half in (layer.lora_A[name], layer.lora_B[name]):
            half.to(dtype)


def set_pairs(network: nn.Module, name: str, pairs: Mapping[str, LoraPair]) -> None:
    """Gives the LoRA `name` its values."""
    for layer, module in _layers(network, name):
        for half, value in (
            (module.lora_A[name], pairs[layer].down),
            (module.lora_B[name], pairs[layer].up),
        ):
            half.weight.data = value.to(half.weight.device, half.weight.dtype).contiguous()


def pairs_of(network: nn.Module, name: str) -> dict[str, LoraPair]:
    """Returns the values of the LoRA `name`, float32, on the CPU."""

    def here(tensor: Tensor) -> Tensor:
        return tensor.detach().float().cpu().clone()

    return {
        layer: LoraPair(here(module.lora_A[name].weight), here(module.lora_B[name].weight))
        for layer, module in _layers(network, name)
    }


def trainable(network: nn.Module, name: str) -> dict[str, nn.Parameter]:
    """Returns the tensors of the LoRA `name` by their name, in a fixed order."""
    found = {}
    for layer, module in _layers(network, name):
        found[f"{layer}.A"] = module.lora_A[name].weight
        found[f"{layer}.B"] = module.lora_B[name].weight
    return found


def set_strengths(network: Any, strengths: Mapping[str, float]) -> None:
    """Sets how strongly each LoRA acts. Nothing is loaded or compiled again."""
    network.set_adapters(list(strengths), list(strengths.values()))
    network.requires_grad_(False)


def merged(weight: Tensor, pairs: Sequence[tuple[LoraPair, float]]) -> Tensor:
    """Returns a weight [outputs, inputs] with additions merged, computed in float32: for comparison."""
    total = weight.float()
    for pair, strength in pairs:
        total = total + strength * (pair.up @ pair.down)
    return total.to(weight.dtype)


def _layers(network: nn.Module, name: str) -> Iterator[tuple[str, Any]]:
    for layer, module in network.named_modules():
        if isinstance(module, LoraLayer) and name in module.lora_A:
            yield layer, module
