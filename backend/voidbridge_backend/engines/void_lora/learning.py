"""The loss of one pair: the weighted error of the predicted velocity.

Every draw depends on the seed and the number of the step alone, so an interrupted training continues to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Any

import torch
from torch import Tensor

from voidbridge_backend.engines.void.model.denoiser import Denoiser
from voidbridge_backend.engines.void.noise.seeds import seeded
from voidbridge_backend.engines.void.noise.warped_noise import blend
from voidbridge_protocol.operations.train import TrainSettings

from .pairs import TrainingPair

VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Places in the noise schedule at which held-out pairs are measured."""


@dataclass(frozen=True)
class Draw:
    """The random part of one evaluation."""

    timestep: int
    noise: Tensor
    with_text: bool = True


def draw(pair: TrainingPair, settings: TrainSettings, number: int, timesteps: int) -> Draw:
    """Returns the draw of evaluation `number`. Timesteps are uniform."""
    random = seeded(settings.seed, "evaluation", number)
    timestep = int(torch.randint(timesteps, (1,), generator=random))
    with_text = float(torch.rand(1, generator=random)) >= settings.caption_dropout
    return Draw(timestep, _noise(pair, settings, random), with_text)


def held_draws(
    pair: TrainingPair, settings: TrainSettings, index: int, timesteps: int
) -> list[Draw]:
    """Returns the draws at which the held-out pair `index` is measured, the same each time."""
    random = seeded(settings.seed, "held", index)
    return [
        Draw(int(place * timesteps), _noise(pair, settings, random)) for place in VALIDATION_TIMES
    ]


def order(pairs: int, settings: TrainSettings, epoch: int) -> list[int]:
    """Returns the order of the pairs in an epoch: each once."""
    return torch.randperm(pairs, generator=seeded(settings.seed, "order", epoch)).tolist()


def rate(settings: TrainSettings, step: int) -> float:
    """Returns the learning rate of a step, from 0: it rises linearly, and falls along a half cosine to 0."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    rest = max(settings.steps - settings.warmup, 1)
    return settings.learning_rate * (1 + cos(pi * (step - settings.warmup) / rest)) / 2


def loss(
    denoiser: Denoiser, scheduler: Any, pair: TrainingPair, drawn: Draw, hole_weight: float
) -> Tensor:
    """Returns the mean squared error of the velocity, weighted by 1 + `hole_weight` in the hole: [], float32."""
    network = denoiser.network
    device, dtype = network.device, network.dtype
    target, noise = pair.target[None].to(device), drawn.noise[None].to(device)
    timestep = torch.tensor([drawn.timestep], device=device)
    noisy = scheduler.add_noise(target, noise, timestep)
    seen = torch.cat([noisy, pair.mask[None].to(device), pair.plate[None].to(device)], dim=2)
    text = pair.text if drawn.with_text else pair.no_text
    answer = network(
        hidden_states=seen.to(dtype),
        encoder_hidden_states=text[None].to(device, dtype),
        timestep=timestep,
        image_rotary_emb=denoiser.positions(target.shape[1], target.shape[3], target.shape[4]),
        return_dict=False,
    )[0]
    velocity = scheduler.get_velocity(target, noise, timestep)
    weight = 1 + hole_weight * pair.hole[None].to(device)
    error = (answer.float() - velocity.float()) ** 2 * weight
    mean: Tensor = error.sum() / weight.expand_as(error).sum()
    return mean


def _noise(pair: TrainingPair, settings: TrainSettings, random: torch.Generator) -> Tensor:
    """Returns white noise; for pass 2 noise that moves with the picture, with a random share of new noise."""
    white = torch.randn(pair.target.shape, generator=random)
    if settings.pass_number == 1:
        return white
    chosen = int(torch.randint(len(pair.moving_noise), (1,), generator=random))
    share = float(torch.rand(1, generator=random))
    return blend(pair.moving_noise[chosen], white, share)
