"""Transformers that are stored as GGUF are read, with their loss named."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.files.inventory import inventory
from voidbridge_backend.engines.void.files.weights import PASSES, missing
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.errors import EngineFailed, ModelMissing
from voidbridge_protocol.operations.remove import RemoveSettings

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")

SMALL = Options(height=32, width=48, window=21, steps=2, fineness=2)
NAME = "void_pass1-Q8_0.gguf"


def write(path: Path, tensors: dict[str, torch.Tensor], kind: str, start: str = "") -> int:
    """Writes a GGUF file. Returns the number of tensors that have the type `kind`; others keep 32 bits."""
    writer, wanted = gguf.GGUFWriter(path, "cogvideox"), gguf.GGMLQuantizationType[kind]
    block, _ = gguf.GGML_QUANT_SIZES[wanted]
    count = 0
    for name, tensor in tensors.items():
        values = tensor.float().numpy()
        fits = values.ndim > 1 and values.shape[-1] % block == 0
        count += fits
        data = gguf.quants.quantize(values, wanted) if fits else values
        writer.add_tensor(start + name, data, raw_dtype=wanted if fits else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return count


@pytest.fixture
def models(tiny: Path, tmp_path: Path) -> Path:
    """A models folder without the published file of the first pass."""
    folder = Path(shutil.copytree(tiny, tmp_path / "models"))
    (folder / "diffusion_models").mkdir()
    (folder / PASSES[1]).unlink()
    return folder


@pytest.fixture(scope="module")
def plain(tiny: Path) -> dict[str, torch.Tensor]:
    return load_file(tiny / PASSES[1])


@pytest.mark.parametrize("start", ["", "model.diffusion_model."])
@pytest.mark.parametrize(("kind", "loss"), [("F16", 1e-3), ("BF16", 4e-3), ("Q8_0", 0.01)])
def test_a_transformer_is_decoded_to_within_the_loss_of_its_type(
    models: Path, plain: dict[str, torch.Tensor], kind: str, loss: float, start: str
) -> None:
    assert write(models / "diffusion_models" / NAME, plain, kind, start) > 0
    assert missing(models) == []
    assert networks.problems(models, 1) == []
    found = networks.denoiser(models, 1, torch.float32).network.state_dict()
    assert set(found) == set(plain)
    for name, tensor in plain.items():
        off = (found[name] - tensor.float()).norm() / tensor.float().norm().clamp(min=1e-6)
        assert off < loss, name


def test_a_job_runs_names_the_loss_and_counts_the_copies(
    models: Path, plain: dict[str, torch.Tensor], small_clip: type, said: Any
) -> None:
    write(models / "diffusion_models" / NAME, plain, "Q8_0")
    found = dict(
        Void(models, "cpu", SMALL).remove(small_clip(2), RemoveSettings(engine="void"), said)
    )
    assert all(np.isfinite(pixels).all() for pixels in found.values())
    assert said.warnings == [
        f"weights are stored in 8 bits or fewer, which is not lossless: {NAME}"
    ]
    size = sum(tensor.numel() for tensor in plain.values()) * torch.bfloat16.itemsize
    assert networks.copied(models, 1, torch.bfloat16) == size
    assert [part.name for part in inventory(models) if part.state != "ok"] == []


def test_a_broken_file_is_named(models: Path, plain: dict[str, torch.Tensor]) -> None:
    path = models / "diffusion_models" / NAME
    write(path, plain, "Q8_0")
    whole = path.read_bytes()
    for broken in (b"", b"GGUF", whole[:200], whole[: len(whole) // 2], b"not a model" * 9):
        path.write_bytes(broken)
        with pytest.raises(ModelMissing, match=r"void_pass1-Q8_0\.gguf is not a readable GGUF"):
            networks.denoiser(models, 1, torch.float32)


def test_without_the_package_the_error_says_how_to_install_it(
    models: Path, plain: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(models / "diffusion_models" / NAME, plain, "Q8_0")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(EngineFailed, match="the package gguf cannot be loaded") as failed:
        networks.denoiser(models, 1, torch.float32)
    assert "voidbridge[gguf]" in failed.value.hint


def test_two_files_of_a_pass_are_both_named(
    models: Path, plain: dict[str, torch.Tensor], tiny: Path
) -> None:
    write(models / "diffusion_models" / NAME, plain, "F16")
    shutil.copy(tiny / PASSES[1], models / "diffusion_models" / PASSES[1])
    with pytest.raises(ModelMissing, match=r"void_pass1-Q8_0\.gguf, void_pass1\.safetensors"):
        networks.pass_weights(models, 1)
