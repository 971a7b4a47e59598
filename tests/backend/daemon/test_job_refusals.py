"""A job that cannot run is refused or fails with its reason, and the rest goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from voidbridge_job_box import Box, content, request
from voidbridge_stage import full_disk

from voidbridge_backend.daemon.jobs.missing_files import MOST_PARTIAL
from voidbridge_backend.daemon.store.spool import UserFile
from voidbridge_protocol.errors import (
    BadSetting,
    DeviceFailed,
    DiskFull,
    NoDevice,
    SpoolFull,
    UnknownJob,
    WorkerDied,
    WorkerHung,
)
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.operations.remove import RemoveSettings


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_job_that_is_tried_too_often_fails_of_what_it_died_of_last(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    for cause in (WorkerDied("a crash"), WorkerHung("no step for 9 s"), DeviceFailed("gone")):
        box.job_service.device_ready("cpu")
        box.job_service.device_lost("cpu", cause)
    status = box.job_service.status(job)
    assert (status.state, status.code) == (JobState.FAILED, "job.device")
    assert status.text == "tried 3 times; the last error: gone"
    assert status.warnings == (
        "attempt 1 was interrupted: a crash",
        "attempt 2 was interrupted: no step for 9 s",
        "attempt 3 was interrupted: gone",
    )


def test_a_queued_job_says_why_nothing_is_started(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    assert box.job_service.changed_jobs([job]) == [job]
    assert box.job_service.changed_jobs([job]) == []
    box.job_service.set_blocked("devices", NoDevice("cpu is in quarantine: fire", "Put it out."))
    status = box.job_service.status(job)
    assert (status.state, status.code, status.text, status.hint) == (
        JobState.QUEUED, "daemon.no-device", "cpu is in quarantine: fire", "Put it out.",
    )  # fmt: skip
    assert box.job_service.changed_jobs([job]) == [job]
    box.job_service.device_ready("cpu")
    box.job_service.set_blocked("disk", SpoolFull("no room"))
    box.job_service.set_blocked("devices", None)
    assert (box.state(job), box.job_service.status(job).code) == (
        JobState.QUEUED,
        "daemon.spool-full",
    )
    box.job_service.set_blocked("disk", None)
    assert (box.state(job), box.job_service.status(job).code) == (JobState.RUNNING, "")


def test_an_engine_that_is_not_here_is_refused_with_those_that_are(box: Box) -> None:
    made = replace(request(), settings=RemoveSettings(engine="magic"))
    with pytest.raises(BadSetting, match=r"magic.*echo"):
        box.submit(made)
    assert box.job_service.jobs() == []


def test_a_job_that_the_disk_cannot_take_is_refused_with_the_numbers(box: Box) -> None:
    made = request()
    huge = replace(made.files[0], size=1 << 60)
    with pytest.raises(SpoolFull, match="GB"):
        box.submit(replace(made, files=(huge, *made.files[1:])))
    assert box.job_service.jobs() == []


def test_a_job_that_the_table_cannot_take_is_gone_again(box: Box) -> None:
    made, other = request(), request(1, 2000)
    box.submit(other, user="ben")
    box.written()
    job = box.submit(made)
    with full_disk(0):
        assert not box.job_service.commit()
    assert [box.job_service.user_of(each) for each in box.job_service.jobs()] == ["ben"]
    with pytest.raises(UnknownJob):
        box.job_service.status(job)
    assert not box.job_service.admission.is_wanted(UserFile("ana", made.files[0].sha256))
    assert box.submit(made) == job
    assert sorted(row.user for row in box.written()) == ["ana", "ben"]


def test_results_stay_when_the_table_cannot_take_the_job_once_more(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    box.job_service.device_ready("cpu")
    box.finish(job)
    before = box.written()
    with full_disk(0), pytest.raises(SpoolFull, match="table"):
        box.submit(made, again=True)
    assert box.state(job) is JobState.DONE
    assert box.spool.result_path(job, 1001).is_file()
    assert box.written() == before
    assert box.submit(made, again=True) == job
    assert box.state(job) is JobState.RUNNING


def test_nobody_is_told_where_the_spool_lies(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    box.job_service.device_ready("cpu")
    place = box.spool.result_path(job, 1001)
    box.job_service.warned(job, f"{place} was slow")
    box.job_service.failed(job, DiskFull(f"{place} cannot be written: 0 MB are free"))
    status = box.job_service.status(job)
    assert status.text == f"SPOOL/jobs/{job}/1001.exr cannot be written: 0 MB are free"
    assert status.warnings == (f"SPOOL/jobs/{job}/1001.exr was slow",)


def test_an_unknown_job_is_said_to_be_unknown(box: Box) -> None:
    for ask in (box.job_service.status, box.job_service.cancel, box.job_service.results_of):
        with pytest.raises(UnknownJob):
            ask("nobody")


def test_the_list_of_half_files_stays_small(box: Box) -> None:
    made = request(1, MOST_PARTIAL // 2 + 10)
    box.submit(made)
    for file in made.files:
        box.spool.receive(
            UserFile("ana", file.sha256), file.size, 0, content(file.role, file.frame)[:3]
        )
        box.spool.pause(UserFile("ana", file.sha256))
    found = box.job_service.admission.submit("ana", made, 0, False)
    assert len(found.need) == len(made.files)
    assert found.partial == [(index, 3) for index in range(MOST_PARTIAL)]
