"""Builds the model's networks from the files of a models folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from transformers import T5Config, T5EncoderModel

from voidbridge_backend.engines.void.model import adapters
from voidbridge_backend.engines.void.model.denoiser import Denoiser
from voidbridge_backend.engines.void.model.vae import Vae
from voidbridge_protocol.errors import ModelMissing

from . import weights
from .weights import BASE, CHANNELS, PASSES, Weights

NOT_OF_DIFFUSERS = ("add_noise_in_inpaint_model",)
"""Entries of the published configuration that only the published code uses."""


WORDS, WORDS_AGAIN = "shared.weight", "encoder.embed_tokens.weight"
"""The two names of T5's one word table; published files omit the second."""


def vae_weights(models: Path) -> Weights:
    """Returns the autoencoder's file. Raises `ModelMissing`, as `weights.located`."""
    return weights.located(models, "vae")


def text_weights(models: Path) -> Weights:
    """Returns the text encoder's file or shards. Raises `ModelMissing`, as `weights.located`."""
    return weights.located(models, "text_encoder")


def pass_weights(models: Path, number: int) -> Weights:
    """Returns the file of pass `number`. Raises `ModelMissing`, as `weights.located`."""
    return weights.located(models, PASSES[number])


def vae(models: Path, dtype: torch.dtype) -> Vae:
    """Returns the autoencoder, on the CPU. Raises `ModelMissing` if files are absent, damaged or do not fit."""
    folder = models / BASE / "vae"
    network = _from_config(AutoencoderKLCogVideoX, folder)
    found = vae_weights(models)
    return Vae(weights.assign(network, found.read(dtype), found.files[0].name))


def denoiser(models: Path, number: int | None, dtype: torch.dtype) -> Denoiser:
    """Returns the transformer of pass `number`, on the CPU; with None, the adapted base model without further
    training.

    The base's own weights are read only if the pass's file is incomplete.
    """
    folder = models / BASE / "transformer"
    network = _from_config(CogVideoXTransformer3DModel, folder, in_channels=sum(CHANNELS.values()))
    checkpoint = None if number is None else pass_weights(models, number)
    state = weights.transformer_state(
        checkpoint, lambda: weights.find(folder, "diffusion_pytorch_model"), _shapes(network), dtype
    )
    source = checkpoint.files[0].name if checkpoint else f"{BASE}/transformer"
    return Denoiser(weights.assign(network, state, source))


def text_encoder(models: Path, dtype: torch.dtype) -> Any:
    """Returns the encoder half of T5, on the CPU."""
    network = _text_encoder(models / BASE / "text_encoder")
    found = text_weights(models)
    state = found.read(dtype)
    if WORDS in state:
        state.setdefault(WORDS_AGAIN, state[WORDS])
    return weights.assign(network, state, found.files[0].name)


def shapes(base: Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """Returns the tensors required of the base model and of a pass, by the configurations in the folder `base`.

    "transformer" is VOID's, with 48 input channels. It reads and allocates no weights.
    """
    wide = {"in_channels": sum(CHANNELS.values())}
    made = {
        "transformer": _from_config(CogVideoXTransformer3DModel, base / "transformer", **wide),
        "vae": _from_config(AutoencoderKLCogVideoX, base / "vae"),
        "text_encoder": _text_encoder(base / "text_encoder"),
    }
    found = {part: _shapes(network) for part, network in made.items()}
    found["text_encoder"].pop(WORDS_AGAIN)
    return found


def problems(models: Path, passes: int = 2) -> list[str]:
    """Lists all problems of a models folder, from file headers; empty if `passes` passes can run.

    Names files that are missing or damaged, and tensors of a wrong shape or type.
    """
    lacking = weights.missing(models, passes)
    if lacking:
        return [f"{name} is missing" for name in lacking]
    expected = shapes(models / BASE)
    files = {f"{BASE}/vae": (vae_weights(models), expected["vae"])}
    files[f"{BASE}/text_encoder"] = (text_weights(models), expected["text_encoder"])
    for number in range(1, passes + 1):
        files[PASSES[number]] = (pass_weights(models, number), expected["transformer"])
    found_problems = []
    for name, (found, wanted) in files.items():
        try:
            found_problems += [
                f"{name}: {wrong}" for wrong in weights.differences(found.shapes(), wanted)
            ]
        except ModelMissing as error:
            found_problems.append(f"{name}: {error}")
    return found_problems


def transformer_layers(models: Path) -> dict[str, tuple[int, int]]:
    """Returns [outputs, inputs] of the linear layers of the transformer, by the configuration alone."""
    wide = {"in_channels": sum(CHANNELS.values())}
    return adapters.layers(
        _from_config(CogVideoXTransformer3DModel, models / BASE / "transformer", **wide)
    )


def compressed(models: Path, passes: int) -> list[str]:
    """Returns the names of the weights for `passes` passes that are stored in 8 bits or fewer."""
    found = [text_weights(models), vae_weights(models)]
    found += [pass_weights(models, number) for number in range(1, passes + 1)]
    return [part.files[0].name for part in found if part.is_compressed()]


def copied(models: Path, passes: int, dtype: torch.dtype) -> int:
    """Returns the bytes of the networks of `passes` passes that are copied and not mapped, in `dtype`."""
    found = [vae_weights(models), *(pass_weights(models, n) for n in range(1, passes + 1))]
    return sum(part.copied(dtype) for part in found)


def scheduler_config(models: Path) -> dict[str, Any]:
    """Returns the configuration of the schedulers."""
    return weights.read_json(models / BASE / "scheduler" / "scheduler_config.json")


def fingerprints(models: Path) -> dict[str, str]:
    """Returns a fingerprint of each network's weights in a models folder, for the passes that it has."""
    found = {"vae": vae_weights(models), "text encoder": text_weights(models)}
    for number in PASSES:
        with suppress(ModelMissing):
            found[f"pass {number}"] = pass_weights(models, number)
    return {name: files.fingerprint() for name, files in found.items()}


def _text_encoder(folder: Path) -> Any:
    config = T5Config(**weights.read_json(folder / "config.json"))
    return weights.on_meta(lambda: T5EncoderModel(config))


def _shapes(network: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _from_config(kind: Any, folder: Path, **changed: Any) -> Any:
    config = weights.read_json(folder / "config.json") | changed
    for name in NOT_OF_DIFFUSERS:
        config.pop(name, None)
    return weights.on_meta(lambda: kind.from_config(config))
