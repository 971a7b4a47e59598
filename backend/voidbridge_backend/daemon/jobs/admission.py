"""Takes in requests and their files until a job can be queued.

A submitted request becomes a new job, goes on with a known one, or runs an ended one again.
"""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from voidbridge_backend.daemon.store.job_table import Row
from voidbridge_backend.daemon.store.spool import UserFile
from voidbridge_protocol.errors import BadSetting, DaemonError, SpoolFull, TooMany
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import MAX_NAME, FrameFile, Request

from .missing_files import MOST_PARTIAL, MissingIndices
from .prepared import Prepared
from .records import JobRecords

log = logging.getLogger(__name__)

USED_EVERY_S = 60.0
"""Minimum seconds between two recorded uses of a job."""
NOT_WRITTEN = "the job table cannot be written: the daemon's disk is full"


@dataclass(frozen=True)
class SubmitResult:
    """The result of `Admission.submit`."""

    job: str
    state: JobState
    need: list[int]
    partial: list[tuple[int, int]]


@dataclass
class Admission:
    """Admits jobs for `engines`, the available ones as (operation, name)."""

    records: JobRecords
    engines: tuple[tuple[str, str], ...]
    keep_free: int = 0
    """Free bytes below which no new files are accepted, because results of running jobs need space."""
    most_jobs: int = 1000
    """Maximum unfinished jobs of one user."""
    user_share: int = 100
    """Percent of the free space that the missing files of one user may take."""

    # -- requests -----------------------------------------------------------------------------------

    def submit(
        self,
        user: str,
        request: Request,
        priority: int,
        force: bool,
        prepared: Prepared | None = None,
    ) -> SubmitResult:
        """Returns the job of this request: a new one, one that goes on, or a done one. Raises `RequestError`.

        `prepared` has the results of earlier work on the request, on another thread.
        """
        self._check_engine(request.operation, request.settings.engine)
        if prepared is None or prepared.generation != self.records.spool.generation:
            prepared = Prepared.of(user, request, self.records.spool)
        job, missing = prepared.job, self.records.missing
        row = self.records.rows.get(job)
        if row is None:
            self._begin(prepared, priority)
        elif row.state.is_final and (force or not self._has_results(row)):
            self.begin_again(row, prepared, priority)
        elif row.state is JobState.CANCELLING:
            self.records.resubmitted[job] = prepared, priority
        elif not missing.is_promised(job):
            self._check_room(prepared, is_new=False)
            missing.promise(job)
        if row is not None:  # its request may have been damaged, or lost with a part of the table
            self.records.store.put_request(job, prepared.canonical, prepared.names)
        self.use(job)
        state = self.records.rows[job].state
        if state is not JobState.RECEIVING:
            return SubmitResult(job, state, [], [])
        return SubmitResult(job, state, *missing.of_job(job, prepared.files, prepared.partial))

    def use(self, job: str) -> None:
        """Notes a use of this job: the spool keeps recently used jobs longest."""
        row = self.records.row(job)
        if time.time() - row.used > USED_EVERY_S:
            self.records.write(replace(row, used=time.time()))

    def begin_again(self, row: Row, prepared: Prepared, priority: int) -> None:
        """Runs an ended job again, without its results. Raises `DaemonError`, `RequestError`."""
        self._check_room(prepared)
        if not self.records.commit():
            raise SpoolFull(NOT_WRITTEN)
        number = self.records.next_number()
        fresh = replace(row.fresh(number), priority=priority, used=time.time())
        self.records.store.add(fresh, prepared.canonical, prepared.names)
        if not self.records.commit():  # before the results are deleted
            self.records.store.discard(row.id)
            raise SpoolFull(NOT_WRITTEN)
        self.records.spool.drop_job(row.id)
        self.records.rows.put(fresh)
        self.records.log(row, "submitted again", user=row.user)
        self.records.execute(self.records.scheduler.submitted_again(row.id, priority, number))
        self._collect(prepared)

    def resume(self) -> None:
        """Restarts jobs that were cancelled and then submitted again. Call it when jobs have ended."""
        records = self.records
        for job in [job for job in records.resubmitted if records.rows[job].state.is_final]:
            prepared, priority = records.resubmitted.pop(job)
            if records.rows[job].state is not JobState.CANCELLED:
                continue
            try:
                if prepared.generation != records.spool.generation:
                    prepared = Prepared.of(prepared.user, prepared.request, records.spool)
                self.begin_again(records.rows[job], prepared, priority)
            except DaemonError as error:  # others have the space now: it stays cancelled
                log.warning("not restarted: %s", error.text, extra={"job": job})

    def _begin(self, prepared: Prepared, priority: int) -> None:
        self._check_room(prepared)
        request = prepared.request
        row = Row(
            prepared.job,
            self.records.next_number(),
            prepared.user,
            priority,
            JobState.RECEIVING,
            request.first,
            request.last,
            request.operation,
            request.settings.engine,
            used=time.time(),
        )
        self.records.add(row, prepared.canonical, prepared.names)
        self.records.log(row, "submitted", user=row.user, frames=row.frames)
        self._collect(prepared)

    def _collect(self, prepared: Prepared) -> None:
        """Waits for the missing files of a job, or queues it."""
        job, request = prepared.job, prepared.request
        self.records.changes.add_status(job)
        self.records.missing.add(job, prepared.lacking)
        self.records.queue_if_complete(job)
        if self.records.rows[job].state is JobState.RECEIVING:
            expected = self.records.scheduler.expected
            self.records.execute(expected(job, request.operation, request.settings.engine))

    def _has_results(self, row: Row) -> bool:
        """Returns True if a done job can be answered from the store."""
        return row.state is JobState.DONE and all(
            self.records.spool.result_path(row.id, frame).is_file()
            for frame in range(row.first, row.last + 1)
        )

    # -- checks -------------------------------------------------------------------------------------

    def _check_engine(self, operation: str, engine: str) -> None:
        if (operation, engine) not in self.engines:
            known = [name for of, name in self.engines if of == operation]
            engine = engine[:MAX_NAME]
            near = difflib.get_close_matches(engine, known, 1)
            raise BadSetting(
                f"this daemon has no engine {engine!r} for {operation}; "
                f"it has: {', '.join(known) or 'none'}"
                + (f"; did you mean {near[0]}?" if near else ""),
                "Choose another with --engine, or ask for it to be installed on the daemon.",
            )

    def _check_room(self, prepared: Prepared, *, is_new: bool = True) -> None:
        user, missing = prepared.user, self.records.missing
        if is_new and (unfinished := self.records.rows.unfinished(user)) >= self.most_jobs:
            raise TooMany(
                f"{user} has {unfinished} unfinished jobs; this daemon allows {self.most_jobs} per user"
            )
        missing.require_agreement(prepared.sizes)
        missing.require_room(user, prepared.lacking, self.keep_free, self.user_share)

    # -- files --------------------------------------------------------------------------------------

    def room_for(self, prepared: Prepared) -> int:
        """Returns the bytes still to come if this job is accepted, including those of earlier jobs."""
        return self.records.missing.room(prepared.user, prepared.lacking, self.user_share)

    def offered(self, operation: str, engine: str) -> None:
        """Announces a job for this engine; ignored if there is no such engine."""
        if (operation, engine) in self.engines:
            self.records.execute(self.records.scheduler.offered(operation, engine))

    def missing(self, user: str, files: Sequence[FrameFile]) -> MissingIndices:
        """Returns which of these files to upload early; none if not all of them fit."""
        spool = self.records.spool
        sizes = {UserFile(user, file.sha256): file.size for file in files}
        lacking = {file: size for file, size in sizes.items() if not spool.has(file, size)}
        try:
            self.records.missing.require_room(user, lacking, self.keep_free, self.user_share)
        except SpoolFull:
            return [], []
        need = [i for i, file in enumerate(files) if UserFile(user, file.sha256) in lacking]
        parts = [(i, spool.partial(UserFile(user, files[i].sha256))) for i in need]
        return need, [part for part in parts if part[1]][:MOST_PARTIAL]

    def announced(self, file: UserFile) -> int | None:
        """Returns the bytes with which a job that waits for this file announced it."""
        return self.records.missing.size(file)

    def is_wanted(self, file: UserFile) -> bool:
        """Returns True if a job of its user waits for this file, or it is there already."""
        return file in self.records.missing or self.records.spool.has(file)

    def file_arrived(self, file: UserFile) -> None:
        """Notes that a file is complete in the spool."""
        if not self.records.spool.has(file):
            return  # deleted again before any request for it
        for job in self.records.missing.arrived(file):
            self.records.queue_if_complete(job)
