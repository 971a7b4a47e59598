"""The benchmark of the engine runs, part by part, on the tiny model; its figures mean nothing there."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from voidbridge_backend.engines.void.files import networks, weights
from voidbridge_backend.engines.void.files.weights import CHANNELS
from voidbridge_backend.engines.void.model.denoiser import Denoiser

FOLDER = Path(__file__).parents[3] / "benchmarks" / "void"
MODULES = ("__main__", "rig", "speed", "exactness", "rival")


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Any]:
    """The benchmark's modules, by the names that they know each other by."""
    before = dict(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        found = {name: importlib.import_module(name) for name in MODULES if name != "__main__"}
        spec = importlib.util.spec_from_file_location("benchmark_of_void", FOLDER / "__main__.py")
        assert spec is not None
        assert spec.loader is not None
        found["door"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found["door"])
        yield SimpleNamespace(**found)
    finally:
        sys.path.remove(str(FOLDER))
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def test_every_part_is_measured(
    benchmark: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VOID_REFERENCE", raising=False)
    monkeypatch.setattr(
        benchmark.rig.tiny, "OPTIONS", {"height": 32, "width": 48, "window": 21, "fineness": 1}
    )
    # Becoming ready starts a process; below it is done in this one.
    parts = [part for part in benchmark.door.PARTS if part != "ready"]
    benchmark.door.main(["--work", str(tmp_path), "--seconds", "0.01", "--parts", *parts])
    found = json.loads(capsys.readouterr().out)
    assert {"date", "device", "torch", *parts} <= set(found)
    assert [row["pass"] for row in found["denoise"]] == [1, 2]
    assert all(row["seconds_a_step"] > 0 for row in found["denoise"] + found["plans"])
    assert [row["layout"] for row in found["vae"]] == ["contiguous", "channels-last"]
    assert all(row["of_plain"] < (4 if "linears" in row else 1.25) for row in found["exact"])
    plain, *others = found["shots"]
    assert plain["seconds"] > 0
    assert [row["linears"] for row in others if "linears" in row] == ["fp8"]
    assert all(row["psnr_worst_db"] > 37 and row["ssim"] > 0.97 for row in others)
    assert found["preview"]["blocks_fewer"] >= 2
    assert [row["passes"] for row in found["jobs"]] == [1, 2]
    assert all(row["same_bits"] for row in found["jobs"])
    assert "VOID_REFERENCE" in found["rival"]["left_out"]


def test_an_engine_that_becomes_ready_has_all_networks(benchmark: Any, tiny: Path) -> None:
    benchmark.speed.make_ready(tiny, "cpu")


def test_the_work_of_a_step_is_that_of_the_published_network(benchmark: Any) -> None:
    """173.7 TFLOP for 22 latents of 384 x 672, counted by hand; 5.571 thousand million weights."""
    config = benchmark.rig.TRANSFORMER | {"in_channels": sum(CHANNELS.values())}
    kind: Any = networks.CogVideoXTransformer3DModel
    network = weights.on_meta(lambda: kind.from_config(config))
    assert sum(part.numel() for part in network.parameters()) == pytest.approx(5.571e9, rel=1e-3)
    found = benchmark.rig.forward_flops(Denoiser(network), 22, (48, 84))
    assert found == pytest.approx(173.7e12, rel=0.01)


def test_random_networks_make_a_whole_models_folder(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TRANSFORMER", "VAE", "TEXT_ENCODER"):
        monkeypatch.setattr(benchmark.rig, name, getattr(benchmark.rig.tiny, name))
    models = benchmark.rig.make_true(tmp_path, "cpu")
    assert networks.problems(models) == []
    written = (models / weights.PASSES[1]).stat().st_mtime_ns
    assert benchmark.rig.make_true(tmp_path, "cpu") == models  # They are kept.
    assert (models / weights.PASSES[1]).stat().st_mtime_ns == written


@pytest.mark.parametrize("name", ["proj.weight", "norm.weight", "proj.bias"])
def test_random_weights_keep_numbers_as_large_as_they_are(benchmark: Any, name: str) -> None:
    shape = (512, 256) if name == "proj.weight" else (512,)
    drawn: Tensor = benchmark.rig.drawn(name, shape, torch.Generator().manual_seed(0)).float()
    if name == "proj.weight":
        assert float((drawn @ torch.ones(256, 1)).std()) == pytest.approx(1, abs=0.2)
    else:
        assert float(drawn.mean()) == pytest.approx(1.0 if "weight" in name else 0.0, abs=0.05)


def test_likeness_is_that_of_the_definitions(benchmark: Any) -> None:
    picture = np.random.default_rng(0).random((24, 32, 3), np.float32)
    psnr, ssim = benchmark.exactness.psnr, benchmark.exactness.ssim
    assert psnr(picture, picture) == 200
    assert psnr(picture, picture + np.float32(0.1)) == pytest.approx(20, abs=1e-3)
    assert ssim(picture, picture) == pytest.approx(1)
    grey = np.full_like(picture, 0.5)
    # Of two flat pictures only the means differ: (2ab + c1) / (a^2 + b^2 + c1).
    assert ssim(grey, grey / 2) == pytest.approx((0.25 + 1e-4) / (0.3125 + 1e-4), abs=1e-6)
    assert ssim(picture, 1 - picture) < 0


def test_a_short_loan_keeps_each_part_and_names_those_without_time(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        benchmark.rig.tiny, "OPTIONS", {"height": 32, "width": 48, "window": 21, "fineness": 1}
    )
    before = signal.getsignal(signal.SIGALRM)
    command = ["--work", str(tmp_path / "work"), "--seconds", "0.01", "--results", str(tmp_path)]
    benchmark.door.main([*command, "--minutes", "5", "--parts", "vae", "matmul"])
    (path,) = tmp_path.glob("void-cpu-*.json")
    found = json.loads(path.read_text())
    assert list(found)[-2:] == ["matmul", "vae"]  # The most informative first.
    assert "out_of_time" not in found
    benchmark.door.main([*command, "--minutes", "0", "--parts", "vae", "jobs"])
    found = json.loads(path.read_text())
    assert found["out_of_time"] == {"vae": "stopped after 0 s", "jobs": "stopped after 0 s"}
    assert signal.getsignal(signal.SIGALRM) is before


def test_the_page_names_each_program_the_parts_in_their_order_and_every_option(
    benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([\w./-]+)", page, re.M)
    programs = {path.name for path in FOLDER.parent.glob("*.py")}
    assert programs <= set(named)
    assert [name for name in named if name in benchmark.door.PARTS] == list(benchmark.door.PARTS)
    with pytest.raises(SystemExit):
        benchmark.door.main(["--help"])
    options = set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help"}
    assert {name for name in named if name.startswith("--")} == options


def test_work_that_takes_too_long_is_stopped(benchmark: Any) -> None:
    def endless() -> None:
        with benchmark.door.limited(0.05):
            while True:
                torch.ones(10).sum()

    with pytest.raises(benchmark.door.OutOfTime):
        endless()
