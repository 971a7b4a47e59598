"""Reads and writes LoRA files: small additions to some of the transformer's products, as safetensors.

A LoRA gives a linear layer of [inputs] to [outputs] two matrices, `down` [rank, inputs] and `up` [outputs, rank].
The layer then adds strength * up @ down @ x (Hu et al. 2021, arXiv 2106.09685). Two spellings are read. diffusers
and peft write `transformer.transformer_blocks.0.attn1.to_q.lora_A.weight`. kohya and VideoX-Fun write
`lora_unet__transformer_blocks_0_attn1_to_q.lora_down.weight`, with `.alpha`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from voidbridge_protocol.errors import BadLora

RECORD = "voidbridge"
"""Entry of a file's metadata with `LoraRecord`, as JSON."""
ADAPTER = "lora_adapter_metadata"
"""Entry of a file's metadata in which diffusers keeps peft's configuration, as JSON."""
PREFIXES = ("transformer.", "base_model.model.", "diffusion_model.")
"""Beginnings of names that stand for the network itself."""
KOHYA = "lora_unet__"
MOST_RANK = 1024
MOST_BYTES = 8 << 30
"""Largest file. Rank 1024 on every attention product of the published model has 2.1 GB."""
PICKLED = (b"PK\x03\x04", b"\x80")
"""First bytes of a pickle: torch's archive, and pickle's own."""
_PEFT = re.compile(r"(.+)\.lora_(A|B)(?:\.\w+)?\.weight")
_KOHYA = re.compile(r"(.+)\.(lora_down\.weight|lora_up\.weight|alpha)")

Spelling = Literal["diffusers", "kohya"]


@dataclass(frozen=True)
class LoraPair:
    """The addition to one layer: `down` [rank, inputs], `up` [outputs, rank], float32, alpha / rank included."""

    down: Tensor
    up: Tensor

    @property
    def rank(self) -> int:
        return self.down.shape[0]


@dataclass(frozen=True)
class LoraRecord:
    """The origin of a LoRA. Files of other tools have none."""

    show: str = ""
    base: str = ""
    """Fingerprint of the transformer that it was trained on (`weights.fingerprint`)."""
    passes: int = 0
    """The pass that it belongs to; 0 if unknown."""
    rank: int = 0
    steps: int = 0
    clips: tuple[Mapping[str, Any], ...] = ()
    """For each clip that it was trained on: name, hash, rights and consent."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Settings and losses of the training."""


@dataclass(frozen=True)
class Lora:
    """The content of a file. `pairs` are by the name of their layer in the network."""

    pairs: Mapping[str, LoraPair]
    sha256: str
    record: LoraRecord = LoraRecord()

    @property
    def ranks(self) -> dict[str, int]:
        return {name: pair.rank for name, pair in self.pairs.items()}


def read(path: Path, layers: Mapping[str, tuple[int, int]], name: str = "") -> Lora:
    """Reads a file for a network whose linear `layers` have the shapes [outputs, inputs].

    `name` stands for the file in errors. Raises `BadLora` for a file that is unreadable, a pickle, of another
    network, or whose matrices do not fit together.
    """
    name = name or path.name
    state, metadata = _tensors(path, name)
    record = _record(metadata, name)
    alphas = _alphas(metadata, name)
    found = _kohya(state, layers, name) if _is_kohya(state) else _peft(state, alphas, name)
    for layer, pair in found.items():
        _check(layer, pair, layers, name)
    if record.rank and {pair.rank for pair in found.values()} != {record.rank}:
        raise BadLora(f"{name} says rank {record.rank}, and its matrices have another")
    return Lora(found, _sha256(path), record)


def written(
    pairs: Mapping[str, LoraPair], record: LoraRecord, spelling: Spelling = "diffusers"
) -> bytes:
    """Returns a file of these pairs, float32, the same bytes for the same content. `read` reads it again."""
    entries = {name: getattr(record, name) for name in LoraRecord.__dataclass_fields__}
    # One entry alone: safetensors writes several in a random order.
    metadata = {RECORD: json.dumps(entries, sort_keys=True)}
    state: dict[str, Tensor] = {}
    for name, pair in sorted(pairs.items()):
        down, up = pair.down.float().cpu().contiguous(), pair.up.float().cpu().contiguous()
        if spelling == "kohya":
            key = kohya_name(name)
            state[f"{key}.lora_down.weight"], state[f"{key}.lora_up.weight"] = down, up
            state[f"{key}.alpha"] = torch.tensor(float(pair.rank))
        else:
            state[f"transformer.{name}.lora_A.weight"] = down
            state[f"transformer.{name}.lora_B.weight"] = up
    return bytes(save(state, metadata))


def kohya_name(layer: str) -> str:
    """Returns kohya's name of a layer: `lora_unet__transformer_blocks_0_attn1_to_q`."""
    return KOHYA + layer.replace(".", "_")


def _tensors(path: Path, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(9)
        if begin.startswith(PICKLED) and begin[8:] != b"{":  # A header's length may begin so too.
            raise BadLora(
                f"{name} is a pickle, which can run code when it is opened; it was not opened",
                "Convert it to safetensors on a machine where you trust it.",
            )
        if size > MOST_BYTES:
            raise BadLora(f"{name} has {size / 2**30:.1f} GB; a LoRA has at most 8")
        with safe_open(str(path), framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
            return {key: opened.get_tensor(key) for key in opened.keys()}, metadata
    except (OSError, SafetensorError) as error:
        raise BadLora(f"{name} is not a whole safetensors file: {error}") from error


def _record(metadata: Mapping[str, str], name: str) -> LoraRecord:
    if RECORD not in metadata:
        return LoraRecord()
    found = _json(metadata[RECORD], name)
    known = LoraRecord.__dataclass_fields__
    if not isinstance(found, dict) or set(found) - set(known):
        raise BadLora(f"{name} has a record that this version does not know")
    blank = LoraRecord()
    for key, value in found.items():
        wanted = (list, tuple) if key == "clips" else type(getattr(blank, key))
        if not isinstance(value, wanted):
            raise BadLora(
                f"{name} has a record whose {key} is no {type(getattr(blank, key)).__name__}"
            )
    return LoraRecord(**{**found, "clips": tuple(found.get("clips", ()))})


def _alphas(metadata: Mapping[str, str], name: str) -> float | None:
    """Returns `lora_alpha` of peft's configuration in the metadata; None without one: alpha is the rank."""
    if ADAPTER not in metadata:
        return None
    found = _json(metadata[ADAPTER], name)
    values = [
        value
        for key, value in (found.items() if isinstance(found, dict) else ())
        if key.split(".")[-1] == "lora_alpha"
    ]
    patterns = (
        [value for key, value in found.items() if key.endswith("alpha_pattern")]
        if isinstance(found, dict)
        else []
    )
    if any(patterns):
        raise BadLora(f"{name} has an alpha for each layer in peft's way, which is not supported")
    if not values:
        return None
    try:
        return float(values[0])
    except (TypeError, ValueError, OverflowError) as error:
        raise BadLora(f"{name} has the alpha {str(values[0])[:40]}") from error


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadLora(f"{name} has metadata that are not JSON: {error}") from error


def _is_kohya(state: Iterable[str]) -> bool:
    return any(key.startswith(KOHYA) for key in state)


def _peft(state: Mapping[str, Tensor], alpha: float | None, name: str) -> dict[str, LoraPair]:
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        match = _PEFT.fullmatch(key)
        if match is None:
            raise BadLora(f"{name} holds {key}, which is not a part of a LoRA")
        layer = match[1]
        for prefix in PREFIXES:
            layer = layer.removeprefix(prefix)
        halves.setdefault(layer, {})[match[2]] = tensor
    return {layer: _pair(layer, both, alpha, name) for layer, both in halves.items()}


def _kohya(
    state: Mapping[str, Tensor], layers: Mapping[str, tuple[int, int]], name: str
) -> dict[str, LoraPair]:
    known = {kohya_name(layer): layer for layer in layers}
    halves: dict[str, dict[str, Tensor]] = {}
    alphas: dict[str, float] = {}
    for key, tensor in state.items():
        match = _KOHYA.fullmatch(key)
        if match is None or match[1] not in known:
            raise BadLora(f"{name} holds {key}, which is not a part of a LoRA for this model")
        layer = known[match[1]]
        if match[2] == "alpha":
            if tensor.numel() != 1:
                raise BadLora(f"{name} has an alpha of {list(tensor.shape)} for {layer}")
            alphas[layer] = float(tensor)
        else:
            half = "A" if match[2].startswith("lora_down") else "B"
            halves.setdefault(layer, {})[half] = tensor
    return {layer: _pair(layer, both, alphas.get(layer), name) for layer, both in halves.items()}


def _pair(layer: str, both: Mapping[str, Tensor], alpha: float | None, name: str) -> LoraPair:
    if set(both) != {"A", "B"}:
        raise BadLora(f"{name} has one matrix of two for {layer}")
    down, up = both["A"].float(), both["B"].float()
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
        raise BadLora(
            f"{name} has matrices of {list(down.shape)} and {list(up.shape)} for {layer}, "
            "whose ranks differ"
        )
    if not 1 <= down.shape[0] <= MOST_RANK:
        raise BadLora(f"{name} has rank {down.shape[0]} for {layer}; 1 to {MOST_RANK} are possible")
    return LoraPair(down, up if alpha is None else up * (alpha / down.shape[0]))


def _check(layer: str, pair: LoraPair, layers: Mapping[str, tuple[int, int]], name: str) -> None:
    if layer not in layers:
        raise BadLora(f"{name} changes {layer}, which this model does not have")
    found = (pair.up.shape[0], pair.down.shape[1])
    if found != layers[layer]:
        raise BadLora(
            f"{name} changes {layer} as {found[0]} x {found[1]}; "
            f"this model has {layers[layer][0]} x {layers[layer][1]}"
        )
    if not (torch.isfinite(pair.down).all() and torch.isfinite(pair.up).all()):
        raise BadLora(f"{name} has values that are not finite for {layer}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
