"""Writes a tiny LTX-2 of random weights with the published layout: for tests, and for a trial without a card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)

from .weights import BASE, HDR

WORDS = (
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "a",
    "red",
    "car",
    "in",
    "rain",
    "the",
    "ball",
    "rolls",
)
HIDDEN = 16
LATENT = 4
RANK = 2


def make_tiny(models: Path, seed: int = 0) -> Path:
    """Writes the networks into `models`, about 2 MB in all, and returns it. The seed decides every weight."""
    folder = models / BASE
    # The libraries draw initial weights from torch's global generator and from nothing else.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = _made(LTX2Pipeline, **_parts())
        pipeline.save_pretrained(folder, safe_serialization=True)
        upsampler = _made(
            LTX2LatentUpsamplerModel, in_channels=LATENT, mid_channels=32, num_blocks_per_stage=1
        )
        upsampler.save_pretrained(folder / "latent_upsampler", safe_serialization=True)
        save_file(_lora(pipeline.transformer), models / HDR)
    return models


def _parts() -> dict[str, Any]:
    return {
        "scheduler": _made(FlowMatchEulerDiscreteScheduler),
        "vae": _vae(),
        "audio_vae": _audio_vae(),
        "text_encoder": _text_encoder(),
        "tokenizer": _tokenizer(),
        "connectors": _connectors(),
        "transformer": _transformer(),
        "vocoder": _vocoder(),
    }


def _transformer() -> Any:
    return _made(
        LTX2VideoTransformer3DModel,
        in_channels=LATENT,
        out_channels=LATENT,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=2,
        caption_channels=HIDDEN,
        rope_double_precision=False,
        rope_type="split",
    )


def _connectors() -> Any:
    return _made(
        LTX2TextConnectors,
        caption_channels=HIDDEN,
        text_proj_in_factor=3,
        video_connector_num_attention_heads=4,
        video_connector_attention_head_dim=4,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=None,
        audio_connector_num_attention_heads=4,
        audio_connector_attention_head_dim=4,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None,
        connector_rope_base_seq_len=32,
        rope_theta=10000.0,
        rope_double_precision=False,
        causal_temporal_positioning=False,
        rope_type="split",
    )


def _vae() -> Any:
    """The true factors, 32 in space and 8 in time, with few channels."""
    return _made(
        AutoencoderKLLTX2Video,
        latent_channels=LATENT,
        block_out_channels=(8, 16, 16, 16),
        decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
        decoder_causal=False,
    )


def _audio_vae() -> Any:
    return _made(
        AutoencoderKLLTX2Audio,
        base_channels=4,
        output_channels=2,
        ch_mult=(1,),
        num_res_blocks=1,
        attn_resolutions=None,
        in_channels=2,
        resolution=32,
        latent_channels=2,
        norm_type="pixel",
        causality_axis="height",
        dropout=0.0,
        mid_block_add_attention=False,
        sample_rate=16000,
        mel_hop_length=160,
        is_causal=True,
        mel_bins=8,
    )


def _vocoder() -> Any:
    return _made(
        LTX2Vocoder,
        in_channels=16,
        hidden_channels=32,
        out_channels=2,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        leaky_relu_negative_slope=0.1,
        output_sampling_rate=16000,
    )


def _text_encoder() -> Any:
    text = Gemma3TextConfig(
        vocab_size=64,
        hidden_size=HIDDEN,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=32,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    vision = SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    config = Gemma3Config(
        text_config=text.to_dict(), vision_config=vision.to_dict(), mm_tokens_per_image=4
    )
    return _made(Gemma3ForConditionalGeneration, config).eval()


def _tokenizer() -> Any:
    words = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    return _made(
        PreTrainedTokenizerFast,
        tokenizer_object=words,
        model_max_length=16,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
    )


def _lora(transformer: Any) -> dict[str, torch.Tensor]:
    """A LoRA of one projection, as the HDR one is published beside the model."""
    weight = transformer.transformer_blocks[0].attn1.to_q.weight
    name = "transformer.transformer_blocks.0.attn1.to_q"
    return {
        f"{name}.lora_A.weight": torch.randn(RANK, weight.shape[1]),
        f"{name}.lora_B.weight": torch.randn(weight.shape[0], RANK),
    }


def _made(kind: Any, *values: Any, **named: Any) -> Any:
    """An object of a library without types."""
    return kind(*values, **named)
