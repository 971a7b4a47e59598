"""The tiny model on a CUDA device: every plan, held against the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.model.memory import PLANS, Plan
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.operations.remove import RemoveSettings

pytestmark = pytest.mark.gpu

SMALL = Options(height=32, width=48, window=21, steps=2, fineness=2, precision="float32")


class Quiet:
    def step(self, stage: str, done: int, of: int) -> None:
        return None

    def warn(self, text: str) -> None:
        assert "could not be compiled" not in text


def removed(models: Path, device: str, options: Options, clip: Any, passes: int) -> dict[int, Any]:
    settings = RemoveSettings(engine="void", prompt="a table", passes=passes)
    return dict(Void(models, device, options).remove(clip, settings, Quiet()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    "plan", [plan for plan in PLANS if not plan.tiles], ids=lambda plan: plan.name
)
def test_a_device_computes_what_the_cpu_computes(tiny: Path, small_clip: type, plan: Plan) -> None:
    clip = small_clip(26)
    expected = removed(tiny, "cpu", SMALL, clip, 1)
    found = removed(tiny, "cuda:0", replace(SMALL, plan=plan.name), clip, 1)
    assert all(np.abs(found[frame] - expected[frame]).max() < 5e-3 for frame in expected)


@pytest.mark.filterwarnings("default::DeprecationWarning")  # torch's compiler is made of some.
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    "way",
    [
        {"attention": "cudnn"},
        {"attention": "flash-3"},
        {"compile": "on"},
        {"vae_compile": "on"},
        {"vae_layout": "channels-last"},
        {"vae_compile": "on", "vae_layout": "channels-last"},
    ],
    ids=str,
)
def test_every_lossless_way_computes_the_same(
    tiny: Path, small_clip: type, way: dict[str, Any]
) -> None:
    clip, plain = small_clip(26), replace(SMALL, precision="bfloat16", compile="off")
    expected = removed(tiny, "cuda:0", plain, clip, 1)
    found = removed(tiny, "cuda:0", replace(plain, **way), clip, 1)
    error = np.mean([np.square(found[frame] - expected[frame]).mean() for frame in expected])
    assert error < 1e-4  # 40 dB


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("quality", ["full", "preview"])
def test_products_in_8_bits_and_previews_come_to_an_end(
    tiny: Path, small_clip: type, quality: str
) -> None:
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("8 bits need compute capability 8.9")
    options = replace(SMALL, precision="bfloat16", linears="fp8")
    settings = RemoveSettings(engine="void", quality=quality)
    found = dict(Void(tiny, "cuda:0", options).remove(small_clip(26), settings, Quiet()))
    assert all(np.isfinite(found[frame]).all() for frame in found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_gives_the_same_bits_again_with_both_passes(tiny: Path, small_clip: type) -> None:
    clip = small_clip(26)
    once, again = (removed(tiny, "cuda:0", SMALL, clip, 2) for _ in range(2))
    assert all(np.array_equal(once[frame], again[frame]) for frame in once)
