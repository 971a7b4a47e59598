"""Finds and loads a checkpoint of the SAM family: config.json and safetensors in a folder, nothing online."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voidbridge_protocol.errors import ModelMissing

HINT = "Or use --engine flow, which needs no weights."


def find(engine: str, names: Sequence[str], models: Path | None) -> Path:
    """The first of these folders in `models`. Raises `ModelMissing`, which names the engine `flow`."""
    for name in names:
        folder = (models or Path()) / name
        if (folder / "config.json").is_file():
            return folder
    wanted = f"{models / names[0] if models else names[0]}"
    raise ModelMissing(
        f"{engine} needs weights, and {wanted} is not there",
        f"Get it with: voidbridge models fetch --engine {engine}. {HINT}",
    )


def load(folder: Path, network: type[Any], kinds: Sequence[str], device: str) -> Any:
    """The network of `transformers` in this folder, for evaluation, in float32 on the device.

    Raises `ModelMissing` for another architecture, for weights that are no safetensors, and for a checkpoint that
    lacks tensors or has tensors of other shapes.
    """
    import torch
    from transformers.utils import logging

    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelMissing(f"{folder / 'config.json'} cannot be read: {error}", HINT) from error
    if found not in kinds:
        raise ModelMissing(f"{folder} holds a network {found!r}, and {kinds[0]!r} is needed", HINT)
    logging.disable_progress_bar()
    try:
        made, info = network.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelMissing(f"{folder} cannot be loaded: {str(error)[:200]}", HINT) from error
    wrong = sorted(map(str, (*info["missing_keys"], *info.get("mismatched_keys", ()))))
    if wrong:
        raise ModelMissing(
            f"{folder} lacks {len(wrong)} tensors of the network, {wrong[0]} first", HINT
        )
    return made.to(torch.device(device)).eval()
