"""LoRAs through the command line and a daemon, on a tiny model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
import voidbridge_stage as stage

from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model import lora_file
from voidbridge_backend.engines.void.model.lora_file import LoraPair, LoraRecord
from voidbridge_backend.engines.void.tiny import make_tiny

OPTIONS = {"height": 32, "width": 48, "window": 21, "steps": 1, "fineness": 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny(tmp_path_factory.mktemp("models"))
    (folder / "voidbridge.json").write_text(json.dumps(OPTIONS))
    return folder


@pytest.fixture(scope="module")
def lora(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = torch.Generator().manual_seed(3)
    pairs = {
        name: LoraPair(torch.randn(4, i, generator=draw), torch.randn(o, 4, generator=draw))
        for name, (o, i) in networks.transformer_layers(models).items()
        if name.endswith("to_v")
    }
    base = networks.fingerprints(models)["pass 1"]
    path = tmp_path_factory.mktemp("loras") / "harbour.safetensors"
    path.write_bytes(lora_file.written(pairs, LoraRecord("harbour", base, 1, 4)))
    return path


def test_a_file_travels_with_its_job_and_a_wrong_one_is_named(
    models: Path, lora: Path, tmp_path: Path
) -> None:
    shot = stage.make_shot(tmp_path, range(1001, 1003))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(lora.read_bytes()[:-1])
    with stage.daemon("--devices", "cpu", "--models", models) as daemon:

        def run(name: str, *options: object) -> stage.Finished:
            return stage.voidbridge(
                "run", shot.plate, shot.matte, "-o", tmp_path / name / "result.%04d.exr",
                "--engine", "void", "--daemon", daemon.address, "--json", *options,
            )  # fmt: skip

        assert run("with", "--lora", f"{lora}:0.55").code == 0
        wrong = run("cut", "--lora", cut)
    record = json.loads((tmp_path / "with" / "result.1001-1002.voidbridge.json").read_text())
    (used,) = record["engine"]["loras"]
    assert (used["show"], used["strength"]) == ("harbour", 0.55)
    assert used["sha256"] == hashlib.sha256(lora.read_bytes()).hexdigest()
    assert wrong.code == 2
    assert "lora frame 1 (cut.safetensors)" in wrong.err + wrong.out
