"""The same trouble many times over, and many at once: with --full as often as docs/reliability.md says."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from voidbridge_figures import Note
from voidbridge_machine import caught, in_time
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import (
    SECONDS,
    UNCONFINED,
    Daemon,
    check_echo,
    daemon,
    environment,
    eventually,
    is_alive,
    leftovers,
)

from voidbridge_backend.daemon.jobs.expiry import HISTORY
from voidbridge_backend.daemon.store.job_table import JobTable, Row
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import TooMany
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request, ResultFile

FRAMES = range(1001, 1003)


@pytest.fixture(scope="module")
def steady() -> Iterator[Daemon]:
    with daemon() as made:
        made.wait_for_worker()
        yield made


def measured(question: Callable[[], object]) -> float:
    """Seconds until the first true answer."""
    began = time.monotonic()
    eventually(question)
    return time.monotonic() - began


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def started(on: Daemon, job: str) -> int:
    return on.log.count(f" started job={job}")


# -- test 1 -----------------------------------------------------------------------------------------


def test_every_killed_worker_is_replaced_and_its_job_ends_once(
    steady: Daemon, tmp_path: Path, full: bool, note: Note
) -> None:
    noticed, ready = [], []
    times = 100 if full else 3
    for turn in range(times):
        shot = make_shot(tmp_path / f"in{turn}", FRAMES, seed=2000 + turn)
        killed = partial(kill_amid, steady, shot)
        job, found, up = caught(killed)
        noticed.append(found)
        ready.append(up)
        status = steady.wait_for_state(job, "done")
        assert (status.attempt, status.ready, started(steady, job)) == (2, len(FRAMES), 2)
        steady.fetch(job, tmp_path / f"out{turn}")
        check_echo(shot, tmp_path / f"out{turn}")
    note(1, kills=times, noticed_s=round(max(noticed), 2), ready_again_s=round(max(ready), 2))
    assert in_time(max(noticed), 2)
    assert in_time(max(ready), 20)


def kill_amid(on: Daemon, shot: Shot, steps: int) -> tuple[str, float, float] | None:
    """Kills the worker of a job; the seconds until that is noticed, and until the next is ready.

    None if the job was done before.
    """
    job = on.submit(shot, steps=2 * steps)
    eventually(lambda: (found := on.status(job)).stage == "removing" or found.state.is_final)
    died, up = on.log.count("worker died"), on.log.count("worker ready")
    os.kill(on.worker_pids()[-1], signal.SIGKILL)
    noticed = measured(lambda: on.log.count("worker died") > died)
    ready = measured(lambda: on.log.count("worker ready") > up)
    assert on.process
    on.process.send_signal(signal.SIGHUP)  # somebody sees to the device
    eventually(lambda: (found := on.status(job)).state.is_final or found.attempt == 2)
    return (job, noticed, ready) if on.status(job).attempt == 2 else None


# -- test 3 -----------------------------------------------------------------------------------------


OTHERS = [state for state in JobState if state is not JobState.RECEIVING]
STATES = [JobState.RECEIVING] * len(OTHERS) + OTHERS


def a_request(number: int) -> Request:
    files = tuple(
        FrameFile(role, 1001, f"{2 * number + i:064x}", 1000)
        for i, role in enumerate(("matte", "plate"))
    )
    return Request(1001, 1001, RemoveSettings(engine="echo"), files)


def test_a_killed_daemon_takes_up_a_full_table_at_once(full: bool, note: Note) -> None:
    """Half of the jobs wait for their files, the others have come to one of the ends."""
    count = 10_000 if full else 2000  # more than a socket's queue holds
    with daemon() as made:
        worker = made.wait_for_worker()
        made.kill()
        orphan = measured(lambda: not is_alive(worker))
        empty = measured_start(made)
        made.kill()
        store = JobTable(made.spool / "jobs.db")
        for number in range(count):
            request, state = a_request(number), STATES[number % len(STATES)]
            row = Row(
                f"{number:024x}", number + 1, "ana", 0, JobState.RECEIVING, 1001, 1001,
                "remove", "echo", used=time.time(),
            )  # fmt: skip
            store.add(row, request.canonical(), [file.sha256 for file in request.files])
            if state is JobState.DONE:
                store.add_result(row.id, ResultFile(1001, "0" * 64, 1000))
            if state is not row.state:
                store.save(replace(row, state=state))
        store.commit()
        store.close()
        filled = measured_start(made)
        found = Counter(job.state for job in made.jobs())
    were = Counter(STATES[number % len(STATES)] for number in range(count))
    # What was being cancelled is now. What ran is queued again; without its files it soon fails. Of jobs that
    # failed or were cancelled, a user's latest are remembered.
    soon = were[JobState.QUEUED] + were[JobState.RUNNING]
    assert 0 < found[JobState.CANCELLED] + found[JobState.FAILED] <= HISTORY + soon
    assert not found[JobState.CANCELLING]
    for state in (JobState.RECEIVING, JobState.DONE):
        assert found[state] == were[state]
    note(
        3,
        jobs=count,
        start_s=round(filled, 2),
        with_an_empty_table_s=round(empty, 2),
        orphan_gone_s=round(orphan, 2),
    )
    assert in_time(orphan, 5)
    assert in_time(filled - empty, 2)


def measured_start(on: Daemon) -> float:
    began = time.monotonic()
    on.start()
    return time.monotonic() - began


# -- test 8 -----------------------------------------------------------------------------------------


def test_a_cancel_at_any_moment_ends_the_right_job_and_soon(
    steady: Daemon, tmp_path: Path, full: bool, note: Note
) -> None:
    chance, seconds = random.Random(8), []
    count, cancelled = 1000 if full else 8, 0
    for turn in range(count):
        shots = [
            make_shot(tmp_path / f"in{turn}{i}", FRAMES, seed=3000 + 2 * turn + i) for i in (0, 1)
        ]
        jobs = [steady.submit(shot, steps=5) for shot in shots]
        threading.Event().wait(chance.random() * 0.5)
        which = chance.randrange(2)
        with Client(steady.address, user="probe", software="test") as client:
            began = time.monotonic()
            client.cancel(jobs[which])
            while not (state := client.status(jobs[which]).state).is_final:
                assert time.monotonic() - began < SECONDS
        seconds.append(time.monotonic() - began)
        assert state.value in ("cancelled", "done")
        cancelled += state.value == "cancelled"
        steady.wait_for_state(jobs[1 - which], "done")
        steady.fetch(jobs[1 - which], tmp_path / f"out{turn}")
        check_echo(shots[1 - which], tmp_path / f"out{turn}")
    assert leftovers(steady.spool) == []
    note(
        8,
        cancels=count,
        ended_before=count - cancelled,
        median_s=round(percentile(seconds, 0.5), 3),
        p99_s=round(percentile(seconds, 0.99), 3),
        slowest_s=round(max(seconds), 3),
    )
    assert in_time(percentile(seconds, 0.5), 0.52)


# -- test 18 ----------------------------------------------------------------------------------------


def test_one_request_from_a_hundred_at_once_is_one_job_and_the_same_bytes_after_a_crash(
    tmp_path: Path, full: bool, note: Note
) -> None:
    count = 100 if full else 20
    shot = make_shot(tmp_path / "in", FRAMES, seed=18)
    with daemon(extra={"VOIDBRIDGE_MAX_CLIENTS": "128"}) as made:
        made.wait_for_worker()
        with ThreadPoolExecutor(count) as crowd:
            jobs = list(crowd.map(lambda _: made.submit(shot), range(count)))
        assert len(set(jobs)) == 1
        made.fetch(jobs[0], tmp_path / "one")
        made.kill()
        made.start()
        made.fetch(jobs[0], tmp_path / "two")
        check_echo(shot, tmp_path / "two")
        for path in (tmp_path / "one").iterdir():
            assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        note(18, submits=count, executions=started(made, jobs[0]))
        assert started(made, jobs[0]) == 1


# -- test 20 ----------------------------------------------------------------------------------------


ASK = """
import sys, threading, time
from voidbridge_protocol.client import Client

over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set())).start()
took = []
with Client(sys.argv[1], user="probe", software="test") as client:
    client.status(sys.argv[2])
    print("asking", flush=True)
    while not over.wait(0.01):
        began = time.monotonic()
        client.status(sys.argv[2])
        took.append(time.monotonic() - began)
print(*took)
"""
"""How long a question takes, asked from a process of its own until its input ends.

It says when it has begun: a few submits can be over before a Python process is up.
"""


def test_a_queue_of_a_thousand_is_kept_in_order_and_answers_stay_quick(
    tmp_path: Path, full: bool, note: Note
) -> None:
    count, clients = 1000 if full else 40, 8
    with daemon(extra={"VOIDBRIDGE_MAX_JOBS": str(count)}) as made:
        made.wait_for_worker()
        long = make_shot(tmp_path / "b", range(1001, 1011), seed=1)
        blocker = made.submit(long, user="other", steps=1000)
        made.wait_for_state(blocker, "running")

        asking = subprocess.Popen(
            [sys.executable, "-c", ASK, made.address, blocker],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert asking.stdout is not None
            assert asking.stdout.readline() == "asking\n"
            with ThreadPoolExecutor(clients) as artists:
                list(artists.map(lambda n: submitted(made, tmp_path, n), range(count)))
        finally:
            told, _ = asking.communicate("", SECONDS)
        latencies = [float(line) for line in told.split()]
        extra = make_shot(tmp_path / "extra", FRAMES, seed=2)
        with pytest.raises(TooMany, match=f"crowd has {count} unfinished jobs"):
            made.submit(extra, user="crowd")
        urgent = made.submit(extra, user="artist", priority=1)
        assert made.status(urgent).ahead == 1  # what runs, and nothing else
        queue = [each.job for each in made.jobs() if each.user == "crowd"]
        assert [made.status(job).ahead for job in queue[:5]] == [2, 3, 4, 5, 6]
        with Client(made.address, user="other", software="test") as client:
            client.cancel(blocker)
        first = queue[:20]
        eventually(lambda: started(made, first[-1]), "twenty jobs")
        lines = [line for line in made.log.splitlines() if " started job=" in line]
        order = [line.split("job=")[1].split()[0] for line in lines]
        assert order[:22] == [blocker, urgent, *first]
    note(
        20,
        submits=count,
        clients=clients,
        status_median_ms=round(1000 * percentile(latencies, 0.5), 1),
        status_p99_ms=round(1000 * percentile(latencies, 0.99), 1),
    )
    assert in_time(percentile(latencies, 0.99), 1)  # of a machine that does all of this at once


def submitted(on: Daemon, folder: Path, number: int) -> str:
    shot = make_shot(folder / str(number), range(1001, 1002), seed=5000 + number)
    return on.submit(shot, user="crowd")


# -- test 21 ----------------------------------------------------------------------------------------


CLOCK = """
import time
from pathlib import Path

OFFSET, real = Path({offset!r}), time.time
time.time = lambda: real() + float(OFFSET.read_text())
"""
"""Python imports a module of the name `sitecustomize` whenever it starts."""


@pytest.mark.parametrize("jump", [3600, -3600, 90 * 86_400])
def test_a_clock_that_jumps_ends_nothing_and_changes_no_order(tmp_path: Path, jump: int) -> None:
    offset = tmp_path / "offset"
    offset.write_text("0")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(CLOCK.format(offset=str(offset)))
    path = os.pathsep.join([str(site), environment()["PYTHONPATH"]])
    shots = [make_shot(tmp_path / f"in{i}", FRAMES, seed=100 * i + jump % 97) for i in range(4)]
    with daemon(extra={"PYTHONPATH": path, **UNCONFINED}) as made:
        made.wait_for_worker()
        jobs = [made.submit(shot, steps=15) for shot in shots[:2]]
        eventually(lambda: started(made, jobs[0]), "the first job")
        (fresh := tmp_path / "fresh").write_text(str(jump))
        fresh.rename(offset)
        jobs += [made.submit(shot, steps=1) for shot in shots[2:]]
        for job, shot in zip(jobs, shots, strict=True):
            made.fetch(job, tmp_path / job)
            check_echo(shot, tmp_path / job)
        assert [job.job for job in made.jobs()] == jobs
        assert [made.status(job).attempt for job in jobs] == [1] * 4
        assert [started(made, job) for job in jobs] == [1] * 4
