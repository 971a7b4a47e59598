"""Keeps the rows, the scheduler and the missing files of all jobs in step.

Every change of state goes through `JobRecords.execute`, which records it; `commit` writes it to disk before any
client is told.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from voidbridge_backend.daemon.log_limit import LogLimit
from voidbridge_backend.daemon.store.job_table import JobTable, Row
from voidbridge_backend.daemon.store.spool import Spool
from voidbridge_protocol.errors import UnknownJob, VoidbridgeError, WorkerDied
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.operations import operations

from .changes import Changes
from .index import JobIndex
from .job_status import LiveStatus
from .missing_files import MissingFiles
from .prepared import Prepared
from .scheduler import Command, GaveUp, Scheduler, StateChanged
from .start_order import QueuedJob

log = logging.getLogger(__name__)

CONTINUING = frozenset(name for name, operation in operations().items() if operation.goes_on)
"""Operations whose next attempt continues where a stopped one ended."""
STOPPED = "was stopped for a more urgent job"
"""End of the warning of a stopped attempt. It is stored with the job, so that a restart knows of the stop."""
JOB_LINES = 120
"""Log lines per minute about jobs of one user."""


@dataclass
class JobRecords:
    """The state of all jobs, in memory and in `store`."""

    store: JobTable
    spool: Spool

    def __post_init__(self) -> None:
        self.rows = JobIndex()
        self.scheduler = Scheduler()
        self.missing = MissingFiles(self.spool)
        self.changes = Changes()
        self.stages: dict[str, LiveStatus] = {}
        self.ended: Counter[tuple[str, str]] = Counter()
        """Numbers of jobs that ended since the daemon's start, by state and code."""
        self.resubmitted: dict[str, tuple[Prepared, int]] = {}
        """Requests with their priority, for jobs that were submitted again before the worker had ended them."""
        self.to_remake: set[str] = set()
        """Running jobs of which a finished result was found damaged."""
        self._new: list[str] = []
        """Jobs that are not on disk yet."""
        self._number = 0
        self._log_limit = LogLimit(JOB_LINES)

    def log(self, row: Row, text: str, **fields: object) -> None:
        """Writes a log line about a job; after too many of its user, lines are only counted."""
        if self._log_limit.allows(row.user):
            log.info(text, extra={"job": row.id, **fields})

    def log_suppressed(self, now: float) -> None:
        """Logs once a minute how many lines were not written. `now` is in seconds of a monotonic clock."""
        for user, lines in self._log_limit.suppressed(now):
            log.warning("%d lines about jobs were not written", lines, extra={"user": user})

    def next_number(self) -> int:
        """Returns the next place in the order of submission."""
        self._number += 1
        return self._number

    def row(self, job: str) -> Row:
        """Raises `UnknownJob`."""
        row = self.rows.get(job)
        if row is None:
            raise unknown_job(job)
        return row

    def is_queued(self, job: str) -> bool:
        row = self.rows.get(job)
        return row is not None and row.state is JobState.QUEUED

    def restore(self, row: Row) -> None:
        """Adds a job of an earlier daemon."""
        self.rows.put(row)
        self._number = max(self._number, row.number)
        self.scheduler.add(_scheduled(row))

    def add(self, row: Row, canonical: bytes, names: Sequence[str]) -> None:
        """Adds a new job. `canonical` is its request, `names` are the hashes of its files."""
        self.store.add(row, canonical, names)
        self._new.append(row.id)
        self.rows.put(row)
        self.scheduler.add(_scheduled(row))

    def write(self, row: Row) -> None:
        """Changes a row without telling clients."""
        self.store.save(row)
        self.rows.put(row)

    def save(self, row: Row) -> None:
        """Changes a row and tells the clients that watch the job."""
        self.write(row)
        self.changes.add_status(row.id)

    def fail(self, job: str, error: VoidbridgeError) -> None:
        """Notes the error of a job, whose state the scheduler changes next."""
        text = self.spool.hidden(error.text)
        self.rows.put(replace(self.rows[job], code=error.code, text=text, hint=error.hint))

    def queue_if_complete(self, job: str) -> None:
        """Queues a receiving job whose files are all there."""
        if self.rows[job].state is JobState.RECEIVING and not self.missing.missing(job):
            self.execute(self.scheduler.received(job))

    def execute(self, commands: list[Command], cause: VoidbridgeError | None = None) -> None:
        """Applies decisions of the scheduler. `cause` is the error that led to them, if any."""
        for command in commands:
            match command:
                case StateChanged(job, state):
                    self._change_state(job, state)
                case GaveUp(job, attempts):
                    died = cause or WorkerDied("the worker ended")
                    text = f"tried {attempts} times; the last error: {died.text}"
                    self.fail(job, type(died)(text, died.hint))
                case _:
                    self.changes.add_command(command)

    def _change_state(self, job: str, state: JobState) -> None:
        attempts = self.scheduler.jobs[job].attempts
        self.stages.pop(job, None)
        self.save(replace(self.rows[job], state=state, attempts=attempts))
        self.log(self.rows[job], state.value)
        if state in (JobState.QUEUED, JobState.RUNNING) or state.is_final:
            self.changes.add_queued()
        if state.is_final:
            self.ended[state.value, self.rows[job].code] += 1
            self.missing.drop(job)

    def commit(self) -> bool:
        """Writes every change to disk, before other parties are told. Returns False while there is no space.

        New jobs that cannot be stored are dropped, unless they run already.
        """
        committed = self.store.commit()
        new, self._new = self._new, []
        for job in new if not committed else ():
            row = self.rows.get(job)
            if row and row.state in (JobState.RECEIVING, JobState.QUEUED):
                self.store.discard(job)
                self.drop(job)
        return committed

    def drop(self, job: str) -> None:
        """Removes a job from memory."""
        self.missing.drop(job)
        self.rows.drop(job)
        self.scheduler.forget(job)
        self.changes.drop(job)
        self.stages.pop(job, None)
        self.resubmitted.pop(job, None)
        self.to_remake.discard(job)


def unknown_job(job: str) -> UnknownJob:
    return UnknownJob(f"this daemon knows no job {job[:60]!r}")


def _scheduled(row: Row) -> QueuedJob:
    """Returns the scheduler's data of a stored job, which runs nowhere yet."""
    return QueuedJob(
        row.id,
        row.user,
        row.priority,
        row.number,
        row.state,
        row.attempts,
        row.operation,
        row.engine,
        goes_on=row.operation in CONTINUING,
        stops=sum(text.endswith(STOPPED) for text in row.warnings),
    )
