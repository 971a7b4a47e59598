"""Real worker processes, told what to do and heard out, on real files."""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from voidbridge_stage import check_echo, is_alive, make_shot

from voidbridge_backend.cli.submission import Assignment
from voidbridge_backend.daemon.workers.supervisor import (
    ASKED_TO_STOP_S,
    AWAY_S,
    Died,
    Said,
    Supervisor,
)
from voidbridge_backend.daemon.workers.watchdog import BACKOFF_S, PROBE_S, Patience
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import VoidbridgeError, WorkerDied, WorkerHung
from voidbridge_protocol.messages import Settings

SECONDS = 30.0
ENDS = {"done", "failed", "cancelled", "died"}


class Crew:
    """One worker and what it said; time is what the test says it is."""

    def __init__(self, folder: Path, patience: Patience | None = None) -> None:
        self.folder = folder
        self.news: queue.SimpleQueue[Said | Died] = queue.SimpleQueue()
        setup = {"models": str(folder), "ocio": ""}
        self.supervisor = Supervisor(("cpu",), setup, self.news.put, patience or Patience())
        self.now = 0.0
        self.supervisor.tick(self.now)
        self.until("ready")

    def until(self, event: str) -> list[dict[str, Any]]:
        """All that is said up to this event; `died` is the end of the process."""
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1]["event"] != event:
            news = self.news.get(timeout=SECONDS)
            if isinstance(news, Said):
                self.supervisor.heard(news.device, news.what, self.now)
            heard.append(
                {"event": "died", "code": news.code} if isinstance(news, Died) else news.what
            )
            assert heard[-1]["event"] == event or heard[-1]["event"] not in ENDS, heard[-1]
        return heard

    def order(self, name: str, steps: int = 0) -> tuple[dict[str, str], Any]:
        """A job with its files where the spool would have them."""
        shot = make_shot(self.folder / name, range(1001, 1004))
        assignment = Assignment(
            Sequence.parse(shot.plate),
            Sequence.parse(shot.matte),
            None,
            None,
            0,
            Settings(engine="echo", steps=steps, grow=0, soften=0),
        )
        task = assignment.task(lambda frame: Path(), lambda done, of: None, lambda: False)
        objects = self.folder / f"{name} objects"
        for file, path in zip(task.request.files, task.sources, strict=True):
            place = objects / file.sha256
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
        folder = self.folder / f"{name} job"
        folder.mkdir(exist_ok=True)
        (folder / "request.json").write_bytes(task.request.canonical())
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
        return self.supervisor.lost("cpu", self.until("died")[-1]["code"], self.now)

    def pass_by(self, seconds: float) -> None:
        """Time passes, under the eyes of the supervisor."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + AWAY_S / 2, until)
            self.supervisor.tick(self.now)

    def pid(self) -> int:
        return self.supervisor.pids()["cpu"]


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    made = Crew(tmp_path_factory.mktemp("crew"))
    yield made
    made.supervisor.stop(patience_s=5.0)


def results(heard: list[dict[str, Any]]) -> list[int]:
    return sorted(what["frame"] for what in heard if what["event"] == "result")


def test_a_job_is_run_and_each_result_announced(crew: Crew) -> None:
    order, shot = crew.order("plain")
    crew.run(order)
    assert results(crew.until("done")) == [1001, 1002, 1003]
    folder = Path(order["folder"])
    assert {path.name for path in folder.iterdir()} == {
        "1001.exr", "1002.exr", "1003.exr", "provenance.json", "request.json",
    }  # fmt: skip
    for frame in shot.frames:
        (folder / f"{frame}.exr").rename(folder / f"r.{frame}.exr")
    check_echo(shot, folder)


def test_a_cancel_is_heard_in_the_middle_of_a_job(crew: Crew) -> None:
    order, _ = crew.order("long", steps=500)
    worker = crew.pid()
    crew.run(order)
    crew.until("progress")
    crew.supervisor.interrupt("cpu", "long", 0.0)
    crew.until("cancelled")
    crew.supervisor.let_go("cpu", 0.0)
    crew.supervisor.tick(2 * ASKED_TO_STOP_S)  # it stopped by itself: nothing to kill it for
    assert crew.pid() == worker
    assert is_alive(worker)


def test_a_cancel_that_came_too_late_is_not_meant_for_the_next_run(crew: Crew) -> None:
    late, between = crew.order("late")[0], crew.order("between")[0]
    for order in (late, between):  # after the second the first is over for the worker too
        crew.run(order)
        crew.until("done")
    crew.supervisor.interrupt("cpu", "late", 0.0)
    crew.supervisor.let_go("cpu", 0.0)
    crew.run(late)
    assert crew.until("done")[-1]["event"] == "done"


def test_a_bad_file_is_one_jobs_failure_and_names_the_frame(crew: Crew) -> None:
    order, shot = crew.order("bad")
    worker = crew.pid()
    for path in Path(order["objects"]).rglob("*"):
        if path.is_file() and path.read_bytes() == shot.file("plate", 1002).read_bytes():
            path.write_bytes(b"noise" * 100)
    crew.run(order)
    failed = crew.until("failed")[-1]
    assert failed["code"] == "request.unreadable"
    assert "plate frame 1002" in failed["text"]
    assert failed["hint"]
    good, _ = crew.order("good")
    crew.run(good)
    crew.until("done")
    assert crew.pid() == worker


def test_a_worker_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    crew = Crew(tmp_path)
    order, _ = crew.order("hung", steps=500)
    crew.run(order)
    crew.until("progress")
    os.kill(crew.pid(), signal.SIGSTOP)
    crew.supervisor.interrupt("cpu", "hung", 100.0)
    crew.now = 100.0
    crew.pass_by(ASKED_TO_STOP_S - 0.1)
    assert is_alive(crew.pid())
    crew.pass_by(0.2)
    assert isinstance(crew.lost(), WorkerDied)
    (post,) = crew.supervisor.posts(crew.now)
    assert post.state == "resting"  # it was told to go: nobody is to blame
    crew.supervisor.stop(patience_s=1.0)


def test_each_death_in_a_row_makes_the_next_start_later_and_the_third_is_one_too_many(
    tmp_path: Path,
) -> None:
    crew = Crew(tmp_path)
    for pause in BACKOFF_S[:2]:
        os.kill(crew.pid(), signal.SIGKILL)
        assert "SIGKILL" in crew.lost().text
        crew.pass_by(pause - 0.01)
        assert crew.supervisor.pids() == {}
        crew.pass_by(0.02)
        crew.until("ready")
    os.kill(crew.pid(), signal.SIGKILL)
    crew.lost()
    crew.pass_by(PROBE_S - 1)
    assert crew.supervisor.pids() == {}
    (post,) = crew.supervisor.posts(crew.now)
    assert (post.state, post.why) == ("quarantined", "the worker ended by SIGKILL")
    crew.pass_by(2)
    crew.until("ready")
    assert crew.supervisor.posts(crew.now)[0].state == "ready"
    os.kill(crew.pid(), signal.SIGKILL)  # on probation: once is enough
    crew.lost()
    assert crew.supervisor.posts(crew.now)[0].state == "quarantined"
    crew.supervisor.pardon()
    crew.pass_by(0.1)
    crew.until("ready")
    assert crew.supervisor.starts == 5
    worker = crew.pid()
    crew.supervisor.stop(patience_s=5.0)
    assert not is_alive(worker)


def test_a_worker_whose_engine_takes_no_step_is_killed_though_its_process_lives(
    tmp_path: Path,
) -> None:
    crew = Crew(tmp_path, Patience(step=30))
    crew.pass_by(1000)  # it has nothing to do: no silence is too long
    order, _ = crew.order("stuck", steps=500)
    crew.run(order)
    while (last := crew.until("progress")[-1])["stage"] != "removing" or last["step"] < 40:
        continue  # until its pace is known it has longer
    os.kill(crew.pid(), signal.SIGSTOP)
    while not crew.news.empty():
        crew.until("progress")
    crew.pass_by(29.9)
    (post,) = crew.supervisor.posts(crew.now)
    assert (post.state, round(post.silence)) == ("stalled", 30)
    crew.pass_by(0.2)
    cause = crew.lost()
    assert isinstance(cause, WorkerHung)
    assert "no step for 30 s while removing" in cause.text
    crew.supervisor.stop(patience_s=1.0)


def test_a_daemon_that_was_stopped_itself_does_not_blame_its_worker(tmp_path: Path) -> None:
    crew = Crew(tmp_path, Patience(step=30))
    order, _ = crew.order("long", steps=500)
    crew.run(order)
    crew.until("progress")
    crew.now += 3600
    crew.supervisor.tick(crew.now)
    assert is_alive(crew.pid())
    (post,) = crew.supervisor.posts(crew.now)
    assert post.silence == 0
    crew.supervisor.stop(patience_s=5.0)


def test_an_engine_is_loaded_before_its_job_is_there(tmp_path: Path) -> None:
    crew = Crew(tmp_path)
    crew.supervisor.prepare("cpu", "echo")
    assert crew.until("progress")[-1]["stage"] == "loading the engine"
    (post,) = crew.supervisor.posts(crew.now)
    assert (post.state, post.stage) == ("busy", "loading the engine")
    crew.until("prepared")
    assert crew.supervisor.posts(crew.now)[0].state == "ready"
    crew.supervisor.prepare("cpu", "echo")  # once is enough
    order, _ = crew.order("first")
    crew.run(order)
    stages = [what["stage"] for what in crew.until("done") if what["event"] == "progress"]
    assert "loading the engine" not in stages
    crew.supervisor.stop(patience_s=5.0)


def test_a_job_that_finds_its_engine_half_loaded_waits_for_it(tmp_path: Path) -> None:
    crew = Crew(tmp_path, Patience(load=1800, first=300))
    crew.supervisor.prepare("cpu", "echo")
    crew.until("progress")
    order, _ = crew.order("early")
    crew.run(order)
    (post,) = crew.supervisor.posts(crew.now)
    assert (post.state, post.stage) == ("busy", "loading the engine")
    crew.pass_by(1000)  # on a slow disk
    assert is_alive(crew.pid())
    crew.until("prepared")
    assert crew.supervisor.posts(crew.now)[0].stage == "beginning"
    crew.until("done")
    crew.supervisor.stop(patience_s=5.0)


def test_what_is_wrong_with_an_engine_is_left_to_its_job(tmp_path: Path) -> None:
    crew = Crew(tmp_path)
    crew.supervisor.prepare("cpu", "no such engine")
    order, _ = crew.order("waits")
    crew.run(order)  # it has a job by the time that the worker gives up
    crew.until("prepared")
    (post,) = crew.supervisor.posts(crew.now)
    assert (post.state, post.stage) == ("busy", "beginning")
    crew.until("done")
    crew.supervisor.stop(patience_s=5.0)


def test_stopping_ends_a_job_at_its_next_step(crew: Crew, tmp_path: Path) -> None:
    crew = Crew(tmp_path)
    order, _ = crew.order("last", steps=500)
    crew.run(order)
    crew.until("progress")
    worker, began = crew.pid(), time.monotonic()
    crew.supervisor.stop(patience_s=SECONDS)
    assert time.monotonic() - began < SECONDS / 3
    assert not is_alive(worker)
    crew.until("cancelled")
    crew.until("died")
