"""Checks with known answers that this machine computes correctly, before a job's pixels depend on it.

A wrong build of torch, a driver or a kernel can give numbers that are finite, plausible and wrong. Three things
are tested. The two most frequent operations are compared with float64 on the CPU. They run in the type, on the
device and with the kernels of a job, and on a card also at its sizes. The steps of both schedulers are compared
with their formula. A tiny model from noise to picture, on the CPU in float32, is compared with stored numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from torch import Tensor

from voidbridge_backend.engines.device import out_of_memory
from voidbridge_protocol.errors import EngineFailed, OutOfMemory

from . import tiny
from .files import weights
from .files.weights import CHANNELS
from .model.attention import attend
from .model.denoiser import Conditions, Denoiser, Text
from .model.fp8 import EightBitLinear
from .model.kernels import Attention, Layout, Linears
from .model.vae import Vae
from .passes import pipeline, sampling

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


PERIOD = 1_000_003
"""After so many numbers the waves of large tensors repeat. A prime, so that rows and planes differ."""
SAMPLES = 64
"""Positions of a result that are compared, spread from its first to its last."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the operations: of attention, of a convolution's input with its channels, of a matrix product."""

    tokens: int
    heads: int
    channels: int
    picture: tuple[int, int, int]
    product: tuple[int, int]


SMALL = Sizes(300, 2, 32, (4, 24, 24), (256, 64))
TRUE = Sizes(11_314, 48, 128, (10, 384, 672), (3072, 12_288))
"""Those of one window and of the decoder's last layers. Some faults show only in large results."""


def check(
    device: str,
    dtype: torch.dtype,
    linears: Linears = "full",
    attention: Attention = "torch",
    layout: Layout = "contiguous",
    sizes: Sizes | None = None,
) -> None:
    """Raises `EngineFailed` with the first wrong result. Takes about a second on a CPU.

    It tests the kernels of `attention` and `layout` that jobs use, on a card at the model's own sizes. Raises
    `OutOfMemory` if the device lacks about 2 GB for that.
    """
    sizes = sizes or (TRUE if torch.device(device).type == "cuda" else SMALL)
    try:
        _check_device(device, dtype, linears, attention, layout, sizes)
    except RuntimeError as error:
        found = out_of_memory(error)
        if found is None:
            raise
        raise OutOfMemory(f"the self-test needs about 2 GB of {device}: {found}") from error
    finally:
        torch.cuda.empty_cache()
    for kind in sampling.CLASSES:
        _hold(f"the step of the scheduler {kind}", *_steps(kind), STEP_TOLERANCE)
    for name, answer in known_answers().items():
        _hold(
            f"the tiny model's {name}",
            measures(answer),
            torch.tensor(ANSWERS[name]),
            ANSWER_TOLERANCE,
        )


def _check_device(
    device: str,
    dtype: torch.dtype,
    linears: Linears,
    attention: Attention,
    layout: Layout,
    sizes: Sizes,
) -> None:
    if linears == "fp8":
        _hold(f"the product in 8 bits on {device}", *_product(device, sizes), EIGHT_BIT_TOLERANCE)
    for name, (found, expected) in {
        "the convolution": _convolution(device, dtype, layout, sizes),
        "attention": _attention(device, dtype, attention, sizes),
    }.items():
        _hold(
            f"{name} in {str(dtype).removeprefix('torch.')} on {device}",
            found,
            expected,
            TOLERANCE[dtype],
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


@torch.inference_mode()
def _convolution(
    device: str, dtype: torch.dtype, layout: Layout, sizes: Sizes
) -> tuple[Tensor, Tensor]:
    channels, (frames, height, width) = sizes.channels, sizes.picture
    seen = _long_wave(1, channels, frames, height, width, device=device, dtype=dtype)
    kernel = _wave(channels, channels, 3, 3, 3, phase=1).to(dtype) / channels
    weight = kernel.to(device)
    if layout == "channels-last":
        weight = weight.to(memory_format=torch.channels_last_3d)
    found = F.conv3d(seen, weight, padding=(0, 1, 1))[0].flatten(1)
    # The same as one matrix product: all taps of each position in a row.
    places, padded = _spread(found.shape[1]), F.pad(seen[0], (1, 1, 1, 1))
    taps = []
    for place in places.tolist():
        time, rest = divmod(place, height * width)
        row, column = divmod(rest, width)
        taps.append(padded[:, time : time + 3, row : row + 3, column : column + 3].flatten())
    expected = torch.stack(taps).cpu().double() @ kernel.flatten(1).double().t()
    return found[:, places.to(device)].t(), expected


@torch.inference_mode()
def _attention(
    device: str, dtype: torch.dtype, choice: Attention, sizes: Sizes
) -> tuple[Tensor, Tensor]:
    shape = (1, sizes.heads, sizes.tokens, 64)
    query, key, value = (
        _long_wave(*shape, phase=phase, device=device, dtype=dtype) for phase in range(3)
    )
    places = _spread(sizes.tokens)
    found = attend(query, key, value, choice)[0, places.to(device)]
    seen = query[0, :, places.to(device)].cpu().double()
    scores = seen @ key[0].cpu().double().transpose(-1, -2) / 8
    expected = scores.softmax(-1) @ value[0].cpu().double()
    return found, expected.transpose(0, 1).flatten(1)


@torch.inference_mode()
def _product(device: str, sizes: Sizes) -> tuple[Tensor, Tensor]:
    inner, outer = sizes.product
    linear = torch.nn.Linear(inner, outer, bias=False, device="meta")
    weight = _long_wave(outer, inner, phase=1, device=device, dtype=torch.bfloat16)
    linear.weight = torch.nn.Parameter(weight, False)
    seen = _long_wave(sizes.tokens, inner, device=device, dtype=torch.bfloat16)
    places = _spread(sizes.tokens).to(device)
    found = EightBitLinear(linear, torch.device(device)).to(device)(seen)[places]
    return found, seen[places].cpu().double() @ weight.cpu().double().t()


def _spread(count: int) -> Tensor:
    """Returns up to `SAMPLES` positions from 0 to `count` - 1, with both ends."""
    return torch.linspace(0, count - 1, min(count, SAMPLES), dtype=torch.float64).long()


def _long_wave(*shape: int, phase: float = 0, device: str, dtype: torch.dtype) -> Tensor:
    """Returns `_wave` on `device`, repeated after `PERIOD` numbers."""
    count = math.prod(shape)
    wave = _wave(min(count, PERIOD), phase=phase).to(device, dtype)
    return wave.repeat(-(-count // PERIOD))[:count].view(shape)


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
