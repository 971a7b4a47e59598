"""kill -9 of a worker, a client, a daemon, in the middle of things; and SIGTERM, which is kinder."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from voidbridge_machine import caught, in_time
from voidbridge_relay import Net, relayed_daemon
from voidbridge_shots import make_shot
from voidbridge_stage import (
    SECONDS,
    Daemon,
    Going,
    called,
    check_echo,
    daemon,
    eventually,
    is_alive,
    run_words,
)


def in_spool(on: Daemon) -> int:
    """Bytes of files in the daemon's spool, whole or not."""
    folders = (on.spool / "objects", on.spool / "parts")
    return sum(p.stat().st_size for folder in folders for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def steady() -> Iterator[Daemon]:
    """A daemon whose worker is killed now and then."""
    with daemon() as made:
        yield made


@pytest.fixture
def behind_relay() -> Iterator[Net]:
    with relayed_daemon("--window-mb", 2) as made:
        yield made


# -- the worker -------------------------------------------------------------------------------------


def test_a_job_whose_worker_is_killed_is_run_again(steady: Daemon, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1006), seed=1)

    def killed(steps: int) -> bool | None:
        """Whether the job went on; None if the worker had done it before."""
        worker, out = steady.wait_for_worker(), tmp_path / f"out {steps}"
        going = Going(*run_words(shot, out, steady.address, "--steps", steps))
        # With the first result made, so that the second try finds something there.
        going.until(lambda event: event["event"] == "frame")
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: not is_alive(worker), "the end of the worker")
        assert steady.process
        steady.process.send_signal(signal.SIGHUP)  # no device is given up for all that dies here
        done = going.end()
        assert done.code == 0, done.err
        assert sorted(e["frame"] for e in done.events if e["event"] == "frame") == list(shot.frames)
        check_echo(shot, out)
        return True if any(event.get("attempt") == 2 for event in done.events) else None

    assert caught(killed)
    assert {job.state.value for job in steady.jobs()} == {"done"}


def test_an_idle_worker_that_is_killed_is_started_again(steady: Daemon, tmp_path: Path) -> None:
    worker = steady.wait_for_worker()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: steady.worker_pids()[-1] != worker)
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=2)
    assert called(*run_words(shot, tmp_path / "out", steady.address)).code == 0
    check_echo(shot, tmp_path / "out")


def test_a_hung_worker_is_killed_when_its_job_is_cancelled(steady: Daemon, tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=3)
    worker = steady.wait_for_worker()
    going = Going(*run_words(shot, tmp_path / "out", steady.address, "--steps", 500))
    going.until(lambda event: event.get("stage") == "removing")
    os.kill(worker, signal.SIGSTOP)
    done, _ = going.interrupt()
    assert done.code == 5
    steady.wait_for_state(going.events[1]["job"], "cancelled")
    assert not is_alive(worker)
    assert called(*run_words(shot, tmp_path / "two", steady.address)).code == 0
    check_echo(shot, tmp_path / "two")


def test_a_job_that_kills_three_workers_has_failed_and_the_next_one_runs(tmp_path: Path) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1003), seed=4)
    with daemon() as made:
        going = Going(*run_words(shot, tmp_path / "out", made.address, "--steps", 500))
        for attempt in (1, 2, 3):
            going.until(
                lambda event, attempt=attempt: (
                    event.get("attempt") == attempt and event.get("stage") == "removing"
                )
            )
            os.kill(made.wait_for_worker(), signal.SIGKILL)
        done = going.end()
        assert (done.code, done.event("error")["code"]) == (4, "job.worker-died"), done.err
        assert "3 times" in done.event("error")["text"]
        assert called(*run_words(shot, tmp_path / "two", made.address)).code == 0
        check_echo(shot, tmp_path / "two")


# -- the daemon -------------------------------------------------------------------------------------


def test_a_client_sits_out_the_death_of_its_daemon_in_the_middle_of_a_job(tmp_path: Path) -> None:
    def sat_out(steps: int) -> bool | None:
        """Whether the job went on; None if the client had all of it before."""
        shot = make_shot(tmp_path / f"in {steps}", range(1001, 1005), seed=steps)
        worker, out = made.wait_for_worker(), tmp_path / f"out {steps}"
        user = ("--user", f"user {steps}")  # who has sent nothing yet
        going = Going(*run_words(shot, out, made.address, "--steps", steps, *user))
        going.until(lambda event: event["event"] == "frame")
        made.kill()
        eventually(lambda: not is_alive(worker), "the end of the orphan")
        made.start()
        done = going.end()
        assert done.code == 0, done.err
        assert done.event("done")["uploaded"] == shot.size()  # once, and not once more
        check_echo(shot, out)
        return True if any(event["event"] == "trouble" for event in done.events) else None

    with daemon() as made:
        assert caught(sat_out)
        assert {job.state.value for job in made.jobs()} == {"done"}


def test_what_was_accepted_is_there_after_kill_9(tmp_path: Path) -> None:
    shots = [make_shot(tmp_path / f"in{i}", range(1001, 1003), seed=10 + i) for i in range(3)]
    with daemon() as made:
        jobs = [made.submit(shot, steps=1) for shot in shots]
        made.kill()
        made.start()
        assert [job.job for job in made.jobs()] == jobs
        for shot, job in zip(shots, jobs, strict=True):
            made.fetch(job, tmp_path / job)
            check_echo(shot, tmp_path / job)


def test_an_upload_goes_on_where_the_killed_daemon_stopped(
    behind_relay: Net, tmp_path: Path
) -> None:
    made, relay, address = behind_relay
    shot = make_shot(tmp_path / "in", range(1001, 1031), 180, 320, seed=7)
    relay.hold("up", shot.size() // 2)
    going = Going(*run_words(shot, tmp_path / "out", address))
    going.until_event("uploading")
    relay.wait_until_held("up")
    eventually(lambda: in_spool(made) > shot.size() // 4)
    made.kill()
    whole = {p: p.stat().st_mtime_ns for p in (made.spool / "objects").rglob("*") if p.is_file()}
    there = in_spool(made)
    before = [e for e in going.events if e["event"] == "uploading"][-1]["sent"]
    relay.cut()
    relay.release()
    made.start()
    done = going.end()
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")
    # A piece that was read and could not be sent any more may have been counted.
    assert 0 < done.event("done")["uploaded"] - before <= shot.size() - there + (2 << 20)
    assert whole
    assert all(path.stat().st_mtime_ns == then for path, then in whole.items())


def test_sigterm_ends_the_daemon_and_keeps_the_queue(tmp_path: Path) -> None:
    shots = [make_shot(tmp_path / f"in{i}", range(1001, 1005), seed=20 + i) for i in range(3)]
    with daemon() as made:
        worker = made.wait_for_worker()
        jobs = [
            made.submit(shot, steps=steps) for shot, steps in zip(shots, (100, 1, 1), strict=True)
        ]
        made.wait_for_state(jobs[0], "running")
        code, seconds = made.terminate()
        assert code == 0, made.log
        assert in_time(seconds, 5)
        assert not is_alive(worker)
        made.start()
        for job in jobs:
            made.wait_for_state(job, "done")
        started = [line for line in made.log.splitlines() if " started job=" in line]
        assert [line.split("job=")[1].split()[0] for line in started] == [jobs[0], *jobs]


def test_sigterm_lets_the_running_job_end_and_nobody_in(tmp_path: Path) -> None:
    shots = [make_shot(tmp_path / f"in{i}", range(1001, 1003), seed=30 + i) for i in range(3)]
    with daemon(extra={"VOIDBRIDGE_DRAIN_S": "200"}) as made:
        with made.held():  # it keeps the job running
            running, queued = made.submit(shots[0], steps=5), made.submit(shots[1])
            made.wait_for_state(running, "running")
            assert made.process
            made.process.terminate()
            eventually(lambda: made.status(queued).code == "daemon.draining")
            words = run_words(shots[2], tmp_path / "out", made.address)
            refused = called(*words, "--json")
        assert (refused.code, refused.event("error")["code"]) == (3, "daemon.draining")
        assert made.process.wait(SECONDS) == 0, made.log
        made.start()
        assert next(job.state.value for job in made.jobs()) == "done"
        made.wait_for_state(queued, "done")
        started = [line for line in made.log.splitlines() if " started job=" in line]
        assert [line.split("job=")[1].split()[0] for line in started] == [running, queued]


# -- the client -------------------------------------------------------------------------------------


def test_a_killed_clients_upload_is_not_sent_twice(behind_relay: Net, tmp_path: Path) -> None:
    made, relay, address = behind_relay
    shot = make_shot(tmp_path / "in", range(1001, 1031), 180, 320, seed=8)
    relay.hold("up", shot.size() // 2)
    going = Going(*run_words(shot, tmp_path / "out", address))
    relay.wait_until_held("up")
    going.kill()
    relay.cut()
    relay.release()
    eventually(lambda: in_spool(made) > shot.size() // 4)
    done = called(*run_words(shot, tmp_path / "out", address, "--json"))
    assert done.code == 0, done.err
    # The first client's last pieces may still have been on their way to the disk.
    assert 0 < done.event("done")["uploaded"] < 0.75 * shot.size()
    check_echo(shot, tmp_path / "out")


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_broken_line_is_mended(behind_relay: Net, tmp_path: Path, way: str) -> None:
    made, relay, address = behind_relay
    shot = make_shot(tmp_path / "in", range(1001, 1011), 180, 320, seed=9)
    relay.hold(way, shot.size() // 3)
    going = Going(*run_words(shot, tmp_path / "out", address))
    relay.wait_until_held(way)
    relay.cut()
    relay.release()
    done = going.end()
    assert done.code == 0, done.err
    assert done.event("trouble")
    check_echo(shot, tmp_path / "out")
    assert [job.attempt for job in made.jobs()] == [1]
