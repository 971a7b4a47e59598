"""The daemon knows its jobs from the submission to the result, and after a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from voidbridge_job_box import Box, content, request

from voidbridge_backend.daemon.jobs.scheduler import Interrupt, Preempt, Start
from voidbridge_backend.daemon.store.spool import UserFile
from voidbridge_protocol.errors import (
    EngineFailed,
    RequestError,
    WorkerDied,
)
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import ResultFile


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_files_are_taken_ahead_of_their_job_unless_there_is_no_room(box: Box) -> None:
    asked = request()
    partly = UserFile("ana", asked.files[1].sha256)
    box.spool.receive(partly, asked.files[1].size, 0, content("matte", 1002)[:5])
    box.send(asked, 0)
    assert box.job_service.admission.missing("ana", asked.files) == ([1, 2, 3, 4, 5], [(1, 5)])
    assert box.job_service.admission.missing("ben", asked.files[:2]) == ([0, 1], [])
    assert not box.job_service.admission.is_wanted(partly)
    box.job_service.admission.keep_free = 1 << 60
    assert box.job_service.admission.missing("ana", asked.files) == ([], [])


def test_a_job_waits_for_its_files_and_then_for_a_device(box: Box) -> None:
    made = request()
    found = box.job_service.admission.submit("ana", made, 0, False)
    assert (found.state, found.need, found.partial) == (JobState.RECEIVING, list(range(6)), [])
    box.send(made, 0, 1, 2, 3, 4)
    assert box.state(found.job) is JobState.RECEIVING
    assert box.job_service.admission.submit("ana", made, 0, False).need == [5]
    box.send(made, 5)
    assert box.state(found.job) is JobState.QUEUED
    box.job_service.device_ready("cpu")
    assert box.state(found.job) is JobState.RUNNING
    assert box.job_service.changes.take_commands() == [Start(found.job, "cpu")]
    assert box.job_service.status(found.job).device == "cpu"
    box.finish(found.job)
    assert box.job_service.status(found.job).device == ""


def test_half_a_file_is_not_asked_for_twice(box: Box) -> None:
    made = request()
    box.submit(made)
    file = made.files[2]
    box.spool.receive(
        UserFile("ana", file.sha256), file.size, 0, content(file.role, file.frame)[:5]
    )
    assert box.job_service.admission.submit("ana", made, 0, False).partial == [(2, 5)]


def test_a_done_job_is_answered_again_without_running(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    box.job_service.device_ready("cpu")
    box.finish(job)
    box.job_service.changes.take_commands()
    assert box.job_service.admission.submit("ana", made, 0, False).state is JobState.DONE
    assert box.job_service.changes.take_commands() == []
    assert [result.frame for result in box.job_service.results_of(job)] == [1001, 1002, 1003]

    assert box.job_service.admission.submit("ana", made, 0, True).state is JobState.RUNNING
    assert box.job_service.results_of(job) == []


def test_a_result_that_is_damaged_while_its_job_runs_is_no_fault_of_the_worker(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    box.job_service.device_ready("cpu")
    assert box.job_service.lacks_results(job)
    for frame in (1001, 1002, 1003):
        box.job_service.finished_frame(job, ResultFile(frame, f"{frame:064x}", 11))
    assert not box.job_service.lacks_results(job)
    box.job_service.damage.result_damaged(job, 1002)
    assert not box.job_service.lacks_results(job)
    box.job_service.done(job)
    assert box.state(job) is JobState.QUEUED or box.state(job) is JobState.RUNNING
    assert box.job_service.lacks_results(job)


def test_one_request_of_two_users_is_two_jobs_and_two_uploads(box: Box) -> None:
    """Who knows the hashes of another's frames has neither them nor the news that they are here."""
    made = request()
    ana = box.submit(made, "ana")
    box.send(made, 0, 1, 2)
    box.spool.receive(UserFile("ana", made.files[3].sha256), made.files[3].size, 0, b"the")
    found = box.job_service.admission.submit("ben", made, 0, False)
    assert found.job != ana
    assert (found.need, found.partial) == (list(range(6)), [])
    assert not box.job_service.admission.is_wanted(UserFile("cat", made.files[0].sha256))
    box.send(made, 3, 4, 5)
    assert (box.state(ana), box.state(found.job)) == (JobState.QUEUED, JobState.RECEIVING)
    box.send(made, user="ben")
    assert box.state(found.job) is JobState.QUEUED


@pytest.mark.parametrize("when", ["receiving", "queued", "running", "done"])
def test_a_restart_takes_up_every_job_where_it_was(box: Box, when: str) -> None:
    made = request()
    job = box.submit(made)
    box.send(made, *([] if when != "receiving" else [0, 1]))
    if when in ("running", "done"):
        box.job_service.device_ready("cpu")
    if when == "done":
        box.finish(job)
    box.reopen()
    after = {"running": "queued"}.get(when, when)
    assert box.state(job).value == after
    assert box.submit(made) == job
    if when == "receiving":
        assert box.job_service.admission.submit("ana", made, 0, False).need == [2, 3, 4, 5]
        box.send(made, 2, 3, 4, 5)
    if when != "done":
        box.job_service.device_ready("cpu")
        box.finish(job)
    assert len(box.job_service.results_of(job)) == 3


def test_a_restart_finishes_a_cancel(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    box.job_service.device_ready("cpu")
    box.job_service.cancel(job)
    assert box.state(job) is JobState.CANCELLING
    box.reopen()
    assert box.state(job) is JobState.CANCELLED


def test_a_file_that_arrives_after_a_cancel_disturbs_nobody(box: Box) -> None:
    made = request()
    job = box.submit(made)
    longer = request(1001, 1004)
    other = box.submit(longer)
    box.send(longer, 0)
    box.job_service.cancel(job)
    box.send(longer, *range(1, 8))
    assert (box.state(job), box.state(other)) == (JobState.CANCELLED, JobState.QUEUED)
    assert not box.job_service.admission.is_wanted(UserFile("ana", "0" * 64))


def test_pressing_the_button_while_a_cancel_is_under_way_runs_the_job_afterwards(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    box.job_service.device_ready("cpu")
    box.job_service.cancel(job)
    assert Interrupt(job, "cpu") in box.job_service.changes.take_commands()
    assert box.submit(made) == job
    box.job_service.cancelled(job)
    assert box.state(job) is JobState.RUNNING
    assert box.job_service.changes.take_commands()[-1] == Start(job, "cpu")


def test_a_cancel_after_that_button_is_the_last_word(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    box.job_service.device_ready("cpu")
    box.job_service.cancel(job)
    box.submit(made)
    box.job_service.cancel(job)
    box.job_service.cancelled(job)
    assert box.state(job) is JobState.CANCELLED


def test_a_job_that_was_stopped_for_a_more_urgent_one_says_so_and_keeps_its_frames(
    box: Box,
) -> None:
    made, urgent = request(), request(1001, 1004)
    job = box.submit(made)
    box.send(made)
    box.job_service.scheduler.jobs[job].goes_on = True
    box.job_service.device_ready("cpu")
    box.job_service.finished_frame(job, ResultFile(1001, "a" * 64, 11))
    other = box.job_service.admission.submit("ben", urgent, 1, False).job
    box.send(urgent, user="ben")
    assert box.job_service.changes.take_commands()[-1] == Preempt(job, "cpu")
    box.job_service.cancelled(job)
    stopped = box.job_service.status(job)
    assert (stopped.state, stopped.code, stopped.attempt) == (JobState.QUEUED, "job.preempted", 0)
    assert stopped.warnings == ("attempt 1 was stopped for a more urgent job",)
    assert stopped.ready == 1
    assert box.state(other) is JobState.RUNNING
    box.finish(other)
    assert (box.state(job), box.job_service.status(job).code) == (JobState.RUNNING, "")


@pytest.mark.parametrize("dies", [False, True])
def test_a_restart_remembers_a_stop_and_its_reason_ends_with_that_wait(
    box: Box, dies: bool
) -> None:
    made, urgent = request(), request(1001, 1004)
    job = box.submit(made)
    box.send(made)
    box.job_service.scheduler.jobs[job].goes_on = True
    box.job_service.device_ready("cpu")
    box.job_service.admission.submit("ben", urgent, 1, False)
    box.send(urgent, user="ben")
    if dies:
        box.job_service.device_lost("cpu", WorkerDied("it did not stop in time"))
    else:
        box.job_service.cancelled(job)
    assert box.job_service.status(job).code == "job.preempted"
    box.reopen()
    again = box.job_service.scheduler.jobs[job]
    assert (again.stops, box.job_service.status(job).code) == (1, "job.preempted")
    again.goes_on = True
    for device in ("cpu", "gpu"):
        box.job_service.device_ready(device)
    assert box.state(job) is JobState.RUNNING
    third = request(1001, 1005)
    box.job_service.admission.submit("cat", third, 2, False)
    box.send(third, user="cat")
    commands = box.job_service.changes.take_commands()
    assert not any(isinstance(command, Preempt) for command in commands)  # never twice
    box.job_service.device_lost(again.device, WorkerDied("it crashed"))
    waiting = box.job_service.status(job)
    assert (waiting.state, waiting.code) == (JobState.QUEUED, "")
    box.reopen()
    assert box.job_service.status(job).code == ""


def test_only_a_done_job_can_have_been_fetched_and_that_is_written_down(box: Box) -> None:
    made = request()
    job = box.submit(made)
    with pytest.raises(RequestError, match="receiving"):
        box.job_service.fetched(job)
    box.send(made)
    box.job_service.device_ready("cpu")
    box.finish(job)
    assert not box.written()[0].fetched
    box.job_service.fetched(job)
    box.job_service.fetched(job)
    assert box.written()[0].fetched
    box.submit(made, again=True)
    assert not box.written()[0].fetched


def test_a_job_that_was_done_before_its_cancel_arrived_is_done(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    box.job_service.device_ready("cpu")
    box.job_service.cancel(job)
    box.submit(made)
    box.finish(job)
    assert box.state(job) is JobState.DONE


def test_a_failed_job_says_why_after_a_restart_and_runs_when_it_is_submitted_again(
    box: Box,
) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    box.job_service.device_ready("cpu")
    box.job_service.failed(job, EngineFailed("no light", "Switch it on."))
    box.reopen()
    status = box.job_service.status(job)
    assert (status.state, status.code, status.text, status.hint) == (
        JobState.FAILED, "job.engine", "no light", "Switch it on.",
    )  # fmt: skip
    box.submit(made)
    status = box.job_service.status(job)
    assert (status.state, status.code, status.text) == (JobState.QUEUED, "", "")


def test_a_second_attempt_announces_only_what_differs(box: Box) -> None:
    made = request()
    job = box.submit(made)
    box.send(made)
    box.job_service.device_ready("cpu")
    first = ResultFile(1001, "a" * 64, 5)
    box.job_service.finished_frame(job, first)
    box.job_service.device_lost("cpu", WorkerDied("it ended"))
    box.job_service.device_ready("cpu")
    box.job_service.finished_frame(job, first)
    assert box.job_service.changes.take_results() == [(job, first)]
    box.job_service.finished_frame(job, replace(first, sha256="b" * 64))
    assert len(box.job_service.changes.take_results()) == 1
