"""The networks of LTX-2 at their true sizes, on tensors without values, and the memory plans of the engine `ltx`.

python benchmarks/ltx_memory.py        one JSON object a line

Sizes are those of diffusers' conversion of the published checkpoints (scripts/convert_ltx2_to_diffusers.py), and of
Gemma 3 12B as published.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig

from voidbridge_backend.engines.ltx import memory

TRANSFORMER = {
    "in_channels": 128,
    "out_channels": 128,
    "num_attention_heads": 32,
    "attention_head_dim": 128,
    "cross_attention_dim": 4096,
    "audio_in_channels": 128,
    "audio_out_channels": 128,
    "audio_num_attention_heads": 32,
    "audio_attention_head_dim": 64,
    "audio_cross_attention_dim": 2048,
    "num_layers": 48,
    "caption_channels": 3840,
    "rope_type": "split",
}
NEWER = {
    "gated_attn": True,
    "cross_attn_mod": True,
    "audio_gated_attn": True,
    "audio_cross_attn_mod": True,
    "use_prompt_embeddings": False,
    "perturbed_attn": True,
}
"""What 2.3 adds."""
CONNECTORS = {
    "caption_channels": 3840,
    "text_proj_in_factor": 49,
    "video_connector_num_attention_heads": 32,
    "video_connector_attention_head_dim": 128,
    "video_connector_num_layers": 8,
    "video_connector_num_learnable_registers": 128,
    "audio_connector_num_attention_heads": 32,
    "audio_connector_attention_head_dim": 64,
    "audio_connector_num_layers": 8,
    "audio_connector_num_learnable_registers": 128,
    "connector_rope_base_seq_len": 4096,
    "rope_theta": 10000.0,
    "rope_double_precision": True,
    "causal_temporal_positioning": False,
    "rope_type": "split",
    "video_gated_attn": True,
    "audio_gated_attn": True,
    "per_modality_projections": True,
    "video_hidden_dim": 4096,
    "audio_hidden_dim": 2048,
    "proj_bias": True,
}
GEMMA = {
    "vocab_size": 262208,
    "hidden_size": 3840,
    "intermediate_size": 15360,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
}
SIZES = ((121, 512, 768), (121, 1024, 1536))
"""Frames, height and width of a run, without and with `upscale`."""
CARDS = (16, 24, 32, 48, 80, 141)
"""Memory of cards, in GB."""


def counted(make: Callable[[], Any]) -> int:
    """The parameters of a network, without memory for them."""
    with torch.device("meta"):
        return sum(one.numel() for one in make().parameters())


def networks() -> dict[str, int]:
    """The parameters of each network of LTX-2.3, and of the transformer of LTX-2."""
    text = Gemma3Config(text_config=Gemma3TextConfig(**GEMMA).to_dict())
    return {
        "transformer of LTX-2": counted(lambda: LTX2VideoTransformer3DModel(**TRANSFORMER)),
        "transformer": counted(lambda: LTX2VideoTransformer3DModel(**TRANSFORMER, **NEWER)),
        "connectors": counted(lambda: LTX2TextConnectors(**CONNECTORS)),
        "vae": counted(lambda: AutoencoderKLLTX2Video()),
        "audio_vae": counted(lambda: AutoencoderKLLTX2Audio()),
        "vocoder": counted(lambda: LTX2Vocoder()),
        "text_encoder": counted(lambda: Gemma3ForConditionalGeneration(text)),
    }


def main() -> None:
    found = networks()
    for name, parameters in found.items():
        print(json.dumps({"network": name, "parameters": parameters}))
    used = {name: parameters * 2 for name, parameters in found.items() if " " not in name}
    for precision in ("bfloat16", "fp8"):
        sizes = dict(used)
        if precision == "fp8":
            sizes["transformer"] //= 2
        for frames, height, width in SIZES:
            demand = memory.NetworkDemand(sizes, frames, height, width)
            needs = {
                plan: round((memory.needed(plan, demand) + memory.MARGIN) / memory.GIB, 1)
                for plan in memory.PLANS
            }
            fits = {}
            for card in CARDS:
                able = [plan for plan in memory.PLANS if needs[plan] <= card]
                fits[card] = able[0] if able else "none"
            run = f"{frames} x {width} x {height}"
            print(json.dumps({"run": run, "precision": precision, "GB": needs, "card GB": fits}))


if __name__ == "__main__":
    main()
