"""An engine is not ready on a machine that computes wrongly."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import CogVideoXDDIMScheduler, DDIMScheduler
from torch import Tensor

from voidbridge_backend.engines.void import make, selftest
from voidbridge_backend.engines.void.model import attention
from voidbridge_backend.engines.void.model.vae import Vae
from voidbridge_backend.engines.void.selftest import SMALL
from voidbridge_protocol.errors import EngineFailed, OutOfMemory

TYPES = (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_a_sound_machine_passes_in_time(dtype: torch.dtype) -> None:
    began = time.process_time()
    selftest.check("cpu", dtype)
    assert time.process_time() - began < 3


def test_the_known_answers_are_the_same_bits_each_time_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    one = selftest.known_answers()
    torch.manual_seed(2)
    other = selftest.known_answers()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert set(one) == set(selftest.ANSWERS)


Function = Callable[..., Any]


def one_tap_off(conv3d: Function) -> Function:
    """A convolution that reads its last tap twice instead of the first: finite, plausible, wrong."""

    def wrong(seen: Tensor, kernel: Tensor, *rest: Any, **more: Any) -> Tensor:
        changed = kernel.clone()
        changed[..., 0] = kernel[..., -1]
        found: Tensor = conv3d(seen, changed, *rest, **more)
        return found

    return wrong


def too_few_bits(conv3d: Function) -> Function:
    """Sums in steps of 1/32 of the largest, as a kernel that adds up in 8 bits."""

    def wrong(*args: Any, **more: Any) -> Tensor:
        found = conv3d(*args, **more)
        unit = found.abs().max() / 32
        rounded: Tensor = (found / unit).round() * unit
        return rounded

    return wrong


def unscaled(attention: Function) -> Function:
    def wrong(query: Tensor, key: Tensor, value: Tensor, **more: Any) -> Tensor:
        found: Tensor = attention(query, key, value, **more, scale=1.0)
        return found

    return wrong


def not_a_number(attention: Function) -> Function:
    def wrong(*args: Any, **more: Any) -> Tensor:
        found: Tensor = attention(*args, **more) * torch.nan
        return found

    return wrong


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(
    ("function", "wrong", "said"),
    [
        ("conv3d", one_tap_off, "the convolution in"),
        ("conv3d", too_few_bits, "the convolution in"),
        ("scaled_dot_product_attention", unscaled, "attention in"),
        ("scaled_dot_product_attention", not_a_number, "attention in"),
    ],
    ids=["taps", "bits", "scale", "nan"],
)
def test_wrong_arithmetic_is_named(
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    function: str,
    wrong: Callable[[Function], Function],
    said: str,
) -> None:
    monkeypatch.setattr(F, function, wrong(getattr(F, function)))
    with pytest.raises(EngineFailed, match=f"{said} {str(dtype).removeprefix('torch.')} on cpu"):
        selftest.check("cpu", dtype)


def test_products_in_8_bits_are_looked_at_where_they_are_asked_for(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selftest.check("cpu", torch.float32, "fp8")
    product = F.scaled_mm

    def unscaled_rows(
        seen: Tensor, weight: Tensor, scale: Tensor, *rest: Any, **more: Any
    ) -> Tensor:
        return product(seen, weight, torch.ones_like(scale), *rest, **more)

    monkeypatch.setattr(F, "scaled_mm", unscaled_rows)
    selftest.check("cpu", torch.float32)
    models = Path(shutil.copytree(tiny, tmp_path / "models"))
    options = json.loads((models / "voidbridge.json").read_text())
    (models / "voidbridge.json").write_text(json.dumps(options | {"linears": "fp8"}))
    with pytest.raises(EngineFailed, match="the product in 8 bits on cpu is off by"):
        make("cpu", models)


@pytest.mark.parametrize("kind", [DDIMScheduler, CogVideoXDDIMScheduler])
def test_a_scheduler_that_steps_otherwise_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    step = kind.step

    def late(self: Any, velocity: Tensor, timestep: int, *rest: Any, **more: Any) -> Any:
        return step(self, velocity, max(timestep - 1, 0), *rest, **more)

    monkeypatch.setattr(kind, "step", late)
    with pytest.raises(EngineFailed, match="the step of the scheduler"):
        selftest.check("cpu", torch.float32)


def test_a_decoder_that_is_a_latent_late_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Vae.decode
    monkeypatch.setattr(
        Vae, "decode", lambda self, latents, tiles: decode(self, latents.roll(1, dims=2), tiles)
    )
    with pytest.raises(EngineFailed, match="the tiny model's picture is off by"):
        selftest.check("cpu", torch.float32)


def test_the_engine_is_not_made_where_numbers_are_wrong(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(F, "scaled_dot_product_attention", unscaled(F.scaled_dot_product_attention))
    with pytest.raises(EngineFailed, match="self-test failed: attention") as caught:
        make("cpu", tiny)
    assert "another device" in caught.value.hint


@pytest.mark.parametrize(
    "sizes", [(150, SMALL.picture), (300, (3, 24, 24))], ids=["tokens", "picture"]
)
def test_a_fault_of_large_results_shows_only_at_their_size(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, tuple[int, int, int]]
) -> None:
    """As cuDNN 9.10 had it: right up to a size, wrong in the last elements beyond."""

    def wrong(function: Function, most: int) -> Function:
        def called(*args: Any, **more: Any) -> Tensor:
            found: Tensor = function(*args, **more)
            if found.numel() > most:
                found.flatten()[-1000:] = 0
            return found

        return called

    tokens, picture = sizes
    attended = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", wrong(attended, 2 * 200 * 64))
    monkeypatch.setattr(F, "conv3d", wrong(F.conv3d, 32 * 24 * 24))
    with pytest.raises(EngineFailed, match="self-test failed"):
        selftest.check("cpu", torch.float32)
    both = replace(SMALL, tokens=150, picture=(3, 24, 24))
    selftest.check("cpu", torch.float32, sizes=both)
    larger = replace(both, tokens=tokens, picture=picture)
    with pytest.raises(EngineFailed, match="convolution" if picture[0] > 3 else "attention"):
        selftest.check("cpu", torch.float32, sizes=larger)


@pytest.mark.parametrize("choice", ["torch", "math", "flash"])
def test_the_kernel_that_jobs_use_is_the_one_that_is_tested(
    monkeypatch: pytest.MonkeyPatch, choice: Any
) -> None:
    asked = []

    def attending(name: str) -> Any:
        asked.append(name)
        return nullcontext()

    monkeypatch.setattr(attention, "attending", attending)
    selftest.check("cpu", torch.float32, attention=choice)
    assert asked[0] == choice


def test_a_device_without_room_for_the_test_is_short_of_memory_and_not_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*args: Any, **more: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")

    monkeypatch.setattr(F, "conv3d", full)
    with pytest.raises(OutOfMemory, match="about 2 GB of cpu: CUDA out of memory"):
        selftest.check("cpu", torch.float32)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_the_card_passes(dtype: torch.dtype) -> None:
    selftest.check("cuda:0", dtype)
