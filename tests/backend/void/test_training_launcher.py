"""A training under a launcher: two processes of it are refused, before anything is read or sent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from training_parts import write_pairs

from voidbridge_backend.config import LAUNCHED
from voidbridge_backend.engines.void_lora.engine import VoidTrainer
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.train import TrainSettings


class Quiet:
    def step(self, stage: str, done: int, total: int) -> None: ...

    def warn(self, text: str) -> None: ...


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_worker_that_a_launcher_started_twice_refuses_to_train(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pairs = write_pairs(tmp_path, tiny, 2)
    settings = TrainSettings(show="harbour", steps=1, rank=2, accumulate=1)
    trainer, checkpoint = VoidTrainer(tiny, "cpu"), tmp_path / "c"
    monkeypatch.setenv(name, "2")
    with pytest.raises(BadSetting, match=rf"a launcher started 2 \({name}\)"):
        trainer.train(pairs[:1], pairs[1:], checkpoint, settings, Quiet())
    assert not checkpoint.exists()
    monkeypatch.setenv(name, "1")
    assert trainer.train(pairs[:1], pairs[1:], checkpoint, settings, Quiet()).data


def test_torchrun_with_two_processes_gets_the_refusal_and_no_lora(tmp_path: Path) -> None:
    show = tmp_path / "show.toml"
    show.write_text('show = "harbour"\n')
    launcher = "-m torch.distributed.run --standalone --nproc-per-node 2".split()
    words = ["-m", "voidbridge_backend", "train", str(show), "-o", str(tmp_path / "l.safetensors")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, *launcher, *words],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "a launcher started 2 (WORLD_SIZE)" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["show.toml"]
