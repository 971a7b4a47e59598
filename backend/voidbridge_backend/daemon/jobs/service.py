"""The daemon's jobs, as clients and workers see them. The service knows no sockets.

Its parts share one `JobRecords`: `admission` takes in requests and files, `damage` answers changes on the disk, and
`expiry` forgets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

from voidbridge_backend.daemon.store.job_table import JobTable
from voidbridge_backend.daemon.store.measurements import MeasuredJobs
from voidbridge_backend.daemon.store.spool import Spool, UserFile
from voidbridge_backend.daemon.store.work_folders import WorkFolders
from voidbridge_protocol.errors import DeviceAway, Preempted, RequestError, VoidbridgeError
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import ResultFile, Status

from . import job_status
from .admission import Admission
from .damage import DamageControl
from .expiry import Expiry
from .job_status import LiveStatus
from .records import STOPPED, JobRecords, unknown_job
from .scheduler import Command, Scheduler

log = logging.getLogger(__name__)


class JobService:
    """All jobs: requests of clients change them, and events of workers."""

    def __init__(
        self,
        store: JobTable,
        spool: Spool,
        engines: tuple[tuple[str, str], ...],
        keep_free: int = 0,
        most_jobs: int = 1000,
        user_share: int = 100,
        devices_per_job: int = 1,
    ) -> None:
        """See `Admission` and `Scheduler` for the parameters."""
        self.store, self.spool, self.engines = store, spool, engines
        self.records = JobRecords(store, spool)
        self.work_folders = WorkFolders(spool)
        self.measurements = MeasuredJobs(spool.folder)
        self.records.scheduler.devices_per_job = devices_per_job
        self.changes = self.records.changes
        self.admission = Admission(self.records, engines, keep_free, most_jobs, user_share)
        self.damage = DamageControl(self.records, self.admission)
        self.expiry = Expiry(self.records)
        self._blocks: dict[str, VoidbridgeError] = {}
        """Reasons why no job is started, by their cause."""

    @property
    def scheduler(self) -> Scheduler:
        return self.records.scheduler

    def recover(self, drops_strays: bool = True) -> None:
        """Restores the jobs of an earlier daemon. Running jobs are queued again, receiving ones keep waiting.

        With `drops_strays` it deletes job folders that the table does not know.
        """
        rows = self.store.rows()
        for row in rows:
            state, last = row.state, "".join(row.warnings[-1:])
            is_stopped = state is JobState.QUEUED and last.endswith(STOPPED)
            if state is JobState.RUNNING:
                state = JobState.QUEUED
            elif state is JobState.CANCELLING:
                state = JobState.CANCELLED
            if state is not row.state:
                row = replace(row, state=state)
                self.store.save(row)
            self.records.restore(row)
            self.scheduler.jobs[row.id].is_stopped = is_stopped
        self._recover_files()
        self.commit()
        self.work_folders.recover(row.id for row in rows)
        strays = set(self.spool.job_folders()) - {row.id for row in rows}
        for job in strays if drops_strays else ():
            self.spool.drop_job(job)  # of a job that was forgotten when the daemon was killed
        if rows:
            log.info("%d jobs restored, %d of them waiting", len(rows), len(self.waiting()))

    def _recover_files(self) -> None:
        """Looks up the files that receiving jobs wait for. It lists each user's folder once."""
        there: dict[str, dict[UserFile, int]] = {}
        for job, files in groupby(self.store.files(JobState.RECEIVING), key=itemgetter(0)):
            user = self.records.rows[job].user
            if user not in there:
                there[user] = self.spool.all_of(user)
            sizes = {UserFile(user, sha256): size for _, sha256, size in files}
            whole = there[user]
            lacking = {file: size for file, size in sizes.items() if whole.get(file) != size}
            self.records.missing.add(job, lacking)
            self.records.queue_if_complete(job)

    def commit(self) -> bool:
        """Writes every change to disk, before anybody is told. Returns False while the disk is full."""
        return self.records.commit()

    def changed_jobs(self, watched: Iterable[str]) -> list[str]:
        """Returns those of these jobs whose status changed since the last call."""
        return self.changes.take_jobs(watched, self.records.is_queued)

    # -- requests of clients ------------------------------------------------------------------------

    def require_visible(self, job: str, viewer: str | None) -> None:
        """Raises `UnknownJob`, with the same text for another user's job as for one that does not exist."""
        row = self.records.rows.get(job)
        if row is None or viewer not in (None, row.user):
            raise unknown_job(job)

    def cancel(self, job: str) -> None:
        """Ends a waiting job, or asks the worker of a running one to stop. An ended job stays unchanged."""
        self.records.row(job)
        self.records.resubmitted.pop(job, None)
        self._execute(self.scheduler.cancel_requested(job))

    def status(self, job: str) -> Status:
        """Returns the complete state of a job. Raises `UnknownJob`."""
        row = self.records.row(job)
        stage = self.records.stages.get(job, job_status.NO_STAGE)
        ahead, device = self.scheduler.ahead_of(job), self.scheduler.jobs[job].device
        waits_for = self.blocked_by
        if waits_for is None and self.scheduler.jobs[job].is_stopped:
            waits_for = Preempted("it was stopped for a more urgent job")
        return job_status.status(row, stage, ahead, waits_for, device)

    def jobs(self, viewer: str | None = None) -> list[str]:
        """Returns every job that this user sees, oldest first; None sees all."""
        rows = sorted(self.records.rows, key=lambda row: row.number)
        return [row.id for row in rows if viewer in (None, row.user)]

    def counts(self) -> dict[str, int]:
        """Returns the number of jobs by state, with every state as a key."""
        return self.records.rows.counts()

    def waiting(self) -> list[str]:
        return self.scheduler.waiting()

    def user_of(self, job: str) -> str:
        return self.records.row(job).user

    def results_of(self, job: str) -> list[ResultFile]:
        return [result for _, result in sorted(self.records.row(job).results.items())]

    def frames(self, job: str) -> range:
        """Returns the frames of the job's results."""
        row = self.records.row(job)
        return range(row.first, row.last + 1)

    def lacks_results(self, job: str) -> bool:
        """Returns True if a job has fewer results than frames, and not because of damage while it ran."""
        known = len(self.records.row(job).results)
        return known < len(self.frames(job)) and job not in self.records.to_remake

    def result(self, job: str, frame: int) -> ResultFile:
        found = self.records.row(job).results.get(frame)
        if found is None:
            raise RequestError(f"job {job} has no result for frame {frame}")
        return found

    def fetched(self, job: str) -> None:
        """Notes that a client has saved every result of a done job. Raises `RequestError`."""
        row = self.records.row(job)
        if row.state is not JobState.DONE:
            raise RequestError(
                f"job {job} is {row.state.value}: its results cannot all have been fetched"
            )
        self.records.write(replace(row, fetched=True, used=time.time()))

    # -- events of workers --------------------------------------------------------------------------

    @property
    def blocked_by(self) -> VoidbridgeError | None:
        """Returns the reason why no job is started at the moment, or None."""
        return next(iter(self._blocks.values()), None)

    def set_blocked(self, cause: str, reason: VoidbridgeError | None) -> None:
        """Blocks starts with this `reason`, which queued jobs show; None removes this block."""
        before = self._blocks.get(cause)
        if (before and before.text) == (reason and reason.text):
            return
        self._blocks.pop(cause, None)
        if reason:
            log.warning("no jobs are started: %s", reason.text, extra={"code": reason.code})
            self._blocks[cause] = reason
            self.scheduler.hold()
        elif not self._blocks:
            log.info("jobs are started again")
            self._execute(self.scheduler.release())
        self.changes.add_queued()

    def device_ready(self, device: str) -> None:
        """Notes that a worker can take a job."""
        self._execute(self.scheduler.device_ready(device))

    def more_devices_wanted(self, job: str, count: int) -> None:
        """Notes that a running job can use up to `count` devices beside its own."""
        self._execute(self.scheduler.more_devices_wanted(job, count))

    def device_lost(self, device: str, cause: VoidbridgeError) -> None:
        """Notes that a worker ended. Its job returns to the queue, or fails after its last attempt."""
        for job in self.scheduler.jobs.values():
            if job.device == device and job.state is JobState.RUNNING:
                self.warned(job.id, f"attempt {job.attempts} was interrupted: {cause.text}")
                if job.is_stopping:
                    self.warned(job.id, f"attempt {job.attempts} {STOPPED}")
        is_away = isinstance(cause, DeviceAway)
        self._execute(self.scheduler.device_lost(device, is_away), cause)

    def progress(self, job: str, name: str, step: int, total: int, seconds_left: float) -> None:
        self.records.stages[job] = LiveStatus(name, step, total, seconds_left)
        self.changes.add_status(job)

    def warned(self, job: str, text: str) -> None:
        """Adds a warning to a job, each text once."""
        row, text = self.records.rows[job], self.spool.hidden(text)
        if text not in row.warnings:
            self.records.save(replace(row, warnings=(*row.warnings, text)))

    def finished_frame(self, job: str, result: ResultFile) -> None:
        """Adds the result of a frame to its job."""
        row = self.records.rows[job]
        if row.results.get(result.frame) == result:
            return  # a second attempt made the same file again
        self.store.add_result(job, result)
        row.results[result.frame] = result
        self.changes.add_result(job, result)

    def done(self, job: str, provenance: str = "") -> None:
        """Ends a job whose results are complete. `provenance` is the SHA-256 of its record, as hexadecimal."""
        self.records.rows.put(replace(self.records.rows[job], provenance=provenance))
        self._execute(self.scheduler.ended(job, JobState.DONE))
        self.damage.job_done(job)

    def measured(self, job: str, device: str, figures: object) -> None:
        """Stores time and memory of a done job, for estimates."""
        self.measurements.add(self.records.row(job), device, figures)

    def cancelled(self, job: str) -> None:
        """Notes that the worker stopped.

        Either a more urgent job gets its device, or somebody cancelled it. If nobody asked for it, the daemon is
        stopping. Then the attempt does not count, and the next daemon queues the job again.
        """
        row = self.records.rows[job]
        if row.state is JobState.CANCELLING:
            self._execute(self.scheduler.ended(job, JobState.CANCELLED))
        elif row.state is JobState.RUNNING and self.scheduler.jobs[job].is_stopping:
            self.warned(job, f"attempt {row.attempts} {STOPPED}")
            self._execute(self.scheduler.preempted(job))
        elif row.state is JobState.RUNNING:
            self.records.save(replace(row, attempts=row.attempts - 1))

    def failed(self, job: str, error: VoidbridgeError) -> None:
        """Ends a job with the error of its worker."""
        self.records.fail(job, error)
        self._execute(self.scheduler.ended(job, JobState.FAILED))

    def _execute(self, commands: list[Command], cause: VoidbridgeError | None = None) -> None:
        """Applies decisions that may end jobs, and restarts cancelled jobs that were submitted again."""
        self.records.execute(commands, cause)
        self.admission.resume()
