"""Creates a models folder with the real layout and networks of a few thousand random weights.

Its results are meaningless, but use every step of the real model. It serves tests, and trial installations
without weights or GPU.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel

from .files.weights import BASE, CHANNELS, PASSES
from .options import FILE

SENTENCES = (
    "A wide shot of an empty street at dawn, wet from the rain.",
    "The table stands by the window and nothing lies on it.",
    "Tall grass moves in the wind in front of a wooden fence.",
    "A woman walks along the harbour; boats rock behind her.",
    "The rig is gone and the wall behind it is plain white plaster.",
    "Two cups of coffee, steam rising, morning light from the left.",
    "Remove the man and his shadow, keep the reflection of the lamp.",
    "An old car turns the corner and dust settles on the road.",
    "Snow falls on the roofs of a small town between the hills.",
    "The ball never rolled; the pins still stand at the end of the lane.",
)
"""Sentences from which the tiny tokenizer learns its pieces."""

TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "in_channels": 33,
    "out_channels": 16,
    "text_embed_dim": 16,
    "time_embed_dim": 16,
    "max_text_seq_length": 226,
    "patch_size": 2,
    "patch_size_t": 2,
    "patch_bias": False,
    "sample_frames": 85,
    "sample_height": 384,
    "sample_width": 680,
    "use_rotary_positional_embeddings": True,
    "use_learned_positional_embeddings": False,
}
VAE: dict[str, Any] = {
    "block_out_channels": [4, 8, 8, 8],
    "down_block_types": ["CogVideoXDownBlock3D"] * 4,
    "up_block_types": ["CogVideoXUpBlock3D"] * 4,
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "latent_channels": 16,
    "scaling_factor": 0.7,
    "sample_height": 480,
    "sample_width": 720,
}
TEXT_ENCODER: dict[str, Any] = {
    "d_model": 16,
    "d_ff": 32,
    "d_kv": 8,
    "num_heads": 2,
    "num_layers": 1,
    "feed_forward_proj": "gated-gelu",
    "vocab_size": 256,
    "is_encoder_decoder": True,
    "tie_word_embeddings": False,
}
SCHEDULER: dict[str, Any] = {
    "_class_name": "CogVideoXDDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "snr_shift_scale": 1.0,
    "timestep_spacing": "trailing",
    "set_alpha_to_one": True,
    "steps_offset": 0,
    "clip_sample": False,
}
OPTIONS: dict[str, Any] = {"height": 48, "width": 80, "window": 21, "steps": 4, "fineness": 2}
"""A tiny model uses tiny pictures: seconds, not minutes."""


def make_tiny(folder: Path, seed: int = 0) -> Path:
    """Writes a complete tiny models folder, the same for the same seed, and returns it."""
    base = folder / BASE
    for part in ("scheduler", "text_encoder", "tokenizer", "transformer", "vae"):
        (base / part).mkdir(parents=True, exist_ok=True)
    (base / "tokenizer" / "spiece.model").write_bytes(_pieces())
    _write(base / "scheduler" / "scheduler_config.json", SCHEDULER)
    _write(base / "transformer" / "config.json", TRANSFORMER)
    _write(base / "vae" / "config.json", VAE)
    _write(base / "text_encoder" / "config.json", TEXT_ENCODER)
    _write(folder / FILE, OPTIONS)

    wide = TRANSFORMER | {"in_channels": sum(CHANNELS.values())}
    files = {
        base / "transformer" / "diffusion_pytorch_model.safetensors": (
            CogVideoXTransformer3DModel,
            TRANSFORMER,
        ),
        folder / PASSES[1]: (CogVideoXTransformer3DModel, wide),
        folder / PASSES[2]: (CogVideoXTransformer3DModel, wide),
        base / "vae" / "diffusion_pytorch_model.safetensors": (AutoencoderKLCogVideoX, VAE),
    }
    for index, (path, (kind, config)) in enumerate(files.items()):
        network: Any = kind
        _save(
            path, seed + index, lambda network=network, config=config: network.from_config(config)
        )
    text = base / "text_encoder" / "model.safetensors"
    _save(text, seed + len(files), lambda: T5EncoderModel(T5Config(**TEXT_ENCODER)))
    return folder


def _pieces() -> bytes:
    """Returns a sentencepiece model with T5's numbers for padding, end and unknown, trained on `SENTENCES`."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        model_type="unigram",
        vocab_size=96,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _save(path: Path, seed: int, make: Any) -> None:
    # The libraries draw initial weights from torch's global generator and from nothing else.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = make().state_dict()
    state.pop("encoder.embed_tokens.weight", None)
    save_file(
        {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in state.items()}, path
    )


def _write(path: Path, entries: dict[str, Any]) -> None:
    path.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
