"""Whole jobs on a simulated card, from loading to the last frame, at the true sizes of the published networks.

The transformer has 4 of its 42 blocks and the clip 21 frames. Blocks run one after the other, so nothing else
differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from live_memory import CARD, TRANSFORMER, Meter
from simulated_card import Grey, Model, Simulation, moved

from voidbridge_backend.engines.void.inputs import Footage
from voidbridge_backend.engines.void.model.memory import GIB, NOISE_PIXEL, NOISE_STEP, Plan, counted
from voidbridge_backend.engines.void.noise import warped_noise
from voidbridge_backend.engines.void.noise.warped_noise import Warper
from voidbridge_backend.engines.void.options import Options
from voidbridge_backend.engines.void.run import Job
from voidbridge_protocol.operations.remove import RemoveSettings

STEPS = 2
OPTIONS = Options(window=21, overlap=8, steps=STEPS)


QUICK = {("resident", 2, 1), ("streamed", 1, 1)}
OTHERS = {
    *(("swapped", 2, 1), ("streamed", 1, 2), ("streamed-tiled", 1, 2)),
    *(("swapped-tiled", 1, 1), ("swapped-tiled", 2, 1)),
}


@pytest.mark.parametrize(("plan", "passes", "detail"), sorted(QUICK | OTHERS))
def test_a_job_takes_the_memory_that_its_plan_counts(
    tiny: Path,
    said: Any,
    monkeypatch: pytest.MonkeyPatch,
    plan: Any,
    passes: int,
    detail: int,
    request: pytest.FixtureRequest,
) -> None:
    if (plan, passes, detail) in OTHERS and not request.config.getoption("--full"):
        pytest.skip("half a minute each: run with --full")
    monkeypatch.setitem(TRANSFORMER, "num_layers", 4)
    monkeypatch.setattr(warped_noise, "step", moved)
    model = Model(tiny, Plan(plan), OPTIONS)
    clip = Grey(13, detail)
    settings = RemoveSettings(engine="void", passes=passes, detail=0.5 if detail > 1 else 0.0)
    with Simulation() as meter:
        footage = Footage(clip, clip.frames, OPTIONS.window)
        frames = list(Job(model, footage, settings, said).frames(13))
        assert model.vae().network.device == (CARD if plan == "resident" else torch.device("cpu"))
        rest = meter.live
        model.placement.clear()
    assert [frame.shape for frame in frames] == [(384 * detail, 672 * detail, 3)] * 13
    expected = counted(Plan(plan), model.demand(passes, passes == 2, 6, 21, detail))
    assert meter.peak == pytest.approx(expected, rel=0.05)
    # One wait for each step and, for the second pass, for each of the 20 motions between 21 frames.
    steps = STEPS * passes + (STEPS // 2 if detail > 1 else 0)
    assert len(meter.waits) == steps + 20 * (passes - 1)
    if plan != "resident":
        assert rest < GIB / 20  # Nothing but small tables stays for the next job.


@pytest.mark.parametrize("kind", ["zoom", "random"])
def test_moving_noise_takes_no_more_than_the_plans_count(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its work depends on values. So it is counted on the host, for the most that a flow can ask of it."""
    monkeypatch.setattr("live_memory.CARD", torch.device("cpu"))
    flow = torch.randn((2, 24, 42), generator=torch.Generator().manual_seed(1)) * 2
    if kind == "zoom":
        flow = torch.stack([torch.arange(42.0).expand(24, 42), torch.zeros(24, 42)]) * 0.03
    with torch.inference_mode(), Meter() as meter:
        warper = Warper(6, 10, 1)
        pixels, before = len(warper.field.weight), meter.live
        meter.peak = before
        for _ in range(2):
            warper.advance(flow)
    assert before / pixels == pytest.approx(NOISE_PIXEL, abs=1)
    assert NOISE_STEP * 0.5 < meter.peak / pixels < NOISE_STEP * 1.05


def test_a_mix_of_devices_is_found() -> None:
    with Simulation(), pytest.raises(AssertionError, match="mixes"):
        torch.ones(3, device=CARD) + torch.ones(3)
