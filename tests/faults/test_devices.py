"""Engines that hang, devices that fail, workers that cannot start: what becomes of the job, and what is said."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from voidbridge_figures import Note
from voidbridge_machine import caught, free_ports
from voidbridge_shots import make_shot
from voidbridge_stage import (
    UNCONFINED,
    Daemon,
    Going,
    called,
    check_echo,
    daemon,
    environment,
    eventually,
    is_alive,
    run_words,
)

SABOTAGE = """
import sys
from pathlib import Path

LEFT = Path({left!r})
if "voidbridge_backend.worker.process" in sys.orig_argv:
    from voidbridge_backend.engines.echo.engine import Echo

    whole = Echo.remove

    def remove(self, clip, settings, watch, wanted=None):
        if left := int(LEFT.read_text()):
            LEFT.write_text(str(left - 1))
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return whole(self, clip, settings, watch, wanted)

    Echo.remove = remove
"""
"""Python imports a module of the name `sitecustomize` whenever it starts."""


@dataclass
class Card:
    """A device that fails as often as it is told to, and the daemon that has it."""

    daemon: Daemon
    left: Path

    def fails(self, times: int) -> None:
        self.left.write_text(str(times))


@contextmanager
def card(folder: Path, *options: object) -> Iterator[Card]:
    left = folder / "left"
    left.write_text("0")
    (folder / "sitecustomize.py").write_text(SABOTAGE.format(left=str(left)))
    path = os.pathsep.join([str(folder), environment()["PYTHONPATH"]])
    with daemon(*options, extra={"PYTHONPATH": path, **UNCONFINED}) as made:
        made.wait_for_worker()
        yield Card(made, left)


def test_an_engine_that_hangs_is_killed_and_its_job_tried_again(
    tmp_path: Path, full: bool, note: Note
) -> None:
    """With a shorter patience than it has by itself, so that it does not take half a minute."""
    stall_s = 30 if full else 12
    shot = make_shot(tmp_path / "in", range(1001, 1004), seed=500)

    def hanging(steps: int) -> tuple[Going, float, Path] | None:
        """A job whose worker stands still in its midst; how long it took until that was seen."""
        out = tmp_path / f"out {steps}"
        going = Going(*run_words(shot, out, made.address, "--steps", 4 * steps))
        going.until(lambda event: event.get("stage") == "removing" and event["step"] >= 20)
        os.kill(worker, signal.SIGSTOP)
        began = time.monotonic()

        def is_seen() -> bool:
            health = made.health()
            if health.devices[0].state != "stalled":
                return False
            assert not health.ready
            assert "cpu is stalled" in health.text
            return True

        eventually(lambda: is_seen() or going.process.poll() is not None, "the silence to be seen")
        if going.process.poll() is None:
            return going, began, out
        os.kill(worker, signal.SIGCONT)
        return None

    with daemon("--stall-s", stall_s) as made:
        worker = made.wait_for_worker()
        going, began, out = caught(hanging)
        stalled = time.monotonic() - began
        going.until(lambda event: event.get("attempt") == 2)
        again = time.monotonic() - began
        done = going.end()
        assert done.code == 0, done.err
        assert not is_alive(worker)
        warnings = done.event("done")["warnings"]
        said = f"no step for {stall_s} s while removing"
        assert any(said in warning for warning in warnings), warnings
        check_echo(shot, out)
        assert made.health().ready
    note(7, stalled=f"{stalled:.1f} s", tried_again=f"{again:.1f} s")


def test_a_process_is_never_used_again_after_its_device_failed(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=510)
    (tmp_path / "card").mkdir()
    with card(tmp_path / "card") as box:
        box.fails(1)
        done = called(*run_words(shot, tmp_path / "out", box.daemon.address, "--json"))
        assert done.code == 0, done.err
        assert any("illegal memory" in text for text in done.event("done")["warnings"])
        assert len(box.daemon.worker_pids()) == 2
        check_echo(shot, tmp_path / "out")


def test_a_device_that_fails_three_times_is_in_quarantine_and_sighup_ends_it(
    tmp_path: Path,
) -> None:
    shots = [make_shot(tmp_path / f"in{i}", range(1001, 1003), seed=520 + i) for i in range(2)]
    (tmp_path / "card").mkdir()
    with card(tmp_path / "card") as box:
        box.fails(3)
        failed = called(*run_words(shots[0], tmp_path / "out", box.daemon.address, "--json"))
        assert (failed.code, failed.event("error")["code"]) == (4, "job.device")
        assert "3 times" in failed.event("error")["text"]
        going = Going(*run_words(shots[1], tmp_path / "out", box.daemon.address))
        waits = going.until(lambda event: event.get("code") == "daemon.no-device")
        assert waits["state"] == "queued"
        assert "illegal memory access" in waits["text"]
        assert not box.daemon.health().ready
        shown = called("status", "--daemon", box.daemon.address)
        assert "cpu is quarantined: cpu: CUDA error" in shown.err
        assert "daemon.no-device" in shown.out
        assert box.daemon.process
        box.daemon.process.send_signal(signal.SIGHUP)
        done = going.end()
        assert done.code == 0, done.err
        check_echo(shots[1], tmp_path / "out")
        eventually(lambda: box.daemon.health().ready)


def broken(folder: Path) -> str:
    """A path on which OpenEXR cannot be imported."""
    package = folder / "broken" / "OpenEXR"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('broken here')")
    return os.pathsep.join([str(package.parent), environment()["PYTHONPATH"]])


def test_workers_that_cannot_start_leave_the_job_waiting_with_the_reason(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=530)
    with daemon(extra={"PYTHONPATH": broken(tmp_path)}) as made:
        job = made.submit(shot)
        eventually(lambda: made.status(job).code == "daemon.no-device")
        assert made.status(job).state.value == "queued"
        assert "before it was ready" in made.status(job).text
        assert "broken here" in made.log
        assert len(made.worker_pids()) == 3  # and then no more for a while
        told = called("cancel", job, "--daemon", made.address, "--json").events[0]
        assert told["state"] == "cancelled"


TORCH = """
from pathlib import Path


class version:
    cuda = "13.0"


class Tensor:
    def sum(self):
        return self

    def item(self):
        return 2.0


def ones(size, device):
    if Path({gone!r}).exists():
        raise RuntimeError("CUDA error: no CUDA-capable device is detected")
    return Tensor()
"""
"""As much of torch as the check of a card asks for, on a machine without cards."""


def test_a_card_that_is_gone_is_noticed_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.touch()
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text(TORCH.format(gone=str(gone)))
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=550)
    with daemon("--devices", "cuda:0", extra={"PYTHONPATH": path}) as made:
        job = made.submit(shot)
        eventually(lambda: made.status(job).code == "daemon.no-device")
        assert "no CUDA-capable device" in made.status(job).text
        assert not made.health().ready
        starts = len(made.worker_pids())
        gone.unlink()
        assert made.process
        made.process.send_signal(signal.SIGHUP)
        made.wait_for_state(job, "done")
        assert len(made.worker_pids()) == starts + 1
        assert made.health().devices[0].state in ("ready", "busy")


def test_a_command_with_a_daemon_of_its_own_does_not_wait_for_a_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=540)
    custom = tmp_path / "custom"
    custom.mkdir()
    (custom / "sitecustomize.py").write_text(
        "import os, sys\nif 'voidbridge_backend.worker.process' in sys.orig_argv: os._exit(9)\n"
    )
    words = [word for word in run_words(shot, tmp_path / "out", "") if word not in ("--daemon", "")]
    path = os.pathsep.join([str(custom), environment()["PYTHONPATH"]])
    monkeypatch.setattr(
        "voidbridge_stage.environment", lambda: {**environment(), "PYTHONPATH": path}
    )
    done = called(*words, "--spool", tmp_path / "spool", "--devices", "cpu", "--json")
    assert (done.code, done.event("error")["code"]) == (3, "daemon.no-device"), done.err
    assert "code 9" in done.event("error")["text"]


def test_the_port_for_machines_that_watch_tells_alive_from_ready(tmp_path: Path) -> None:
    port = free_ports()

    def code(path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/{path}") as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    extra = {"PYTHONPATH": broken(tmp_path), "VOIDBRIDGE_HTTP_PORT": str(port)}
    with daemon(extra=extra) as made:
        eventually(lambda: not made.health().ready)
        assert (code("live"), code("ready")) == (200, 503)
        made.extra.pop("PYTHONPATH")
        made.terminate()
        made.start()
        eventually(lambda: code("ready") == 200, "readiness")
        assert code("live") == 200


SEEN = """
import os
from pathlib import Path


class version:
    cuda = "13.0"


class Tensor:
    def sum(self):
        return self

    def item(self):
        return 2.0


def ones(size, device):
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    Path({seen!r}, f"{{visible}} {{device}}").touch()
    return Tensor()
"""
"""As much of torch as the check asks for; it notes the cards that the process sees and the one that it uses."""


@pytest.mark.parametrize(("visible", "cards"), [(None, "01"), ("5,3", "53")])
def test_the_process_of_each_of_two_cards_sees_its_own_alone(
    tmp_path: Path, visible: str | None, cards: str
) -> None:
    seen, package = tmp_path / "seen", tmp_path / "torch"
    seen.mkdir()
    package.mkdir()
    (package / "__init__.py").write_text(SEEN.format(seen=str(seen)))
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    extra = {"PYTHONPATH": path, **UNCONFINED}
    if visible:
        extra["CUDA_VISIBLE_DEVICES"] = visible
    with daemon("--devices", "cuda:0,cuda:1", extra=extra) as made:
        eventually(lambda: made.health().ready)
        eventually(lambda: len(list(seen.iterdir())) == 2)
    assert {path.name for path in seen.iterdir()} == {f"{card} cuda:0" for card in cards}
