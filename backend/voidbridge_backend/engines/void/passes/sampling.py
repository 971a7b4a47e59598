"""The denoising loop: the steps, the windows of each step, and their blending.

Tensors are [1, frames, channels, height, width] in latents, float32, all on one device. The host waits for the
device once per window and step, to check that the output is finite. Reported progress is therefore real, and a
cancelled job ends within a step.
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
"""The entries of a scheduler's configuration that both kinds share."""


def scheduler(kind: Kind, config: Mapping[str, Any]) -> Scheduler:
    """Returns the scheduler of the first pass ("ddim") or the second ("cogvideox-ddim"), from the model's own
    file.

    The two hold their table in float32 and float64; with an SNR shift of 1 it is the same table.
    """
    known = {name: config[name] for name in OF_DDIM if name in config}
    if kind == "cogvideox-ddim":
        known["snr_shift_scale"] = config.get("snr_shift_scale", 1.0)
    return CLASSES[kind](**known)


def timesteps(scheduler: Scheduler, steps: int, strength: float = 1.0) -> list[int]:
    """Sets `scheduler` to `steps` and returns the timesteps to run: the last `strength` of them.

    Raises `BadSetting` if the number of steps or the strength leaves no work.
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
    """Returns white noise [1, latents, 16, height, width]; drawn on the CPU, so a seed gives the same on every
    device.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn((1, latents, 16, height, width), generator=generator)


def begun(
    scheduler: Scheduler, noise: Tensor, plate: Tensor, first: int, strength: float
) -> Tensor:
    """Returns the start of denoising: the noise, or for a strength below 1 the plate's latents with added noise."""
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
    prepare: Callable[[Tensor, int], None] | None = None,
) -> Tensor:
    """Takes `latents` through all `steps`, each window a full step at a time, blended after every step.

    `on_step` is called with (done, of) before each window's step; its exceptions stop the work. `prepare` is called
    with (latents, timestep) before each step of all windows. Raises
    `EngineFailed` with the step at which the network returned non-finite values.
    """
    of = len(steps) * len(windows.runs)
    done = 0
    total = latents.new_zeros(latents.shape[1], 1, 1, 1)
    weights = [windows.weights(run).to(latents.device)[:, None, None, None] for run in windows.runs]
    for run, weight in zip(windows.runs, weights, strict=True):
        total[run] += weight
    for number, timestep in enumerate(steps):
        if prepare:
            prepare(latents, timestep)
        canvas = torch.zeros_like(latents)
        for run, weight in zip(windows.runs, weights, strict=True):
            on_step(done, of)
            velocity = predict(latents[:, run], run, timestep)
            stepped = scheduler.step(velocity, timestep, latents[:, run], return_dict=False)[0]
            if not torch.isfinite(stepped).all():
                raise EngineFailed(
                    f"the model's output at step {number + 1} of {len(steps)} is not finite"
                )
            canvas[:, run] += stepped.to(canvas.dtype) * weight
            done += 1
        latents = canvas / total
    on_step(of, of)
    return latents
