"""A disk that is full for real: a file system of a few megabytes, filled up and emptied again."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from voidbridge_shots import make_shot
from voidbridge_stage import (
    Daemon,
    Going,
    check_echo,
    daemon,
    eventually,
    leftovers,
    run_words,
    voidbridge,
)

from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import SpoolFull

DISK_MB, KEEP_FREE_MB = 24, 4


@dataclass
class Box:
    """A daemon whose spool lies on a small disk of its own."""

    daemon: Daemon
    disk: Path

    @property
    def ballast(self) -> Path:
        return self.disk / "ballast"

    def free(self) -> int:
        found = os.statvfs(self.disk)
        return found.f_bavail * found.f_frsize

    def fill(self, but: int = 0) -> None:
        """Somebody else takes the disk, but for so many bytes, also while the daemon writes."""
        with self.ballast.open("ab", buffering=0) as file:
            while (more := self.free() - but) > 0:
                try:
                    file.write(bytes(min(more, 1 << 20)))
                except OSError as full:  # the daemon took the room first
                    if full.errno != errno.ENOSPC:
                        raise
            if (less := but - self.free()) > 0:
                file.truncate(max(0, file.tell() - less))

    def empty(self) -> None:
        self.ballast.unlink()


@contextmanager
def box(disk: Path) -> Iterator[Box]:
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        keep = {"VOIDBRIDGE_KEEP_FREE_MB": str(KEEP_FREE_MB)}
        with daemon("--spool", disk / "spool", extra=keep) as made:
            made.wait_for_worker()
            yield Box(made, disk)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with box(tmp_path_factory.mktemp("disk") / "small") as made:
        yield made


@pytest.fixture
def emptied(small: Box) -> Iterator[Box]:
    yield small
    small.ballast.unlink(missing_ok=True)
    eventually(lambda: small.daemon.health().ready, "the door to open")


def test_a_full_disk_closes_the_door_and_room_opens_it_again(emptied: Box, tmp_path: Path) -> None:
    made = emptied.daemon
    shot = make_shot(tmp_path / "in", range(1001, 1004), seed=400)
    with made.held():  # it keeps the first job running
        waiting = made.submit(make_shot(tmp_path / "w", range(1001, 1003), seed=401), steps=5)
        queued = made.submit(make_shot(tmp_path / "q", range(1001, 1003), seed=402))
        made.wait_for_state(waiting, "running")
        emptied.fill(but=1 << 20)
        eventually(lambda: not made.health().ready, "the door to close")
        refused = voidbridge(*run_words(shot, tmp_path / "out", made.address, "--json"))
    assert (refused.code, refused.event("error")["code"]) == (3, "daemon.spool-full"), refused.err
    assert str(emptied.disk) not in refused.out + refused.err
    made.wait_for_state(waiting, "done")  # what runs goes on
    status = made.status(queued)
    assert (status.state.value, status.code) == ("queued", "daemon.spool-full")
    assert str(emptied.disk) not in status.text
    emptied.empty()
    made.wait_for_state(queued, "done")
    assert voidbridge(*run_words(shot, tmp_path / "out", made.address)).code == 0
    check_echo(shot, tmp_path / "out")


def test_an_upload_stops_with_the_reason_and_goes_on_where_it_was(
    emptied: Box, tmp_path: Path
) -> None:
    made = emptied.daemon
    shot = make_shot(tmp_path / "in", range(1001, 1021), 180, 320, seed=410)
    going = Going(*run_words(shot, tmp_path / "out", made.address))
    going.until_event("uploading")
    going.process.send_signal(signal.SIGSTOP)
    emptied.fill(but=1 << 18)
    eventually(lambda: not made.health().ready, "the door to close")
    going.process.send_signal(signal.SIGCONT)
    done = going.end()
    if done.code != 0:  # it may have been through before
        assert (done.code, done.event("error")["code"]) == (3, "daemon.spool-full"), done.err
    emptied.empty()
    eventually(lambda: made.health().ready)
    again = voidbridge(*run_words(shot, tmp_path / "two", made.address, "--json"))
    assert again.code == 0, again.err
    assert again.event("done")["uploaded"] < shot.size()
    check_echo(shot, tmp_path / "two")


def test_a_result_that_finds_no_room_fails_its_job_and_leaves_nothing_half(
    emptied: Box, tmp_path: Path
) -> None:
    made = emptied.daemon
    shot = make_shot(tmp_path / "in", range(1001, 1004), 180, 320, seed=420)
    with made.held():  # no result is there yet
        job = made.submit(shot, steps=10)
        made.wait_for_state(job, "running")
        emptied.fill(but=128 << 10)  # a result has 300 kB, a row of the table has less than one
    failed = made.wait_for_state(job, "failed")
    assert failed.code == "job.disk-full"
    assert " SPOOL/work/" in failed.text
    assert str(emptied.disk) not in failed.text
    assert leftovers(emptied.disk / "spool") == []
    emptied.empty()
    eventually(lambda: made.health().ready, "the door to open")
    done = voidbridge(*run_words(shot, tmp_path / "out", made.address, "--steps", 10))
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")


def test_a_table_that_cannot_be_written_ends_nothing_and_tells_nothing_wrong(
    tmp_path: Path,
) -> None:
    # A daemon of its own: what the table of another wrote before leaves room in SQLite's log.
    with box(tmp_path / "small") as made:
        check_a_full_table(made, tmp_path)


def check_a_full_table(small: Box, tmp_path: Path) -> None:
    made = small.daemon
    shots = [make_shot(tmp_path / f"in{i}", range(1001, 1003), seed=425 + i) for i in range(12)]
    jobs = [made.submit(shot, steps=1000 if i == 0 else 0) for i, shot in enumerate(shots)]
    made.wait_for_state(jobs[0], "running")
    small.fill()

    def is_refused() -> bool:
        """Cancels one after the other, until that cannot be written down."""
        with Client(made.address, user="probe", software="test") as client:
            try:
                for job in jobs[1:]:
                    client.cancel(job)
            except SpoolFull as full:
                return "the state of its jobs" in full.text
        return False

    eventually(is_refused, "a table without room")
    eventually(lambda: not made.health().ready, "the door to close")
    small.empty()
    eventually(lambda: made.health().ready, "the door to open")
    voidbridge("cancel", jobs[0], "--daemon", made.address)
    for job in jobs:
        eventually(lambda job=job: made.status(job).state.is_final)
    told = {job.job: job.state for job in made.jobs()}
    made.kill()
    made.start()
    assert {job.job: job.state for job in made.jobs()} == told
    made.wait_for_worker()


def test_old_results_make_room_for_a_new_job(tmp_path: Path) -> None:
    with box(tmp_path / "small") as made:
        for turn in range(8):  # 3 MB in and 3 MB out each, on 24 MB
            shot = make_shot(tmp_path / f"in{turn}", range(1001, 1011), 180, 320, seed=430 + turn)
            made.daemon.fetch(made.daemon.submit(shot), tmp_path / f"out{turn}")
            check_echo(shot, tmp_path / f"out{turn}")
        assert made.free() > 0
        assert "from the spool" in made.daemon.log
        assert 0 < len(made.daemon.jobs()) < 8
