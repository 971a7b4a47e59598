"""From noise to latents: the steps, the windows of each step, and how these are blended.

Tensors are [1, frames, channels, height, width] in latents, float32, all on one device, whichever it is. The host
waits for it once in each window's step, to see that the answer is finite: so what is told of the progress is
true, and a cancelled job ends within a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from diffusers import CogVideoXDDIMScheduler, DDIMScheduler
from torch import Tensor

from voidbridge_protocol.errors import BadSetting, EngineFailed

from .timeline import Windows

Kind = Literal["ddim", "cogvideox-ddim"]
Scheduler = Any
"""One of the two classes below; diffusers has no types."""

CLASSES: Mapping[Kind, Any] = {"ddim": DDIMScheduler, "cogvideox-ddim": CogVideoXDDIMScheduler}

Predict = Callable[[Tensor, slice, int], Tensor]
"""(latents of a run, the run, timestep) -> velocity of the same shape."""

OF_DDIM = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "clip_sample",
    "clip_sample_range",
    "set_alpha_to_one",
    "steps_offset",
    "prediction_type",
    "sample_max_value",
    "timestep_spacing",
    "rescale_betas_zero_snr",
)
"""The entries of a scheduler's configuration that both kinds know."""


def scheduler(kind: Kind, config: Mapping[str, Any]) -> Scheduler:
    """The scheduler of the first pass ("ddim") or of the second ("cogvideox-ddim"), from the model's own file.

    The two hold their table in float32 and float64; with an SNR shift of 1 it is the same table.
    """
    known = {name: config[name] for name in OF_DDIM if name in config}
    if kind == "cogvideox-ddim":
        known["snr_shift_scale"] = config.get("snr_shift_scale", 1.0)
    return CLASSES[kind](**known)


def timesteps(scheduler: Scheduler, steps: int, strength: float = 1.0) -> list[int]:
    """Set `scheduler` to `steps` and say which of its timesteps are gone through: the last `strength` of them.

    Raises `BadSetting` for a number of steps or a strength that leaves nothing to do.
    """
    trained = int(scheduler.config.num_train_timesteps)
    if not 1 <= steps <= trained:
        raise BadSetting(f"{steps} steps; the model can do 1 to {trained}")
    if not 0 < strength <= 1:
        raise BadSetting(f"a strength of {strength:g} is not in ]0, 1]")
    scheduler.set_timesteps(steps)
    kept = max(int(steps * strength), 1)
    return [int(step) for step in scheduler.timesteps[steps - kept :]]


def noise(seed: int, latents: int, height: int, width: int) -> Tensor:
    """White noise [1, latents, 16, height, width]; drawn on the CPU, so that a seed means the same everywhere."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn((1, latents, 16, height, width), generator=generator)


def begun(
    scheduler: Scheduler, noise: Tensor, plate: Tensor, first: int, strength: float
) -> Tensor:
    """Where denoising starts: the noise, or for a strength below 1 the plate's latents with noise on them."""
    if strength == 1:
        return noise * float(scheduler.init_noise_sigma)
    noisy: Tensor = scheduler.add_noise(plate, noise, torch.tensor([first]))
    return noisy


def denoise(
    latents: Tensor,
    predict: Predict,
    scheduler: Scheduler,
    steps: list[int],
    windows: Windows,
    *,
    on_step: Callable[[int, int], None],
) -> Tensor:
    """Take `latents` through all `steps`, each window a full step at a time, blended after every step.

    `on_step` is called with (done, of) before each window's step; whatever it raises stops the work.
    Raises `EngineFailed` naming the step at which the network answered with something not finite.
    """
    of = len(steps) * len(windows.runs)
    done = 0
    total = latents.new_zeros(latents.shape[1], 1, 1, 1)
    weights = [windows.weights(run).to(latents.device)[:, None, None, None] for run in windows.runs]
    for run, weight in zip(windows.runs, weights, strict=True):
        total[run] += weight
    for number, timestep in enumerate(steps):
        canvas = torch.zeros_like(latents)
        for run, weight in zip(windows.runs, weights, strict=True):
            on_step(done, of)
            velocity = predict(latents[:, run], run, timestep)
            stepped = scheduler.step(velocity, timestep, latents[:, run], return_dict=False)[0]
            if not torch.isfinite(stepped).all():
                raise EngineFailed(
                    f"the model's answer at step {number + 1} of {len(steps)} is not finite"
                )
            canvas[:, run] += stepped.to(canvas.dtype) * weight
            done += 1
        latents = canvas / total
    on_step(of, of)
    return latents
