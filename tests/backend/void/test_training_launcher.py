"""A training in several processes of a launcher: the bits of one process, and one end for all of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from training_parts import write_dataset, write_pairs

from voidbridge_backend.cli.main import main
from voidbridge_backend.config import LAUNCHED
from voidbridge_backend.engines.void_lora.engine import VoidTrainer, launched_group
from voidbridge_protocol.errors import BadSetting, JobCancelled, VoidbridgeError
from voidbridge_protocol.operations.train import TrainSettings

SETTINGS = TrainSettings(
    show="harbour", steps=5, rank=4, accumulate=3, learning_rate=1e-2, warmup=2,
    validate_every=2, checkpoint_every=1,
)  # fmt: skip
PROCESSES = 2


class Reports:
    """Notes the step. It calls `act` at report `at`, counted from the first one after `begin` is there."""

    def __init__(
        self, at: int = 0, act: Callable[[], None] = lambda: None, begin: Path = Path("/")
    ) -> None:
        self.at_step, self._at, self._act, self._begin = 0, at, act, begin

    def step(self, stage: str, done: int, total: int) -> None:
        self.at_step = done if stage == "training" else self.at_step
        if self._at and self._begin.exists():
            self._at -= 1
            if not self._at:
                self._act()

    def warn(self, text: str) -> None: ...


class Place:
    """Folder, model and pairs of one training."""

    def __init__(self, tiny: Path, folder: Path) -> None:
        self.tiny, self.folder = tiny, folder
        self.checkpoint = folder / "checkpoint"
        self.pairs = write_pairs(folder, tiny, 5)

    def alone(self, settings: TrainSettings = SETTINGS) -> Any:
        trainer = VoidTrainer(self.tiny, "cpu")
        return trainer.train(
            self.pairs[:3], self.pairs[3:], self.folder / "alone", settings, Reports()
        )

    def together(
        self,
        reports: dict[int, Reports] | None = None,
        checkpoint: Callable[[int], Path] | None = None,
        pairs: Callable[[int], list[Path]] | None = None,
    ) -> list[dict[str, Any]]:
        """What each process says at its end: its LoRA and history, its error, or the signal that killed it."""

        def work(rank: int) -> dict[str, Any]:
            report = (reports or {}).get(rank, Reports())
            group = launched_group("cpu")
            try:
                found = VoidTrainer(self.tiny, "cpu", group).train(
                    pairs(rank) if pairs else self.pairs[:3],
                    self.pairs[3:],
                    checkpoint(rank) if checkpoint else self.checkpoint,
                    SETTINGS,
                    report,
                )
                group.finish()
            except VoidbridgeError as error:
                group.tell(error)
                return {"code": error.code, "text": error.text, "step": report.at_step}
            return {"data": found.data.hex(), "history": found.history}

        return forked(work, self.folder)


def reset() -> None:
    """Forgets accelerate's view of this process, which it keeps from one test to the next."""
    AcceleratorState._reset_state()
    PartialState._reset_state()


def forked(work: Callable[[int], dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Runs `work` in processes with the variables of a launcher."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    children = {}
    for rank in range(PROCESSES):
        child = os.fork()
        if not child:
            try:
                reset()
                torch.set_num_threads(1)
                os.environ.update(
                    RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(PROCESSES),
                    LOCAL_WORLD_SIZE=str(PROCESSES), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                    OMP_NUM_THREADS="1",
                )  # fmt: skip
                (folder / f"said-{rank}").write_text(json.dumps(work(rank)))
            finally:
                os._exit(0)
        children[rank] = child
    said = []
    for rank, child in children.items():
        _, status = os.waitpid(child, 0)
        path = folder / f"said-{rank}"
        said.append(
            {"signal": os.WTERMSIG(status)}
            if os.WIFSIGNALED(status)
            else json.loads(path.read_text())
        )
    return said


@pytest.fixture
def place(tiny: Path, tmp_path: Path) -> Place:
    torch.set_num_threads(1)
    return Place(tiny, tmp_path)


def test_two_processes_give_the_lora_and_the_losses_of_one_to_the_bit(place: Place) -> None:
    # Three pairs a step for two processes: one of them has nothing to do in every second round.
    wanted = place.alone()
    found = place.together()
    assert [one["data"] for one in found] == [wanted.data.hex()] * 2
    assert found[0]["history"] == found[1]["history"] == wanted.history
    assert len(wanted.history["loss"]) == 5
    assert len(wanted.history["held"]) == 4


def test_only_the_first_process_writes_checkpoints(place: Place) -> None:
    place.together(checkpoint=lambda rank: place.folder / f"checkpoint-{rank}")
    assert sorted(path.name for path in place.folder.glob("checkpoint*")) == ["checkpoint-0"]


@pytest.mark.parametrize("killed", [0, 1])
def test_either_process_can_be_killed_and_the_next_start_ends_with_the_same_bits(
    place: Place, killed: int
) -> None:
    wanted = place.alone()

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    found = place.together({killed: Reports(1 + 12 * killed, kill, place.checkpoint)})
    assert found[killed] == {"signal": signal.SIGKILL}
    assert found[1 - killed]["code"] == "job.engine"
    assert "another of the 2 processes of this training ended" in found[1 - killed]["text"]
    assert place.checkpoint.exists()
    again = place.together()
    assert [one["data"] for one in again] == [wanted.data.hex()] * 2
    assert again[0]["history"] == wanted.history


def test_an_error_of_the_second_process_ends_the_first_with_the_same_error(place: Place) -> None:
    bad = place.folder / "bad"
    bad.write_bytes(b"nothing")
    found = place.together(pairs=lambda rank: [bad, *place.pairs[1:3]] if rank else place.pairs[:3])
    assert found[0]["code"] == found[1]["code"] == "request.pair"
    assert found[0]["text"] == found[1]["text"]
    assert "cannot be read" in found[0]["text"]


def test_a_cancel_of_one_process_ends_all_within_a_step(place: Place) -> None:
    def cancel() -> None:
        raise JobCancelled("stopped")

    found = place.together({1: Reports(3, cancel, place.checkpoint)})
    assert [one["code"] for one in found] == ["job.cancelled"] * 2, found
    assert abs(found[0]["step"] - found[1]["step"]) <= 1


def test_processes_that_see_other_checkpoints_are_refused(place: Place) -> None:
    place.together()
    found = place.together(
        checkpoint=lambda rank: place.folder / ("none" if rank else "checkpoint")
    )
    assert [one["code"] for one in found] == ["job.engine"] * 2
    assert "are at different places" in found[0]["text"]


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_worker_of_a_daemon_that_a_launcher_started_twice_refuses_to_train(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = replace(SETTINGS, steps=1, accumulate=1)
    monkeypatch.setenv(name, "2")
    with pytest.raises(BadSetting, match=rf"a launcher started 2 \({name}\)"):
        place.alone(settings)
    monkeypatch.setenv(name, "1")
    assert place.alone(settings).data


def test_a_launcher_that_accelerate_does_not_see_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # MPI names no local rank, without which accelerate uses one card.
    for name in ("LOCAL_RANK", *LAUNCHED):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    reset()
    with pytest.raises(BadSetting, match=r"started 3 processes .* accelerate sees 1"):
        launched_group("cuda")
    reset()


def commands(place: Place, words: list[str]) -> list[dict[str, Any]]:
    """The exit code, the events and the output of the command in each process of a launcher."""

    def work(rank: int) -> dict[str, Any]:
        out = place.folder / f"out-{rank}"
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        sys.stdout = open(1, "w", closefd=False)  # for the rest of the process
        code = main(words)
        sys.stdout.flush()
        return {"exit": code, "events": [json.loads(line) for line in out.open()]}

    return forked(work, place.folder)


def words(show: Path, lora: Path, models: Path) -> list[str]:
    return [
        "train",
        f"{show}",
        "-o",
        f"{lora}",
        "--json",
        "--models",
        f"{models}",
        "--devices",
        "cpu",
    ]


def check_result(place: Place, lora: Path, events: list[dict[str, Any]], wanted: Any) -> None:
    assert [event["event"] for event in events] == ["trained"]
    assert lora.read_bytes() == wanted.data
    names = [path.name for path in sorted(lora.parent.iterdir())]
    assert names == ["harbour.png", "harbour.safetensors", "harbour.voidbridge.json"]
    record = json.loads(lora.with_suffix(".voidbridge.json").read_text())
    assert record["training"]["loss"] == wanted.history["loss"]
    assert record["engine"]["processes"] == PROCESSES


def test_the_command_in_two_processes_writes_what_one_trains_and_reports_once(place: Place) -> None:
    show = write_dataset(place.folder, place.pairs, held=2, settings=SETTINGS)
    lora = place.folder / "result" / "harbour.safetensors"
    lora.parent.mkdir()
    first, second = commands(place, words(show, lora, place.tiny))
    assert (first["exit"], second["exit"]) == (0, 0)
    assert second["events"] == []
    check_result(place, lora, first["events"], place.alone())


def test_a_failure_of_the_command_is_told_once_with_its_code(place: Place) -> None:
    show = write_dataset(place.folder, place.pairs, held=2, settings=SETTINGS)
    (place.folder / "empty").mkdir()
    lora = place.folder / "harbour.safetensors"
    first, second = commands(place, words(show, lora, place.folder / "empty"))
    assert (first["exit"], second["exit"]) == (4, 4)
    assert [event["code"] for event in first["events"]] == ["job.model-missing"]
    assert second["events"] == []
    assert not lora.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--daemon", "tcp://127.0.0.1:1"], "train without a daemon"),
        (["--evaluate"], "an evaluation"),
    ],
)
def test_a_launcher_and_a_daemon_do_not_go_together(
    place: Place, more: list[str], said: str
) -> None:
    show = write_dataset(place.folder, place.pairs, held=2, settings=SETTINGS)
    lora = place.folder / "harbour.safetensors"
    for found in commands(place, [*words(show, lora, place.tiny), *more]):
        assert found["exit"] == 2
        assert said in found["events"][0]["text"]


def test_a_killed_launcher_leaves_no_process_and_its_command_goes_on(
    place: Place, full: bool
) -> None:
    if not full:
        pytest.skip("two starts of a launcher take a minute: --full")
    wanted = place.alone()
    show = write_dataset(place.folder, place.pairs, held=2, settings=SETTINGS)
    lora = place.folder / "result" / "harbour.safetensors"
    lora.parent.mkdir()
    going = started(words(show, lora, place.tiny))
    checkpoint = lora.parent / ".harbour.training" / "checkpoint.safetensors"
    launcher = psutil.Process(going.pid)
    while not checkpoint.exists():
        assert going.poll() is None, going.communicate()
    children = launcher.children(recursive=True)
    assert len(children) >= PROCESSES
    launcher.kill()
    going.communicate(timeout=240)
    assert not psutil.wait_procs(children, timeout=240)[1]
    assert not lora.exists()
    again = started(words(show, lora, place.tiny))
    out, said = again.communicate(timeout=600)
    assert again.returncode == 0, said
    check_result(place, lora, [json.loads(line) for line in out.splitlines()], wanted)


def started(command: list[str]) -> subprocess.Popen[str]:
    """The command under torchrun, to which accelerate's launcher hands its processes."""
    launcher = f"-m torch.distributed.run --standalone --nproc-per-node {PROCESSES}".split()
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "voidbridge_backend", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
