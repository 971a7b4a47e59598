"""Checks with known answers that this machine computes correctly, before a job's pixels depend on it.

A wrong build of torch, a driver or a kernel can give numbers that are finite, plausible and wrong. Three things
are tested. The two most frequent operations, in the type and on the device of the job, are compared with
float64 on the CPU. The steps of both schedulers are compared with their formula. A tiny model from noise to
picture, on the CPU in float32, is compared with stored numbers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from torch import Tensor

from voidbridge_protocol.errors import EngineFailed

from . import pipeline, sampling, tiny, weights
from .denoiser import Conditions, Denoiser, Text
from .fp8 import EightBitLinear
from .kernels import Linears
from .vae import Vae
from .weights import CHANNELS

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 1e-2}
"""Of an operation, relative to its norm. Cards multiply float32 with 10 bits where cuDNN may (TF32)."""

EIGHT_BIT_TOLERANCE = 6e-2
"""Of one product, relative to its norm: 3 bits of fraction are half of that."""

STEP_TOLERANCE = 1e-5
ANSWER_TOLERANCE = 1e-3
"""Of the tiny model, relative to the mean size of its numbers. Rounding is far below: float32 has 7 digits."""

ANSWERS = {
    "latents": (0.0174179, 0.979937, -0.2760913),
    "picture": (0.300333, 1.1104647, 0.0052152),
}
"""`measures` of the tiny model's output for `_wave`s, computed by this code with torch 2.13 on a CPU."""


def check(device: str, dtype: torch.dtype, linears: Linears = "full") -> None:
    """Raises `EngineFailed` with the first wrong result. Takes about a second on a CPU."""
    if linears == "fp8":
        _hold(f"the product in 8 bits on {device}", *_product(device), EIGHT_BIT_TOLERANCE)
    for name, (found, expected) in {
        "the convolution": _convolution(device, dtype),
        "attention": _attention(device, dtype),
    }.items():
        _hold(
            f"{name} in {str(dtype).removeprefix('torch.')} on {device}",
            found,
            expected,
            TOLERANCE[dtype],
        )
    for kind in sampling.CLASSES:
        _hold(f"the step of the scheduler {kind}", *_steps(kind), STEP_TOLERANCE)
    for name, found in known_answers().items():
        _hold(
            f"the tiny model's {name}",
            measures(found),
            torch.tensor(ANSWERS[name]),
            ANSWER_TOLERANCE,
        )


def known_answers() -> dict[str, Tensor]:
    """Returns a tiny model's output for waves, with waves as weights: denoised latents and their picture."""
    denoiser, vae = _tiny_networks()
    plate, mask = _wave(1, 6, 16, 2, 4), _wave(1, 6, 16, 2, 4, phase=1)
    text = Text(_wave(1, 226, tiny.TRANSFORMER["text_embed_dim"], phase=2))
    method = pipeline.Method("ddim", steps=2, window=21)
    latents = pipeline.denoised(
        denoiser,
        tiny.SCHEDULER,
        Conditions(mask, plate),
        _wave(1, 6, 16, 2, 4, phase=3) * math.sqrt(2),
        text,
        method,
        lambda done, of: None,
    )
    frames = pipeline.decoded(vae, latents, 9, None, lambda done, of: None)
    return {"latents": latents, "picture": torch.cat(list(frames), dim=2)}


def _convolution(device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    seen, kernel = _wave(1, 32, 4, 24, 24), _wave(32, 32, 3, 3, 3, phase=1) / 27
    seen, kernel = seen.to(dtype), kernel.to(dtype)
    found = F.conv3d(seen.to(device), kernel.to(device), padding=(0, 1, 1))
    # The same as one matrix product: all taps of each position in a row.
    padded = F.pad(seen.double(), (1, 1, 1, 1))
    taps = padded.unfold(2, 3, 1).unfold(3, 3, 1).unfold(4, 3, 1)
    return found, torch.einsum("bcthwijk,ocijk->bothw", taps, kernel.double())


def _attention(device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    query, key, value = (_wave(1, 2, 300, 64, phase=phase).to(dtype) for phase in range(3))
    found = F.scaled_dot_product_attention(query.to(device), key.to(device), value.to(device))
    scores = query.double() @ key.double().transpose(-1, -2) / 8
    return found, scores.softmax(-1) @ value.double()


def _product(device: str) -> tuple[Tensor, Tensor]:
    seen, linear = _wave(300, 256).to(torch.bfloat16), torch.nn.Linear(256, 64, bias=False)
    linear.weight = torch.nn.Parameter(_wave(64, 256, phase=1).to(torch.bfloat16), False)
    found = EightBitLinear(linear, torch.device(device)).to(device)(seen.to(device))
    return found, seen.double() @ linear.weight.double().t()


def _steps(kind: sampling.Kind) -> tuple[Tensor, Tensor]:
    """Returns three steps with made-up velocities, by diffusers and by the formula of DDIM (arXiv 2010.02502,
    eq. 12).
    """
    scheduler = sampling.scheduler(kind, tiny.SCHEDULER)
    steps = sampling.timesteps(scheduler, 4)
    signals = scheduler.alphas_cumprod.double()
    found = expected = _wave(1, 2, 16, 4, 4)
    for timestep in steps[:3]:
        velocity = _wave(1, 2, 16, 4, 4, phase=timestep)
        found = scheduler.step(velocity, timestep, found, return_dict=False)[0]
        now, then = signals[timestep], signals[timestep - 250]
        clean = now.sqrt() * expected - (1 - now).sqrt() * velocity
        noise = now.sqrt() * velocity + (1 - now).sqrt() * expected
        expected = then.sqrt() * clean + (1 - then).sqrt() * noise
    return found, expected


def _tiny_networks() -> tuple[Denoiser, Vae]:
    wide = tiny.TRANSFORMER | {"in_channels": sum(CHANNELS.values())}
    transformer: Any = CogVideoXTransformer3DModel
    autoencoder: Any = AutoencoderKLCogVideoX
    made = [
        weights.on_meta(lambda: transformer.from_config(wide)),
        weights.on_meta(lambda: autoencoder.from_config(tiny.VAE)),
    ]
    denoiser, vae = (weights.assign(network, _waves(network), "the self-test") for network in made)
    return Denoiser(denoiser), Vae(vae)


def _waves(network: Any) -> dict[str, Tensor]:
    """Returns weights for `network` that keep numbers about the size of their inputs."""
    state = {}
    for phase, (name, tensor) in enumerate(network.state_dict().items()):
        wave = _wave(*tensor.shape, phase=phase)
        if tensor.ndim > 1:
            state[name] = wave * math.sqrt(2 / tensor[0].numel())
        else:
            state[name] = wave / 10 + (1.0 if name.endswith("weight") else 0.0)
    return state


def _wave(*shape: int, phase: float = 0) -> Tensor:
    """Returns aperiodic numbers between -1 and 1, float32, without a generator, so they are the same everywhere."""
    count = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(count * count * 0.618 + count + phase).to(torch.float32).reshape(shape)


def measures(found: Tensor) -> Tensor:
    """Returns three float64 numbers that depend on the size and the order of the values."""
    wide = found.double()
    return torch.stack([wide.mean(), wide.abs().mean(), (wide * _wave(*wide.shape)).mean()])


def _hold(name: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    found = found.detach().cpu().double()
    off = float((found - expected.double()).norm() / expected.double().norm())
    if not off <= tolerance:  # also true for NaN
        raise EngineFailed(
            f"the self-test failed: {name} is off by {off:.1e}, {tolerance:.0e} at most",
            "This build of torch or this driver computes wrong results here: install another, or use "
            "another device. `voidbridge doctor` shows the versions.",
        )
