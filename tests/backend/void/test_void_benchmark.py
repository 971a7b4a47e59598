"""The benchmark of the engine runs, part by part, on the tiny model; its figures mean nothing there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from voidbridge_backend.engine.void import networks, weights
from voidbridge_backend.engine.void.denoiser import Denoiser
from voidbridge_backend.engine.void.weights import CHANNELS

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "void.py"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    found = importlib.util.spec_from_file_location("benchmark_of_void", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_part_is_measured(
    benchmark: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        benchmark.tiny, "OPTIONS", {"height": 32, "width": 48, "window": 21, "fineness": 1}
    )
    # Becoming ready starts a process; below it is done in this one.
    parts = [part for part in benchmark.PARTS if part != "ready"]
    benchmark.main(["--work", str(tmp_path), "--seconds", "0.01", "--parts", *parts])
    found = json.loads(capsys.readouterr().out)
    assert {"date", "device", "torch", *parts} <= set(found)
    assert [row["pass"] for row in found["denoise"]] == [1, 2]
    assert all(row["seconds_a_step"] > 0 for row in found["denoise"] + found["plans"])
    assert [row["layout"] for row in found["vae"]] == ["contiguous", "channels-last"]
    assert all(row["of_plain"] < 1.25 for row in found["exact"])
    assert [row["passes"] for row in found["jobs"]] == [1, 2]
    assert all(row["same_bits"] for row in found["jobs"])


def test_an_engine_that_becomes_ready_has_all_networks(benchmark: Any, tiny: Path) -> None:
    benchmark.make_ready(tiny, "cpu")


def test_the_work_of_a_step_is_that_of_the_published_network(benchmark: Any) -> None:
    """173.7 TFLOP for 22 latents of 384 x 672, counted by hand; 5.571 thousand million weights."""
    config = benchmark.TRANSFORMER | {"in_channels": sum(CHANNELS.values())}
    kind: Any = networks.CogVideoXTransformer3DModel
    network = weights.on_meta(lambda: kind.from_config(config))
    assert sum(part.numel() for part in network.parameters()) == pytest.approx(5.571e9, rel=1e-3)
    found = benchmark.forward_flops(Denoiser(network), 22, (48, 84))
    assert found == pytest.approx(173.7e12, rel=0.01)


def test_random_networks_make_a_whole_models_folder(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TRANSFORMER", "VAE", "TEXT_ENCODER"):
        monkeypatch.setattr(benchmark, name, getattr(benchmark.tiny, name))
    models = benchmark.make_true(tmp_path, "cpu")
    assert networks.problems(models) == []
    written = (models / weights.PASSES[1]).stat().st_mtime_ns
    assert benchmark.make_true(tmp_path, "cpu") == models  # They are kept.
    assert (models / weights.PASSES[1]).stat().st_mtime_ns == written


@pytest.mark.parametrize("name", ["proj.weight", "norm.weight", "proj.bias"])
def test_random_weights_keep_numbers_as_large_as_they_are(benchmark: Any, name: str) -> None:
    shape = (512, 256) if name == "proj.weight" else (512,)
    drawn: Tensor = benchmark._drawn(name, shape, torch.Generator().manual_seed(0)).float()
    if name == "proj.weight":
        assert float((drawn @ torch.ones(256, 1)).std()) == pytest.approx(1, abs=0.2)
    else:
        assert float(drawn.mean()) == pytest.approx(1.0 if "weight" in name else 0.0, abs=0.05)
