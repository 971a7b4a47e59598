"""The spool deletes real files, but never those that somebody needs or has not fetched."""

from __future__ import annotations

import hashlib
import os
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from voidbridge_backend.daemon.files.cleanup import SWEEP_S, Cleanup
from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_backend.daemon.store.io_threads import IoThreads
from voidbridge_backend.daemon.store.job_table import JobTable
from voidbridge_backend.daemon.store.retention import DAY_S, Policy
from voidbridge_backend.daemon.store.spool import Spool, UserFile
from voidbridge_protocol.errors import UnknownJob
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request, ResultFile

POLICY = Policy(keep=7 * DAY_S, unfetched=0, quota=0, keep_free=0)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class House:
    """A job service, a spool and a cleanup; the daemon's thread is the test's."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self.folder = folder
        self.news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.spool = Spool(folder)
        self.store = JobTable(folder / "jobs.db")
        self.job_service = JobService(
            self.store, self.spool, (("remove", "echo"),), policy.keep_free
        )
        self.job_service.recover()
        self.disk = IoThreads(self.spool, self.news.put)
        self.watched: set[str] = set()
        self.cleanup = Cleanup(
            self.job_service, self.spool, self.disk, policy, lambda job: job in self.watched
        )
        self.now = 0.0
        self.closed = False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.job_service.commit()
            self.disk.close()
            self.store.close()

    def sweep(self) -> None:
        """One sweep, to its end."""
        self.now += SWEEP_S + 1
        self.cleanup.tick(self.now)
        self.news.get(timeout=120)()
        self.news.get(timeout=120)()

    def submit(self, name: str, user: str = "ana", frames: int = 2) -> tuple[str, Request]:
        files = []
        for role in ("matte", "plate"):
            for frame in range(1, frames + 1):
                data = self.content(name, role, frame)
                files.append(FrameFile(role, frame, sha(data), len(data)))
        made = Request(1, frames, RemoveSettings(engine="echo"), tuple(files))
        return self.job_service.admission.submit(user, made, 0, False).job, made

    @staticmethod
    def content(name: str, role: str, frame: int) -> bytes:
        return f"{name} {role} {frame}".encode() * 100

    def send(self, name: str, user: str = "ana", frames: int = 2) -> None:
        for role in ("matte", "plate"):
            for frame in range(1, frames + 1):
                data = self.content(name, role, frame)
                file = UserFile(user, sha(data))
                self.spool.receive(file, len(data), 0, data)
                self.spool.finalize(file)
                self.job_service.admission.file_arrived(file)

    def done(self, name: str, user: str = "ana", fetched: bool = True) -> str:
        job, _ = self.submit(name, user)
        self.send(name, user)
        self.job_service.device_ready("cpu")
        for frame in (1, 2):
            self.spool.job_folder(job)
            self.spool.result_path(job, frame).write_bytes(b"result" * 100)
            self.job_service.finished_frame(job, ResultFile(frame, sha(b"result" * 100), 600))
        self.job_service.done(job)
        self.job_service.scheduler.device_lost("cpu")
        if fetched:
            self.job_service.fetched(job)
        return job

    def age(self, days: float) -> None:
        """Everything that is there was used so many days ago."""
        when = time.time() - days * DAY_S
        for path in self.folder.rglob("*"):
            if path.is_file() and "jobs.db" not in path.name:
                os.utime(path, (when, when))
        for job in self.job_service.jobs():
            self.job_service.records.write(replace(self.job_service.records.row(job), used=when))

    def files(self, *kinds: str) -> int:
        folders = [self.folder / kind for kind in kinds or ("objects", "parts", "jobs", "trash")]
        return sum(path.is_file() for folder in folders for path in folder.rglob("*"))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, POLICY)
    yield made
    made.close()  # once more is harmless


def test_what_was_fetched_goes_after_its_days_with_its_frames_and_its_row(house: House) -> None:
    job = house.done("one")
    house.age(6)
    house.sweep()
    assert house.job_service.status(job).state is JobState.DONE
    assert house.files() == 6
    house.age(8)
    house.sweep()
    assert house.files() == 0
    with pytest.raises(UnknownJob):
        house.job_service.status(job)
    assert house.store.rows() == []
    assert house.cleanup.swept == house.cleanup.used + 2 * 600 + sum(
        len(house.content("one", role, frame)) for role in ("matte", "plate") for frame in (1, 2)
    )


def test_results_that_nobody_fetched_stay_though_their_frames_go(house: House) -> None:
    job = house.done("one", fetched=False)
    house.age(1000)
    house.sweep()
    assert house.files("jobs") == 2
    assert house.files("objects") == 0
    assert house.job_service.status(job).state is JobState.DONE


def test_unless_the_owner_gives_them_a_time(tmp_path: Path) -> None:
    house = House(tmp_path, replace(POLICY, unfetched=30 * DAY_S))
    house.done("one", fetched=False)
    house.age(29)
    house.sweep()
    assert house.files("jobs") == 2
    house.age(31)
    house.sweep()
    assert house.files() == 0
    house.close()


def test_nothing_goes_that_a_job_needs_or_a_client_waits_for(house: House) -> None:
    watched = house.done("watched")
    house.watched.add(watched)
    running, _ = house.submit("running")
    house.send("running")
    house.job_service.device_ready("cpu")
    queued, _ = house.submit("queued")
    house.send("queued")
    house.age(1000)
    house.sweep()
    assert (house.files("objects"), house.files("jobs")) == (8, 2)  # the frames of the watched go
    for job in (running, queued, watched):
        house.job_service.status(job)


def test_a_file_of_two_users_stays_with_the_one_who_needs_it(house: House) -> None:
    house.done("shot", "ana")
    house.submit("shot", "ben")
    house.send("shot", "ben")
    house.age(1000)
    house.sweep()
    assert house.files("objects") == 4
    assert all(house.spool.has(UserFile("ben", file)) for _, file in house.store.claims())


def test_a_full_disk_lets_the_oldest_go_first(tmp_path: Path) -> None:
    house = House(tmp_path, replace(POLICY, quota=1))
    house.done("one", fetched=False)
    house.done("two")
    house.age(3)
    house.sweep()
    assert (house.files("jobs"), house.files("objects")) == (2, 0)
    assert len(house.job_service.jobs()) == 1
    house.close()


def test_room_is_made_when_it_is_asked_for(house: House) -> None:
    house.done("one")
    house.sweep()
    assert house.files() == 6
    called: list[int] = []
    house.cleanup.make_room(1 << 60, lambda: called.append(house.files()))
    house.news.get(timeout=120)()
    house.news.get(timeout=120)()
    assert called == [0]


def test_an_upload_that_nobody_goes_on_with_is_given_up_after_its_days(house: House) -> None:
    job, made = house.submit("left")
    name = UserFile("ana", made.files[0].sha256)
    house.spool.receive(name, made.files[0].size, 0, b"left")
    house.spool.pause(name)
    house.age(6)
    house.sweep()
    assert (house.files("parts"), len(house.job_service.jobs())) == (1, 1)
    house.age(8)
    house.sweep()
    house.age(8)
    house.sweep()  # the part is nobody's only now
    assert (house.files(), house.job_service.jobs()) == (0, [])
    with pytest.raises(UnknownJob):
        house.job_service.status(job)


def test_what_a_killed_daemon_had_forgotten_half_is_gone_at_the_next_start(house: House) -> None:
    job = house.done("one")
    house.store.forget(job)  # and then the power went
    house.close()
    again = House(house.folder, POLICY)
    assert again.job_service.jobs() == []
    assert again.files("jobs") == 0
    again.sweep()
    assert again.files("trash") == 0
    again.close()
