"""A show's LoRA through the command line and a daemon, on a tiny model: trained, killed on the way, and used."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import voidbridge_shots as shots
import voidbridge_stage as stage

from voidbridge_backend.client.training.dataset_list import read_list
from voidbridge_backend.client.training.show_file import read_show
from voidbridge_backend.engines.void.tiny import make_tiny
from voidbridge_backend.engines.void_lora.engine import VoidTrainer
from voidbridge_backend.tools.dataset.build import build

OPTIONS = {"height": 32, "width": 48, "window": 21, "steps": 1, "fineness": 2}
SHOW = """\
show = "harbour"
rights = "ours"
consent = "no persons"
variations = 1
[[plate]]
clip = "one/plate.%04d.exr"
[[plate]]
clip = "two/plate.%04d.exr"
[training]
steps = 60
rank = 4
accumulate = 1
learning_rate = 0.01
checkpoint_every = 4
validate_every = 60
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny(tmp_path_factory.mktemp("models"))
    (folder / "voidbridge.json").write_text(json.dumps(OPTIONS))
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the daemon's processes, so that sums have the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Quiet:
    def step(self, stage: str, done: int, total: int) -> None: ...

    def warn(self, text: str) -> None: ...


def test_a_training_survives_the_death_of_its_worker_and_its_lora_is_used(
    models: Path, tmp_path: Path
) -> None:
    shot = shots.make_shot(tmp_path / "one", range(1001, 1003))
    shots.make_shot(tmp_path / "two", range(1, 3), seed=1)
    (tmp_path / "show.toml").write_text(SHOW)
    show = read_show(tmp_path / "show.toml")
    build(show, models, show.dataset, "cpu", lambda *_: None)
    lora = tmp_path / "harbour.safetensors"
    with stage.daemon("--devices", "cpu", "--models", models) as daemon:
        going = stage.Going("train", tmp_path / "show.toml", "-o", lora, "--daemon", daemon.address)
        going.until(lambda event: event.get("stage") == "training" and event["step"] >= 5)
        urgent = daemon.submit(shot, "producer", priority=1)
        daemon.wait_for_state(urgent, "done")
        (stopped,) = [job for job in daemon.jobs() if job.operation == "train"]
        assert (stopped.state.value, stopped.attempt) in (("queued", 0), ("running", 1))
        assert "attempt 1 was stopped for a more urgent job" in stopped.warnings
        going.until(lambda event: event.get("stage") == "training" and event["step"] >= 20)
        for pid in daemon.worker_pids():
            os.kill(pid, signal.SIGKILL)
        trained = going.end()
        assert trained.code == 0, trained.err
        result = tmp_path / "result" / "result.%04d.exr"
        removed = stage.called(
            "run", shot.plate, shot.matte, "-o", result, "--engine", "void",
            "--daemon", daemon.address, "--json", "--lora", f"{lora}:0.55",
        )  # fmt: skip
        assert removed.code == 0, removed.err
        words = ("train", tmp_path / "show.toml", "-o", lora, "--daemon", daemon.address, "--json")
        repeated = stage.called(*words)
        assert repeated.code == 0, repeated.err
        (tmp_path / "show.toml").write_text(SHOW.replace("rank = 4", "rank = 2"))
        other = stage.called(*words)
        assert other.event("error")["code"] == "request.output-exists"
        (tmp_path / "show.toml").write_text(SHOW)
        compared = stage.called(
            "train", tmp_path / "show.toml", "-o", lora, "--evaluate", "--strengths", "0,1",
            "--daemon", daemon.address, "--json",
        )  # fmt: skip
        assert compared.code == 0, compared.err
    check_evaluation(compared.events[-1], lora)
    assert max(event.get("attempt", 0) for event in trained.events) == 2
    assert lora.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "harbour.voidbridge.json").read_text())
    assert [step for step, _ in record["training"]["loss"]] == list(range(1, 61))

    pairs = read_list(show.dataset)
    chosen = [[show.dataset / p.file for p in pairs if p.held == held] for held in (False, True)]
    unbroken = VoidTrainer(models).train(*chosen, tmp_path / "c", show.settings, Quiet())
    assert lora.read_bytes() == unbroken.data

    used = json.loads((tmp_path / "result" / "result.1001-1002.voidbridge.json").read_text())
    (one,) = used["engine"]["loras"]
    assert (one["show"], one["strength"]) == ("harbour", 0.55)
    assert one["sha256"] == hashlib.sha256(unbroken.data).hexdigest()


def check_evaluation(event: dict[str, Any], lora: Path) -> None:
    """The event, the sheet and the record of an evaluation at the strengths 0 and 1."""
    assert event["event"] == "evaluated"
    sheet, record = (Path(event[name]) for name in ("sheet", "record"))
    assert sheet == lora.with_name("harbour.evaluation.png")
    assert sheet.read_bytes().startswith(b"\x89PNG")
    wanted, base, none, full = event["rows"]
    assert [row["name"] for row in event["rows"]] == ["wanted", "base", "0", "1"]
    assert wanted["hole_ssim"] == 1
    assert {**none, "name": 0, "strength": 0} == {**base, "name": 0, "strength": 0}
    assert full["hole_psnr_db"] != base["hole_psnr_db"]
    found = json.loads(record.read_text())
    assert found["evaluation"]["rows"] == event["rows"]
    (used,) = found["engine"]["loras"]
    assert used["sha256"] == hashlib.sha256(lora.read_bytes()).hexdigest()
