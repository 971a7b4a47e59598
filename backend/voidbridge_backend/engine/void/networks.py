"""The four networks of the model, made from the files of a models folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from transformers import T5Config, T5EncoderModel

from . import weights
from .denoiser import Denoiser
from .vae import Vae
from .weights import BASE, CHANNELS, PASSES, Weights

NOT_OF_DIFFUSERS = ("add_noise_in_inpaint_model",)
"""Entries of the published configuration that only the published code knows."""


def vae_weights(models: Path) -> Weights:
    return weights.find(models / BASE / "vae", "diffusion_pytorch_model")


def text_weights(models: Path) -> Weights:
    return weights.find(models / BASE / "text_encoder", "model")


def pass_weights(models: Path, number: int) -> Weights:
    return weights.find(models, PASSES[number].removesuffix(".safetensors"))


def vae(models: Path, dtype: torch.dtype) -> Vae:
    """The autoencoder, on the CPU. Raises `ModelMissing` for files that are absent, damaged or do not fit."""
    folder = models / BASE / "vae"
    network = _from_config(AutoencoderKLCogVideoX, folder)
    found = vae_weights(models)
    return Vae(weights.assign(network, found.read(dtype), found.files[0].name))


def denoiser(models: Path, number: int | None, dtype: torch.dtype) -> Denoiser:
    """The transformer of pass `number`, on the CPU; with None the base model's, adapted and not trained further.

    The base's own weights are only read where the pass's file does not hold everything.
    """
    folder = models / BASE / "transformer"
    network = _from_config(CogVideoXTransformer3DModel, folder, in_channels=sum(CHANNELS.values()))
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    checkpoint = None if number is None else pass_weights(models, number)
    state = weights.transformer_state(
        checkpoint, lambda: weights.find(folder, "diffusion_pytorch_model"), expected, dtype
    )
    source = checkpoint.files[0].name if checkpoint else f"{BASE}/transformer"
    return Denoiser(weights.assign(network, state, source))


def text_encoder(models: Path, dtype: torch.dtype) -> Any:
    """The encoder half of T5, on the CPU."""
    folder = models / BASE / "text_encoder"
    config = T5Config(**weights.read_json(folder / "config.json"))
    network = weights.on_meta(lambda: T5EncoderModel(config))
    found = text_weights(models)
    state = found.read(dtype)
    if "shared.weight" in state:
        # The published file leaves out the second name of the one table of words.
        state.setdefault("encoder.embed_tokens.weight", state["shared.weight"])
    return weights.assign(network, state, found.files[0].name)


def scheduler_config(models: Path) -> dict[str, Any]:
    """What the schedulers are made from."""
    return weights.read_json(models / BASE / "scheduler" / "scheduler_config.json")


def _from_config(kind: Any, folder: Path, **changed: Any) -> Any:
    config = weights.read_json(folder / "config.json") | changed
    for name in NOT_OF_DIFFUSERS:
        config.pop(name, None)
    return weights.on_meta(lambda: kind.from_config(config))
