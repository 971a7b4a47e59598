"""Weights as other programs store them: in a models folder of ComfyUI, under a prefix, in 8 bits with a scale."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import checkpoints, networks, weights
from voidbridge_backend.engines.void.files.inventory import inventory
from voidbridge_backend.engines.void.files.weights import BASE, PASSES
from voidbridge_backend.engines.void.inputs import Footage
from voidbridge_backend.engines.void.model.memory import Plan, host_needed
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.errors import ModelMissing
from voidbridge_protocol.operations.remove import RemoveSettings

SMALL = Options(height=32, width=48, window=21, steps=2, fineness=2)
FP8 = torch.float8_e4m3fn


@pytest.fixture
def models(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "models"))


def as_comfyui(models: Path) -> None:
    """Moves the weights to where ComfyUI keeps them."""
    for source, target in {
        f"{BASE}/text_encoder/model.safetensors": "text_encoders/t5xxl_fp16.safetensors",
        f"{BASE}/vae/diffusion_pytorch_model.safetensors": "vae/cogvideox_vae.safetensors",
        PASSES[1]: "diffusion_models/void_pass1_bf16.safetensors",
        PASSES[2]: "diffusion_models/void_pass2.safetensors",
    }.items():
        (models / target).parent.mkdir(exist_ok=True)
        (models / source).rename(models / target)


def scaled(
    tensors: dict[str, Tensor], scale: str, rows: bool, start: str = ""
) -> dict[str, Tensor]:
    """The layers of the blocks in 8 bits, each with a scale and a remark on its inputs."""
    stored = {}
    for name, tensor in tensors.items():
        if not name.startswith("transformer_blocks") or tensor.ndim < 2:
            stored[start + name] = tensor
            continue
        size = tensor.float().abs().amax(dim=1, keepdim=True) if rows else tensor.abs().max()
        unit = (size.float() / 448).clamp(min=1e-12)
        layer = start + name.removesuffix(".weight")
        stored[f"{layer}.weight"] = (tensor.float() / unit).to(FP8)
        stored[layer + scale] = unit
        stored[f"{layer}.scale_input"] = torch.ones(1)
        stored[f"{layer}.comfy_quant"] = torch.zeros(8, dtype=torch.uint8)
    return stored | {"scaled_fp8": torch.zeros(2, dtype=FP8)}


def test_a_models_folder_of_comfyui_gives_the_same_frames(
    tiny: Path, models: Path, small_clip: type, said: Any
) -> None:
    as_comfyui(models)
    assert weights.missing(models) == []
    assert networks.problems(models) == []
    assert [part.name for part in inventory(models) if part.state != "ok"] == []
    settings = RemoveSettings(engine="void")
    found, expected = (
        dict(Void(folder, "cpu", SMALL).remove(small_clip(3), settings, said))
        for folder in (models, tiny)
    )
    assert all(np.array_equal(found[frame], expected[frame]) for frame in expected)
    assert said.warnings == []
    assert networks.fingerprints(models) == networks.fingerprints(tiny)


def test_two_files_that_fit_are_both_named(models: Path) -> None:
    as_comfyui(models)
    there = models / "text_encoders"
    shutil.copy(there / "t5xxl_fp16.safetensors", there / "t5xxl_fp8.safetensors")
    with pytest.raises(ModelMissing, match=r"t5xxl_fp16\.safetensors, t5xxl_fp8\.safetensors"):
        networks.text_weights(models)
    assert len(weights.missing(models)) == 1


def test_published_files_come_before_those_of_comfyui(tiny: Path, models: Path) -> None:
    (models / "vae").mkdir()
    (models / "vae" / "cogvideox_vae.safetensors").write_bytes(b"of another model")
    assert networks.fingerprints(models) == networks.fingerprints(tiny)


@pytest.mark.parametrize("scale", [".scale_weight", ".weight_scale"])
@pytest.mark.parametrize("rows", [False, True], ids=["a layer", "a row"])
@pytest.mark.parametrize("start", ["", "model.diffusion_model."])
def test_weights_in_8_bits_get_their_scale_again(
    models: Path, scale: str, rows: bool, start: str
) -> None:
    plain = load_file(models / PASSES[1])
    save_file(scaled(plain, scale, rows, start), models / PASSES[1])
    assert networks.problems(models, 1) == []
    found = networks.denoiser(models, 1, torch.float32).network.state_dict()
    assert set(found) == set(plain)
    for name, tensor in plain.items():
        off = (found[name] - tensor.float()).norm() / tensor.float().norm().clamp(min=1e-6)
        assert off < 0.04, name  # 3 bits of fraction
        assert name.startswith("transformer_blocks") or off == 0


def test_a_job_says_that_weights_are_in_8_bits(models: Path, small_clip: type, said: Any) -> None:
    save_file(scaled(load_file(models / PASSES[1]), ".scale_weight", False), models / PASSES[1])
    list(Void(models, "cpu", SMALL).remove(small_clip(2), RemoveSettings(engine="void"), said))
    (note,) = said.warnings
    assert (
        note
        == "weights are stored in 8 bits or fewer, which is not lossless: void_pass1.safetensors"
    )


def test_weights_that_are_not_mapped_count_on_the_host(models: Path, small_clip: type) -> None:
    """Those in 8 bits are copied; those in bfloat16 are the pages of their files."""
    plain = load_file(models / PASSES[1])
    assert networks.copied(models, 2, torch.bfloat16) == 0
    save_file(scaled(plain, ".scale_weight", False), models / PASSES[1])
    eight_bits = [
        tensor
        for name, tensor in plain.items()
        if name.startswith("transformer_blocks") and tensor.ndim > 1
    ]
    size = 2 * sum(tensor.numel() for tensor in eight_bits)
    assert networks.copied(models, 2, torch.bfloat16) == size
    engine, clip = Void(models, "cpu", replace(SMALL, precision="bfloat16")), small_clip(2)
    footage = Footage(clip, clip.frames, 21)
    demand = engine.demand(footage, RemoveSettings(engine="void", passes=2))
    plan = Plan("swapped")
    assert host_needed(plan, demand) - host_needed(plan, replace(demand, copied=0)) == size


def test_scales_of_blocks_are_refused_with_their_shape(models: Path) -> None:
    stored = scaled(load_file(models / PASSES[1]), ".weight_scale", False)
    name = next(name for name in stored if name.endswith(".weight_scale"))
    stored[name] = torch.ones(4, 2)
    save_file(stored, models / PASSES[1])
    with pytest.raises(ModelMissing, match=r"in 8 bits and scales of \[4, 2\]"):
        networks.denoiser(models, 1, torch.float32)


def test_a_prefix_counts_only_if_all_weights_have_it() -> None:
    assert checkpoints.prefix(["vae.a", "vae.b", "scaled_fp8"]) == "vae."
    assert checkpoints.prefix(["vae.a", "encoder.b"]) == ""
    assert checkpoints.prefix([]) == ""
