"""Warped noise against stored outputs of the published Go-with-the-Flow code, with its own draws injected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from voidbridge_backend.engines.void.noise.picture_noise import fitted
from voidbridge_backend.engines.void.noise.warped_noise import Field, blend, step, upsampled

Arrays = dict[str, NDArray[Any]]
TIES = {"rotate_10deg": 0.001}
"""Cases with pixels exactly between two others, decided by rounding: the share of values that may differ."""


def arrays(path: Path) -> Arrays:
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    with np.load(path) as file:
        return dict(file)


def carried(noise: Tensor, weight: Tensor, flow: Tensor, fresh: Tensor) -> tuple[Tensor, Tensor]:
    """One step on [c, h, w] with `fresh` [c, h, 2w] in place of new noise, grouped as published."""
    channels, height, width = noise.shape
    halves = (fresh[:, :, :width], fresh[:, :, width:])
    drawn = torch.cat([half.reshape(channels, -1) for half in halves], dim=1).T
    field = Field(noise.reshape(channels, -1).T.contiguous(), weight.flatten(), height)
    out = step(field, flow, lambda copies: drawn[copies], pool_fresh=True)
    return out.noise.T.reshape(noise.shape), out.weight.reshape(height, width)


def test_single_steps_are_the_published_ones(golden: Path) -> None:
    data = {
        name: torch.from_numpy(array)
        for name, array in arrays(golden / "warp" / "step.npz").items()
    }
    cases = sorted({name.rpartition(".")[0] for name in data})
    assert cases
    for case in cases:
        before, after = data[f"{case}.state_in"], data[f"{case}.state_out"]
        noise, weight = carried(before[3:], before[2], data[f"{case}.flow"], data[f"{case}.fresh"])
        assert ((noise - after[3:]).abs() > 1e-5).float().mean() <= TIES.get(case, 0), case
        # Weights are divided by their mean, so that a tie anywhere moves all of them a little.
        assert ((weight / after[2] - 1).abs() > 1e-5).float().mean() <= (
            1 if case in TIES else 0
        ), case


def test_sequences_of_steps_stay_with_the_published_ones(golden: Path) -> None:
    data = {
        name: torch.from_numpy(a) for name, a in arrays(golden / "warp" / "sequence.npz").items()
    }
    for case in sorted({name.rpartition(".")[0] for name in data}):
        noise, weight = data[f"{case}.state_in"][3:], data[f"{case}.state_in"][2]
        for index in range(len(data[f"{case}.flows"])):
            flow, fresh = data[f"{case}.flows"][index], data[f"{case}.fresh"][index]
            noise, weight = carried(noise, weight, flow, fresh)
            apart = (noise - data[f"{case}.states_out"][index][3:]).abs() > 1e-3
            assert apart.float().mean() <= (0.001 if "rotate" in case else 0), case


def test_a_flow_is_upsampled_and_carries_noise_as_published(golden: Path) -> None:
    data = {
        name: torch.from_numpy(array)
        for name, array in arrays(golden / "warp" / "misc.npz").items()
    }
    fine = upsampled(data["flow_low"], *data["flow_up"].shape[1:])
    assert torch.equal(fine, data["flow_up"])
    noise, _ = carried(data["noise0"], torch.ones(fine.shape[1:]), fine, data["fresh"])
    assert (noise - data["noise1"]).abs().max() < 1e-5


def test_noises_are_blended_as_published(golden: Path) -> None:
    data = {
        name: torch.from_numpy(array)
        for name, array in arrays(golden / "warp" / "misc.npz").items()
    }
    amounts = [name.removeprefix("blend_fg_a") for name in data if name.startswith("blend_fg_a")]
    assert amounts
    for amount in amounts:
        found = blend(data["blend_bg"], data["blend_fg"], float(amount))
        assert (found - data[f"blend_fg_a{amount}"]).abs().max() < 1e-6


def test_noise_files_are_fitted_to_latents_as_published(golden: Path) -> None:
    data = arrays(golden / "warp" / "void_resize.npz")
    expected = torch.from_numpy(data["out_1tchw"])
    _, latents, _, height, width = expected.shape
    found = fitted(data["noises_thwc_f16"], latents, (height * 8, width * 8))
    assert (found - expected).abs().max() < 1e-6


def test_noise_files_of_whole_passes_become_the_latents_that_these_began_with(golden: Path) -> None:
    files = sorted((golden / "void").glob("*/inputs.safetensors"))
    cases = {path.parent.name: load_file(path) for path in files}
    given = {name: case for name, case in cases.items() if "input/warped_noise_npy_thwc" in case}
    if not given:
        pytest.skip(f"no case with a noise file in {golden / 'void'}")
    for name, case in given.items():
        about = json.loads((golden / "void" / name / "README.json").read_text())
        latents = case["input/latents_argument"]
        size = tuple(about["settings"]["size_hw"])
        found = fitted(case["input/warped_noise_npy_thwc"].numpy(), latents.shape[1], size)
        assert (found - latents).abs().max() < 1e-5, name
