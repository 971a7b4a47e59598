"""kill -9 at every step of a job, from the first word of its client to the record beside its last frame.

Each point is a call of the disk, the table, the wire or a pipe in a real process (`ending/sitecustomize.py`). The
killed process is started again; then nothing is lost, doubled or half-written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from voidbridge_shots import Shot, channels_of, echoed, make_shot, same_bits
from voidbridge_stage import (
    SECONDS,
    UNCONFINED,
    Daemon,
    Going,
    check_echo,
    daemon,
    environment,
    eventually,
    is_alive,
    leftovers,
    run_words,
)

ENDING = Path(__file__).parent / "ending"
FRAMES = range(1001, 1003)

POINTS = """
client before say hello
client after say hello
daemon after hear hello
daemon after say welcome
client after hear welcome
client after say submit
daemon after hear submit
daemon before table job
daemon after table job
daemon after table commit
daemon after say accepted
client after hear accepted
client after say join-bulk
daemon after hear join-bulk
daemon after say credit
client before say put
client after say put
client after say put 3
daemon after hear put
daemon half write part
daemon half write part 2
daemon before fsync part
daemon after fsync part
daemon after make drawer
daemon before rename object
daemon after rename object
daemon after rename object 3
daemon after fsync drawer
daemon before order prepare
daemon after order prepare
worker before tell prepared
worker after tell prepared
daemon after handle prepared
daemon before say got
daemon after say got
client after hear got
client after hear got 2
daemon before table queued
daemon after table queued
daemon before table running
daemon after table running
daemon after make job folder
daemon after make work folder
daemon after open request
daemon half write request
daemon before order run
daemon after order run
worker after tell progress
worker half tell progress
daemon after handle progress
worker after open result
worker half write result
worker half write result 1
worker before fsync result
worker after fsync result
worker before rename result
worker after rename result
worker after rename result 1
worker half tell result
worker after tell result
daemon after handle result
daemon before rename result
daemon after rename result
daemon after rename result 1
daemon before table result
daemon after table result
daemon after table result 1
daemon after say ready
client after hear ready
client before open frame
client after open frame
client after say get
daemon after hear get
daemon before say chunk
daemon after say chunk
client after hear chunk
client half write frame
client before fsync frame
client after fsync frame
client before rename frame
client after rename frame
client after rename frame 1
worker after open provenance
worker half write provenance
worker before rename provenance
worker after rename provenance
worker half tell done
worker after tell done
daemon after handle done
daemon before rename provenance
daemon after rename provenance
daemon before table done
daemon after table done
client after say query
client after say get-provenance
daemon after hear get-provenance
daemon after say provenance
client after hear provenance
client after say fetched
daemon after hear fetched
daemon before table fetched
daemon after table fetched
daemon after say fetched
client after hear fetched
client half write record
client after fsync record
client before rename record
client after rename record
"""

IMPORTED = """
client before say import-file
client after say import-file
client after say import-file 2
daemon after hear import-file
daemon after hear import-file 3
daemon half write part
daemon half write part 2
daemon before fsync part
daemon after fsync part 1
daemon before rename object
daemon after rename object
daemon after rename object 3
daemon before say got
daemon after say got
client after hear got
client after hear got 2
"""
"""Where the frames lie on a disk that the daemon sees as well."""

NOT_YET_THERE = ("hear hello", "say welcome")
"""A client that was never let in is told so at once, and nothing was promised to it: it is started again."""
IN_SHORT = 8
"""Without --full every so manyth point is tried."""


@dataclass(frozen=True)
class Point:
    """Where a process ends, and how many times it gets there unharmed before."""

    who: str
    when: str
    what: str
    let_pass: int

    @classmethod
    def of(cls, line: str) -> Point:
        who, when, *what = line.split()
        let_pass = int(what.pop()) if what[-1].isdigit() else 0
        return cls(who, when, " ".join(what), let_pass)

    def plan(self, path: Path, seed: int) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(f"{self.who} {self.when} {self.what}\n{self.let_pass}\n{seed}")
        fresh.rename(path)


CASES = [("sent", line) for line in POINTS.strip().splitlines()]
CASES += [("imported", line) for line in IMPORTED.strip().splitlines()]


@dataclass
class Theater:
    """A daemon whose processes, and whose clients, end where `plan` says."""

    daemon: Daemon
    plan: Path
    words: dict[str, str]
    """For the environment of clients."""

    @property
    def was_hit(self) -> bool:
        return self.plan.with_name("plan.hit").exists()


def theater(folder: Path, shared: str) -> Iterator[Theater]:
    plan = folder / "plan"
    path = os.pathsep.join([str(ENDING), environment()["PYTHONPATH"]])
    words = {"CRASH_PLAN": str(plan), "PYTHONPATH": path, **UNCONFINED}
    with daemon("--shares", shared, extra=words) as made:
        yield Theater(made, plan, words)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theater]:
    yield from theater(tmp_path_factory.mktemp("plan"), "")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theater]:
    shared = str(tmp_path_factory.getbasetemp())
    yield from theater(tmp_path_factory.mktemp("plan"), shared)


def test_there_are_fifty_points_and_each_has_its_own_name() -> None:
    assert len(set(CASES)) == len(CASES) >= 50


@pytest.mark.parametrize(("way", "line"), CASES)
def test_kill_9(
    way: str, line: str, tmp_path: Path, full: bool, request: pytest.FixtureRequest
) -> None:
    number = CASES.index((way, line))
    if not full and number % IN_SHORT:
        pytest.skip("one in eight without --full")
    on: Theater = request.getfixturevalue(way)  # a test that is skipped starts no daemon
    point = Point.of(line)
    made = on.daemon
    shot = make_shot(tmp_path / "in", FRAMES, seed=1000 + number)
    assert made.process
    made.process.send_signal(signal.SIGHUP)  # no device is given up for all that dies here
    before = {job.job for job in made.jobs()}
    on.plan.with_name("plan.hit").unlink(missing_ok=True)
    if "prepare" in point.what:  # once in the life of a worker
        old = eventually(lambda: next(filter(is_alive, made.worker_pids()[-1:]), 0), "a worker")
        ready = made.log.count("worker ready")
        os.kill(old, signal.SIGKILL)
        eventually(lambda: made.log.count("worker ready") > ready, "another worker")
    # A drawer is made once a user.
    words = run_words(shot, tmp_path / "out", made.address, "--user", f"user {number}")
    point.plan(on.plan, number)
    try:
        going = Going(*words, extra=on.words)
        killed = made.process if point.who == "daemon" else going.process
        if point.who == "worker":
            eventually(lambda: on.was_hit, f"{line} to be reached")
        else:
            assert killed
            assert killed.wait(SECONDS) == -signal.SIGKILL, made.log
            assert on.was_hit
    finally:
        on.plan.unlink(missing_ok=True)
    whole = nothing_half(made.spool, shot, tmp_path / "out")
    if point.who == "daemon":
        assert table_of(made.spool, tmp_path / "copy")
        made.start()
    elif point.who == "client":
        going.end()
        going = Going(*words, extra=on.words)
    done = going.end()
    if point.what in NOT_YET_THERE and done.code == 3:
        done = Going(*words, extra=on.words).end()
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.json")] == [
        "r.1001-1002.voidbridge.json"
    ]
    job = done.event("done")["job"]
    # One job, each result once, nothing left of what was under way.
    assert [each.job for each in made.jobs() if each.job not in before] == [job]
    status = made.status(job)
    assert (status.state.value, status.ready) == ("done", len(FRAMES))
    assert not list((made.spool / "parts").iterdir())
    assert leftovers(made.spool) == []
    started = [text for text in made.log.splitlines() if f" started job={job}" in text]
    assert len(started) <= (1 if point.who == "client" else 2)
    assert status.attempt <= 2
    # What was whole when it happened is still the same file: it was sent, and fetched, once.
    assert {path: stamp(path) for path in whole} == whole
    if point.who == "client":
        drawer = made.spool / "objects" / hashlib.sha256(f"user {number}".encode()).hexdigest()[:16]
        lacked = shot.size() - sum(path.stat().st_size for path in whole if path.parent == drawer)
        assert done.event("done")["uploaded"] <= lacked
    if way == "imported":
        assert done.event("done")["uploaded"] == 0
    assert made.submit(shot, user=f"user {number}") == job
    assert len([t for t in made.log.splitlines() if f" started job={job}" in t]) == len(started)


def stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def nothing_half(spool: Path, shot: Shot, out: Path) -> dict[Path, tuple[int, int]]:
    """Every file that has its final name now, right after the kill, is whole; which those are."""
    whole: dict[Path, tuple[int, int]] = {}
    for path in (spool / "objects").glob("*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        whole[path] = stamp(path)
    for path in out.glob("*.exr"):
        check_result(shot, int(path.name.split(".")[1]), path)
        whole[path] = stamp(path)
    for path in (spool / "jobs").glob("*/*.exr"):
        assert channels_of(path)  # of this shot or of one before; a second attempt makes it again
    return whole


def check_result(shot: Shot, frame: int, path: Path) -> None:
    hole = channels_of(shot.file("matte", frame))["A"] > 0
    result = channels_of(path)
    for name, samples in channels_of(shot.file("plate", frame)).items():
        assert same_bits(result[name], echoed(samples, hole)), (path, name)


def table_of(spool: Path, copy: Path) -> bool:
    """Whether the table that a killed daemon left is sound."""
    copy.mkdir()
    for path in spool.glob("jobs.db*"):
        shutil.copy(path, copy)
    with sqlite3.connect(copy / "jobs.db") as db:
        found = db.execute("PRAGMA integrity_check").fetchall()
    db.close()
    return found == [("ok",)]
