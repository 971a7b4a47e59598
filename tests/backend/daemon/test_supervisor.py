"""Real worker processes, told what to do and heard out, on real files."""

from __future__ import annotations

import hashlib
import os
import queue
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voidbridge_shots import make_shot
from voidbridge_stage import SECONDS, check_echo, is_alive

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.daemon.workers.supervisor import (
    ASKED_TO_STOP_S,
    AWAY_S,
    Supervisor,
    WorkerEvent,
    WorkerExit,
)
from voidbridge_backend.daemon.workers.watchdog import BACKOFF_S, PROBE_S, Timeouts
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import VoidbridgeError, WorkerDied, WorkerHung
from voidbridge_protocol.operations.remove import RemoveSettings

NOISE = b"noise" * 100
ENDS = {"done", "failed", "cancelled", "died"}


class Workers:
    """One worker and what it said; time is what the test says it is."""

    def __init__(self, folder: Path, patience: Timeouts | None = None) -> None:
        self.folder = folder
        self.news: queue.SimpleQueue[WorkerEvent | WorkerExit] = queue.SimpleQueue()
        setup = {"models": str(folder), "ocio": "", "spool": str(folder), "sandbox": "off"}
        self.supervisor = Supervisor(("cpu",), setup, self.news.put, patience or Timeouts())
        self.now = 0.0
        self.supervisor.tick(self.now)
        self.until("ready")

    def until(self, event: str) -> list[dict[str, Any]]:
        """All that is said up to this event; `died` is the end of the process."""
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1]["event"] != event:
            news = self.news.get(timeout=SECONDS)
            if isinstance(news, WorkerEvent):
                self.supervisor.received(news.device, news.fields, self.now)
            heard.append(
                {"event": "died", "code": news.code}
                if isinstance(news, WorkerExit)
                else news.fields
            )
            assert heard[-1]["event"] == event or heard[-1]["event"] not in ENDS, heard[-1]
        return heard

    def order(
        self, name: str, steps: int = 0, noise: int | None = None
    ) -> tuple[dict[str, str], Any]:
        """A job with its files where the spool would have them; the plate of frame `noise` is no picture."""
        shot = make_shot(self.folder / name, range(1001, 1004))
        assignment = Submission(
            {"plate": Sequence.parse(shot.plate), "matte": Sequence.parse(shot.matte)},
            RemoveSettings(engine="echo", steps=steps, grow=0, soften=0),
        )
        task = assignment.task(lambda frame: Path(), lambda done, of: None, lambda: False)
        objects = self.folder / f"{name} objects"
        for file, path in zip(task.request.files, task.sources, strict=True):
            place = objects / file.sha256
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
        folder = self.folder / f"{name} job"
        folder.mkdir(exist_ok=True)
        request = task.request
        if noise is not None:
            sha256 = hashlib.sha256(NOISE).hexdigest()
            (objects / sha256).write_bytes(NOISE)
            files = [
                replace(file, sha256=sha256, size=len(NOISE))
                if (file.role, file.frame) == ("plate", noise)
                else file
                for file in request.files
            ]
            request = replace(request, files=tuple(files))
        (folder / "request.json").write_bytes(request.canonical())
        order = {
            "job": name,
            "request": str(folder / "request.json"),
            "objects": str(objects),
            "folder": str(folder),
        }
        return order, shot

    def run(self, order: dict[str, str]) -> None:
        self.supervisor.run("cpu", order["job"], order, self.now)

    def lost(self) -> VoidbridgeError:
        """The worker dies, if it has not; what of."""
        return self.supervisor.exited("cpu", self.until("died")[-1]["code"], self.now)

    def pass_by(self, seconds: float) -> None:
        """Time passes, under the eyes of the supervisor."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + AWAY_S / 2, until)
            self.supervisor.tick(self.now)

    def pid(self) -> int:
        return self.supervisor.pids()["cpu"]


@pytest.fixture(scope="module")
def worker_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    made = Workers(tmp_path_factory.mktemp("workers"))
    yield made
    made.supervisor.stop(patience_s=5.0)


def results(heard: list[dict[str, Any]]) -> list[int]:
    return sorted(what["frame"] for what in heard if what["event"] == "result")


def test_a_job_is_run_and_each_result_announced(worker_pool: Workers) -> None:
    order, shot = worker_pool.order("plain")
    worker_pool.run(order)
    assert results(worker_pool.until("done")) == [1001, 1002, 1003]
    folder = Path(order["folder"])
    assert {path.name for path in folder.iterdir()} == {
        "1001.exr", "1002.exr", "1003.exr", "provenance.json", "request.json",
    }  # fmt: skip
    for frame in shot.frames:
        (folder / f"{frame}.exr").rename(folder / f"r.{frame}.exr")
    check_echo(shot, folder)


def test_a_cancel_is_heard_in_the_middle_of_a_job(worker_pool: Workers) -> None:
    order, _ = worker_pool.order("long", steps=500)
    worker = worker_pool.pid()
    worker_pool.run(order)
    worker_pool.until("progress")
    worker_pool.supervisor.interrupt("cpu", "long", 0.0)
    worker_pool.until("cancelled")
    worker_pool.supervisor.release("cpu", 0.0)
    worker_pool.supervisor.tick(2 * ASKED_TO_STOP_S)  # it stopped by itself: nothing to kill it for
    assert worker_pool.pid() == worker
    assert is_alive(worker)


def test_a_cancel_that_came_too_late_is_not_meant_for_the_next_run(worker_pool: Workers) -> None:
    late, between = worker_pool.order("late")[0], worker_pool.order("between")[0]
    for order in (late, between):  # after the second the first is over for the worker too
        worker_pool.run(order)
        worker_pool.until("done")
    worker_pool.supervisor.interrupt("cpu", "late", 0.0)
    worker_pool.supervisor.release("cpu", 0.0)
    worker_pool.run(late)
    assert worker_pool.until("done")[-1]["event"] == "done"


def test_a_bad_file_is_one_jobs_failure_and_names_the_frame(worker_pool: Workers) -> None:
    order, _ = worker_pool.order("bad", noise=1002)
    worker = worker_pool.pid()
    worker_pool.run(order)
    failed = worker_pool.until("failed")[-1]
    assert failed["code"] == "request.unreadable"
    assert "plate frame 1002" in failed["text"]
    assert failed["hint"]
    good, _ = worker_pool.order("good")
    worker_pool.run(good)
    worker_pool.until("done")
    assert worker_pool.pid() == worker


def test_a_worker_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    worker_pool = Workers(tmp_path)
    order, _ = worker_pool.order("hung", steps=500)
    worker_pool.run(order)
    worker_pool.until("progress")
    os.kill(worker_pool.pid(), signal.SIGSTOP)
    worker_pool.supervisor.interrupt("cpu", "hung", 100.0)
    worker_pool.now = 100.0
    worker_pool.pass_by(ASKED_TO_STOP_S - 0.1)
    assert is_alive(worker_pool.pid())
    worker_pool.pass_by(0.2)
    assert isinstance(worker_pool.lost(), WorkerDied)
    (post,) = worker_pool.supervisor.device_statuses(worker_pool.now)
    assert post.state == "resting"  # it was told to go: nobody is to blame
    worker_pool.supervisor.stop(patience_s=1.0)


def test_each_death_in_a_row_makes_the_next_start_later_and_the_third_is_one_too_many(
    tmp_path: Path,
) -> None:
    worker_pool = Workers(tmp_path)
    for pause in BACKOFF_S[:2]:
        os.kill(worker_pool.pid(), signal.SIGKILL)
        assert "SIGKILL" in worker_pool.lost().text
        worker_pool.pass_by(pause - 0.01)
        assert worker_pool.supervisor.pids() == {}
        worker_pool.pass_by(0.02)
        worker_pool.until("ready")
    os.kill(worker_pool.pid(), signal.SIGKILL)
    worker_pool.lost()
    worker_pool.pass_by(PROBE_S - 1)
    assert worker_pool.supervisor.pids() == {}
    (post,) = worker_pool.supervisor.device_statuses(worker_pool.now)
    assert (post.state, post.why) == ("quarantined", "the worker ended by SIGKILL")
    worker_pool.pass_by(2)
    worker_pool.until("ready")
    assert worker_pool.supervisor.device_statuses(worker_pool.now)[0].state == "ready"
    os.kill(worker_pool.pid(), signal.SIGKILL)  # on probation: once is enough
    worker_pool.lost()
    assert worker_pool.supervisor.device_statuses(worker_pool.now)[0].state == "quarantined"
    worker_pool.supervisor.reset_quarantine()
    worker_pool.pass_by(0.1)
    worker_pool.until("ready")
    assert worker_pool.supervisor.starts == 5
    worker = worker_pool.pid()
    worker_pool.supervisor.stop(patience_s=5.0)
    assert not is_alive(worker)


def test_a_worker_whose_engine_takes_no_step_is_killed_though_its_process_lives(
    tmp_path: Path,
) -> None:
    worker_pool = Workers(tmp_path, Timeouts(step=30))
    worker_pool.pass_by(1000)  # it has nothing to do: no silence is too long
    order, _ = worker_pool.order("stuck", steps=500)
    worker_pool.run(order)
    while (last := worker_pool.until("progress")[-1])["stage"] != "removing" or last["step"] < 40:
        continue  # until its pace is known it has longer
    os.kill(worker_pool.pid(), signal.SIGSTOP)
    while not worker_pool.news.empty():
        worker_pool.until("progress")
    worker_pool.pass_by(29.9)
    (post,) = worker_pool.supervisor.device_statuses(worker_pool.now)
    assert (post.state, round(post.silence)) == ("stalled", 30)
    worker_pool.pass_by(0.2)
    cause = worker_pool.lost()
    assert isinstance(cause, WorkerHung)
    assert "no step for 30 s while removing" in cause.text
    worker_pool.supervisor.stop(patience_s=1.0)


def test_a_daemon_that_was_stopped_itself_does_not_blame_its_worker(tmp_path: Path) -> None:
    worker_pool = Workers(tmp_path, Timeouts(step=30))
    order, _ = worker_pool.order("long", steps=500)
    worker_pool.run(order)
    worker_pool.until("progress")
    worker_pool.now += 3600
    worker_pool.supervisor.tick(worker_pool.now)
    assert is_alive(worker_pool.pid())
    (post,) = worker_pool.supervisor.device_statuses(worker_pool.now)
    assert post.silence == 0
    worker_pool.supervisor.stop(patience_s=5.0)


def test_an_engine_is_loaded_before_its_job_is_there(tmp_path: Path) -> None:
    worker_pool = Workers(tmp_path)
    worker_pool.supervisor.prepare("cpu", "remove", "echo")
    assert worker_pool.until("progress")[-1]["stage"] == "loading the engine"
    (post,) = worker_pool.supervisor.device_statuses(worker_pool.now)
    assert (post.state, post.stage) == ("busy", "loading the engine")
    worker_pool.until("prepared")
    assert worker_pool.supervisor.device_statuses(worker_pool.now)[0].state == "ready"
    worker_pool.supervisor.prepare("cpu", "remove", "echo")  # once is enough
    order, _ = worker_pool.order("first")
    worker_pool.run(order)
    stages = [what["stage"] for what in worker_pool.until("done") if what["event"] == "progress"]
    assert "loading the engine" not in stages
    worker_pool.supervisor.stop(patience_s=5.0)


def test_a_job_that_finds_its_engine_half_loaded_waits_for_it(tmp_path: Path) -> None:
    worker_pool = Workers(tmp_path, Timeouts(load=1800, first=300))
    worker_pool.supervisor.prepare("cpu", "remove", "echo")
    worker_pool.until("progress")
    order, _ = worker_pool.order("early")
    worker_pool.run(order)
    (post,) = worker_pool.supervisor.device_statuses(worker_pool.now)
    assert (post.state, post.stage) == ("busy", "loading the engine")
    worker_pool.pass_by(1000)  # on a slow disk
    assert is_alive(worker_pool.pid())
    worker_pool.until("prepared")
    assert worker_pool.supervisor.device_statuses(worker_pool.now)[0].stage == "beginning"
    worker_pool.until("done")
    worker_pool.supervisor.stop(patience_s=5.0)


def test_what_is_wrong_with_an_engine_is_left_to_its_job(tmp_path: Path) -> None:
    worker_pool = Workers(tmp_path)
    worker_pool.supervisor.prepare("cpu", "remove", "no such engine")
    order, _ = worker_pool.order("waits")
    worker_pool.run(order)  # it has a job by the time that the worker gives up
    worker_pool.until("prepared")
    (post,) = worker_pool.supervisor.device_statuses(worker_pool.now)
    assert (post.state, post.stage) == ("busy", "beginning")
    worker_pool.until("done")
    worker_pool.supervisor.stop(patience_s=5.0)


def test_stopping_ends_a_job_at_its_next_step(worker_pool: Workers, tmp_path: Path) -> None:
    worker_pool = Workers(tmp_path)
    order, _ = worker_pool.order("last", steps=1000)
    worker_pool.run(order)
    worker_pool.until("progress")
    worker, began = worker_pool.pid(), time.monotonic()
    worker_pool.supervisor.stop(patience_s=SECONDS)
    assert time.monotonic() - began < SECONDS / 3
    assert not is_alive(worker)
    worker_pool.until("cancelled")
    worker_pool.until("died")
