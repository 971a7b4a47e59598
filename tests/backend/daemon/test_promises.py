"""Room that is kept for frames to come: given free when their client is gone, and shared among users."""

import hashlib
from pathlib import Path

import pytest

from voidbridge_backend.daemon.jobs.expiry import PROMISE_S
from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_backend.daemon.store.job_table import JobTable
from voidbridge_backend.daemon.store.spool import Spool
from voidbridge_protocol.errors import SpoolFull
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request

FREE = 100 << 30


class EvenDisk(Spool):
    """On a disk where no other program writes."""

    def free_bytes(self) -> int:
        return FREE


@pytest.fixture
def jobs(tmp_path: Path) -> JobService:
    spool = EvenDisk(tmp_path)
    return JobService(JobTable(tmp_path / "jobs.db"), spool, (("remove", "echo"),), user_share=80)


def submit(jobs: JobService, user: str, name: str, percent: int) -> str:
    """A job whose files take so much of what the disk has left."""
    size = FREE * percent // 200
    files = tuple(
        FrameFile(role, 1, hashlib.sha256(f"{name}{role}".encode()).hexdigest(), size)
        for role in ("matte", "plate")
    )
    return jobs.admission.submit(
        user, Request(1, 1, RemoveSettings(engine="echo"), files), 0, False
    ).job


def nobody(job: str) -> bool:
    return False


def test_room_is_given_free_when_the_client_is_gone(jobs: JobService) -> None:
    job = submit(jobs, "ana", "one", 70)
    with pytest.raises(SpoolFull) as raised:
        submit(jobs, "ben", "two", 50)
    assert "other users" in raised.value.text
    assert "ana" not in raised.value.text
    jobs.expiry.release_promises(100.0, nobody)
    jobs.expiry.release_promises(100.0 + PROMISE_S - 1, nobody)
    with pytest.raises(SpoolFull):
        submit(jobs, "ben", "two", 50)
    jobs.expiry.release_promises(100.0 + PROMISE_S + 1, nobody)
    submit(jobs, "ben", "two", 50)
    assert jobs.status(job).state.value == "receiving"


def test_room_is_kept_while_a_client_is_here(jobs: JobService) -> None:
    submit(jobs, "ana", "one", 70)
    for now in (0.0, PROMISE_S + 1, 3 * PROMISE_S):
        jobs.expiry.release_promises(now, lambda job: True)
    with pytest.raises(SpoolFull):
        submit(jobs, "ben", "two", 50)


def test_a_client_that_comes_back_is_promised_room_again_if_there_is_any(jobs: JobService) -> None:
    submit(jobs, "ana", "one", 70)
    for now in (0.0, PROMISE_S + 1):
        jobs.expiry.release_promises(now, nobody)
    other = submit(jobs, "ben", "two", 50)
    with pytest.raises(SpoolFull):
        submit(jobs, "ana", "one", 70)
    jobs.cancel(other)
    submit(jobs, "ana", "one", 70)
    with pytest.raises(SpoolFull):
        submit(jobs, "ben", "two", 50)


def test_one_user_has_a_share_of_the_room(jobs: JobService) -> None:
    submit(jobs, "ana", "one", 70)
    with pytest.raises(SpoolFull, match="80 %"):
        submit(jobs, "ana", "two", 15)
    submit(jobs, "ben", "three", 15)


def test_a_job_that_is_dropped_keeps_no_room(jobs: JobService) -> None:
    job = submit(jobs, "ana", "one", 70)
    for now in (0.0, PROMISE_S + 1):
        jobs.expiry.release_promises(now, nobody)
    jobs.cancel(job)
    submit(jobs, "ben", "two", 70)
