"""The denoising loop with toy answers, and the transformer's answer with and without guidance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model.denoiser import Conditions, Denoiser, Text, guided
from voidbridge_backend.engines.void.model.heartbeat import with_heartbeat
from voidbridge_backend.engines.void.passes import pipeline, sampling
from voidbridge_backend.engines.void.passes.pipeline import Method
from voidbridge_backend.engines.void.passes.timeline import windows
from voidbridge_backend.engines.void.tiny import SCHEDULER
from voidbridge_protocol.errors import BadSetting, EngineFailed, JobCancelled

METHODS = {
    "first": Method("ddim", steps=3, window=21),
    "second": Method("cogvideox-ddim", steps=3, guidance=6.0, window=21),
}


@pytest.fixture(scope="module")
def denoiser(tiny: Path) -> Denoiser:
    return networks.denoiser(tiny, 1, torch.float32)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text() -> Text:
    return Text(drawn(1, 226, 16, seed=1), drawn(1, 226, 16, seed=2))


def conditions(latents: int) -> Conditions:
    return Conditions(drawn(1, latents, 16, 4, 6, seed=3), drawn(1, latents, 16, 4, 6, seed=4))


def denoised(denoiser: Denoiser, latents: int, method: Method, seed: int = 9) -> Tensor:
    noise = sampling.noise(seed, latents, 4, 6)
    return pipeline.denoised(
        denoiser, SCHEDULER, conditions(latents), noise, text(), method, lambda *_: None
    )


def nothing(_done: int, _of: int) -> None:
    return None


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_same_seed_is_the_same_result(denoiser: Denoiser, method: Method) -> None:
    assert torch.equal(denoised(denoiser, 8, method), denoised(denoiser, 8, method))
    assert not torch.equal(denoised(denoiser, 8, method), denoised(denoiser, 8, method, seed=10))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_window_over_the_whole_clip_is_no_window(denoiser: Denoiser, method: Method) -> None:
    whole = denoised(denoiser, 6, method)
    assert torch.equal(whole, denoised(denoiser, 6, replace(method, window=2000)))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_guidance_of_one_is_no_guidance(denoiser: Denoiser, method: Method) -> None:
    latents, known = drawn(1, 6, 16, 4, 6), conditions(6).in_run(slice(0, 6))
    without = denoiser.velocity(latents, known, Text(text().prompt), 499, 1.0)
    # So close to 1 that the sum is asked for, and its result is the prompt's part alone.
    almost = denoiser.velocity(latents, known, text(), 499, 1.0 + 1e-12)
    assert (without - almost).abs().max() < 1e-5


def test_guidance_leads_away_from_the_negative_prompt() -> None:
    answer = torch.tensor([[1.0], [3.0]])
    assert guided(answer, 6.0).item() == 13
    assert guided(answer[1:], 6.0).item() == 3


def test_guidance_without_a_negative_prompt_is_an_error(denoiser: Denoiser) -> None:
    with pytest.raises(EngineFailed, match="negative prompt"):
        denoiser.velocity(drawn(1, 2, 16, 4, 6), drawn(1, 2, 32, 4, 6), Text(text().prompt), 1, 6.0)


@pytest.mark.parametrize(("height", "width"), [(386, 2), (2, 682)])
def test_a_picture_larger_than_the_model_has_positions_for_is_an_error(
    denoiser: Denoiser, height: int, width: int
) -> None:
    with pytest.raises(EngineFailed, match=f"{width * 8} x {height * 8} .* 5440 x 3072"):
        denoiser.positions(2, height, width)


@pytest.mark.parametrize("height", [2, 6])
def test_positions_begin_anew_in_every_window(denoiser: Denoiser, height: int) -> None:
    cosines, _ = denoiser.positions(6, height, 4)
    longer, _ = denoiser.positions(10, height, 4)
    assert torch.equal(cosines, longer[: len(cosines)])


def test_a_perfect_answer_ends_at_the_clean_latents() -> None:
    clean = drawn(1, 12, 16, 2, 2)
    scheduler = sampling.scheduler("ddim", SCHEDULER)
    steps = sampling.timesteps(scheduler, 5)

    def velocity(seen: Tensor, run: slice, timestep: int) -> Tensor:
        alpha = scheduler.alphas_cumprod[timestep]
        # v = sqrt(a) * noise - sqrt(1 - a) * clean, with the noise that `seen` holds besides `clean`.
        noise = (seen - alpha.sqrt() * clean[:, run]) / (1 - alpha).sqrt()
        out: Tensor = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean[:, run]
        return out

    begin = sampling.noise(0, 12, 2, 2)
    found = sampling.denoise(begin, velocity, scheduler, steps, windows(12, 21), on_step=nothing)
    assert (found - clean).abs().max() < 1e-5


def test_both_schedulers_take_the_same_steps() -> None:
    sample, answer = drawn(1, 2, 16, 2, 2), drawn(1, 2, 16, 2, 2, seed=5)
    for steps in (4, 30, 50):
        one, two = (sampling.scheduler(kind, SCHEDULER) for kind in ("ddim", "cogvideox-ddim"))
        assert sampling.timesteps(one, steps) == sampling.timesteps(two, steps)
        for timestep in sampling.timesteps(one, steps):
            ends = [s.step(answer, timestep, sample, return_dict=False)[0] for s in (one, two)]
            assert (ends[0] - ends[1]).abs().max() < 1e-5


def test_strength_leaves_out_the_first_steps_and_starts_from_the_plate() -> None:
    scheduler = sampling.scheduler("ddim", SCHEDULER)
    assert sampling.timesteps(scheduler, 10, 0.3) == sampling.timesteps(scheduler, 10)[7:]
    plate, noise = drawn(1, 2, 16, 2, 2), drawn(1, 2, 16, 2, 2, seed=1)
    assert torch.equal(sampling.begun(scheduler, noise, plate, 999, 1.0), noise)
    late = sampling.begun(scheduler, noise, plate, 9, 0.01)
    assert (late - plate).abs().mean() < 0.2


@pytest.mark.parametrize(("steps", "strength"), [(0, 1.0), (1001, 1.0), (10, 0.0), (10, 1.5)])
def test_steps_and_strength_that_cannot_be_are_refused(steps: int, strength: float) -> None:
    with pytest.raises(BadSetting):
        sampling.timesteps(sampling.scheduler("ddim", SCHEDULER), steps, strength)


def test_an_answer_that_is_not_finite_ends_the_job_and_names_the_step() -> None:
    scheduler = sampling.scheduler("ddim", SCHEDULER)
    steps = sampling.timesteps(scheduler, 4)

    def broken(seen: Tensor, _run: slice, timestep: int) -> Tensor:
        return seen * (float("nan") if timestep == steps[2] else 0)

    with pytest.raises(EngineFailed, match="step 3 of 4"):
        sampling.denoise(
            drawn(1, 2, 16, 2, 2), broken, scheduler, steps, windows(2, 21), on_step=nothing
        )


def stops_after(count: int) -> Callable[..., None]:
    left = iter(range(count))

    def called(*_: int) -> None:
        if next(left, None) is None:
            raise JobCancelled("stopped")

    return called


def test_raising_between_steps_stops_the_work() -> None:
    scheduler = sampling.scheduler("ddim", SCHEDULER)
    steps = sampling.timesteps(scheduler, 4)
    asked: list[int] = []

    def velocity(seen: Tensor, _run: slice, timestep: int) -> Tensor:
        asked.append(timestep)
        return seen

    with pytest.raises(JobCancelled):
        sampling.denoise(
            drawn(1, 2, 16, 2, 2),
            velocity,
            scheduler,
            steps,
            windows(2, 21),
            on_step=stops_after(2),
        )
    assert asked == steps[:2]


def test_a_step_can_be_stopped_between_the_blocks_of_the_network(denoiser: Denoiser) -> None:
    latents, known = drawn(1, 2, 16, 4, 6), drawn(1, 2, 32, 4, 6)
    with pytest.raises(JobCancelled), with_heartbeat(denoiser.parts(), stops_after(1)):
        denoiser.velocity(latents, known, text(), 1, 1.0)
    assert denoiser.velocity(latents, known, text(), 1, 1.0).shape == latents.shape
