"""The daemon's jobs: keeps the table, the scheduler and the missing files in step.

Every change of state goes through one method, which records it; `commit` writes it to disk before any client is
told. The service knows no sockets.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

from voidbridge_backend.daemon.files.spool import Spool, UserFile
from voidbridge_protocol.codec import decode_request
from voidbridge_protocol.errors import (
    BadSetting,
    DaemonError,
    DamagedFile,
    RequestError,
    SpoolFull,
    TooMany,
    UnknownJob,
    VoidbridgeError,
    WorkerDied,
)
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.messages import MAX_NAME, FrameFile, Request, ResultFile, Status

from . import job_status
from .index import JobIndex
from .job_status import LiveStatus
from .missing_files import MOST_PARTIAL, MissingFiles, Standing
from .prepared import Prepared
from .scheduler import (
    Command,
    GaveUp,
    Interrupt,
    Prepare,
    QueuedJob,
    Scheduler,
    Start,
    StateChanged,
)
from .store import Row, Store

log = logging.getLogger(__name__)

USED_EVERY_S = 60.0
"""Minimum seconds between two recorded uses of a job."""
HISTORY = 200
"""Failed and cancelled jobs of one user that are remembered."""
PROMISE_S = 300.0
"""Seconds for which room is kept for the files of a job whose client has left."""
NOT_WRITTEN = "the job table cannot be written: the daemon's disk is full"


@dataclass(frozen=True)
class SubmitResult:
    """The result of `JobService.submit`."""

    job: str
    state: JobState
    need: list[int]
    partial: list[tuple[int, int]]


@dataclass
class JobService:
    """All jobs. `engines` are the available ones, as (operation, name)."""

    store: Store
    spool: Spool
    engines: tuple[tuple[str, str], ...]
    keep_free: int = 0
    """Free bytes below which no new files are accepted, because results of running jobs need space."""
    most_jobs: int = 1000
    """Maximum unfinished jobs of one user."""
    user_share: int = 100
    """Percent of the free space that the missing files of one user may take."""

    def __post_init__(self) -> None:
        self._changed: dict[str, None] = {}
        """Jobs with a status of their own to tell; `changed_jobs` returns those that only moved up as well."""
        self._results: list[tuple[str, ResultFile]] = []
        self._commands: list[Start | Prepare | Interrupt] = []
        self.scheduler = Scheduler()
        self._rows = JobIndex()
        self._begun: list[str] = []
        """Jobs that are not in the table yet."""
        self._stages: dict[str, LiveStatus] = {}
        self._wanted = MissingFiles(self.spool)
        self._wanted_again: dict[str, tuple[Prepared, int]] = {}
        """Jobs that were submitted again before the worker had ended them."""
        self._obstacles: dict[str, VoidbridgeError] = {}
        self.ended: Counter[tuple[str, str]] = Counter()
        """Jobs ended since the start, by state and code."""
        self._number = 0
        self._seen: dict[str, float] = {}
        """When a client of each job that waits for files was last connected."""
        self.damaged = 0
        """Files, results and requests that were found changed on the disk since the start."""
        self._to_remake: set[str] = set()
        """Running jobs of which a finished result was found damaged."""
        self._moved_up = False
        """True if waiting jobs have a new position or a new reason."""

    def recover(self) -> None:
        """Restores the jobs of an earlier daemon: running jobs are queued again, receiving ones keep waiting."""
        rows = self.store.rows()
        users = {row.id: row.user for row in rows}
        for row in rows:
            state = row.state
            if state is JobState.RUNNING:
                state = JobState.QUEUED
            elif state is JobState.CANCELLING:
                state = JobState.CANCELLED
            if state is not row.state:
                row = replace(row, state=state)
                self.store.save(row)
            self._rows.put(row)
            self._number = max(self._number, row.number)
            self.scheduler.known(
                QueuedJob(row.id, row.user, row.priority, row.number, state, row.attempts)
            )
        there: dict[str, dict[UserFile, int]] = {}
        for job, files in groupby(self.store.files(JobState.RECEIVING), key=itemgetter(0)):
            user = self._rows[job].user
            if user not in there:
                there[user] = self.spool.all_of(user)
            sizes = {UserFile(user, sha256): size for _, sha256, size in files}
            whole = there[user]
            self._wanted.add(job, sizes, {file for file in sizes if whole.get(file) == sizes[file]})
            self._queue_if_complete(job)
        self.commit()
        for job in set(self.spool.job_folders()) - set(users):
            self.spool.drop_job(job)  # of a job that was forgotten when the daemon was killed
        if len(self._rows):
            log.info("%d jobs restored, %d of them waiting", len(self._rows), len(self.waiting()))

    # -- what clients ask ---------------------------------------------------------------------------

    def submit(
        self,
        user: str,
        request: Request,
        priority: int,
        force: bool,
        prepared: Prepared | None = None,
    ) -> SubmitResult:
        """The job of this request: a new one, one that goes on, or a done one. Raises `RequestError`.

        `prepared` is what was worked out about the request before, on another thread.
        """
        self._check_engine(request.operation, request.settings.engine)
        if prepared is None or prepared.generation != self.spool.generation:
            prepared = Prepared.of(user, request, self.spool)
        job = prepared.job
        row = self._rows.get(job)
        if row is None:
            self._begin(prepared, priority)
        elif row.state.is_final and (force or not self._still_answers(row)):
            self._begin_again(row, prepared, priority)
        elif row.state is JobState.CANCELLING:
            self._wanted_again[job] = prepared, priority
        elif not self._wanted.is_promised(job):
            self._check_room(prepared, is_new=False)
            self._wanted.promise(job)
        self.use(job)
        row = self._rows[job]
        is_waiting = row.state is JobState.RECEIVING
        need, partial = (
            self._wanted.of_job(job, prepared.files, prepared.partial) if is_waiting else ([], [])
        )
        return SubmitResult(job, row.state, need, partial)

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

    def cancel(self, job: str) -> None:
        self._row(job)
        self._wanted_again.pop(job, None)
        self._execute(self.scheduler.cancel_requested(job))

    def status(self, job: str) -> Status:
        row = self._row(job)
        ahead = self.scheduler.ahead_of(job)
        return job_status.status(
            row, self._stages.get(job, job_status.NOWHERE), ahead, self.blocked_by
        )

    @property
    def blocked_by(self) -> VoidbridgeError | None:
        """Returns the reason why no job is started at the moment, or None."""
        return next(iter(self._obstacles.values()), None)

    def jobs(self, viewer: str | None = None) -> list[str]:
        """Returns every job that this user sees, oldest first; None sees all."""
        rows = sorted(self._rows, key=lambda row: row.number)
        return [row.id for row in rows if viewer in (None, row.user)]

    def require_visible(self, job: str, viewer: str | None) -> None:
        """Raises `UnknownJob`, with the same text for another user's job as for one that does not exist."""
        row = self._rows.get(job)
        if row is None or viewer not in (None, row.user):
            raise _unknown(job)

    def counts(self) -> dict[str, int]:
        """Returns the number of jobs by state, with every state as a key."""
        return self._rows.counts()

    def results_of(self, job: str) -> list[ResultFile]:
        return [result for _, result in sorted(self._row(job).results.items())]

    def result(self, job: str, frame: int) -> ResultFile:
        found = self._row(job).results.get(frame)
        if found is None:
            raise RequestError(f"job {job} has no result for frame {frame}")
        return found

    def fetched(self, job: str) -> None:
        """Notes that a client has saved every result of a done job. Raises `RequestError`."""
        row = self._row(job)
        if row.state is not JobState.DONE:
            raise RequestError(
                f"job {job} is {row.state.value}: its results cannot all have been fetched"
            )
        self._write(replace(row, fetched=True, used=time.time()))

    def use(self, job: str) -> None:
        """Notes a use of this job: the spool keeps recently used jobs longest."""
        row = self._row(job)
        if time.time() - row.used > USED_EVERY_S:
            self._write(replace(row, used=time.time()))

    def waiting(self) -> list[str]:
        return self.scheduler.waiting()

    def user_of(self, job: str) -> str:
        return self._row(job).user

    # -- what happens -------------------------------------------------------------------------------

    def file_arrived(self, file: UserFile) -> None:
        """Notes that a file is complete in the spool."""
        if not self.spool.has(file):
            return  # deleted again before any request for it
        for job in self._wanted.arrived(file):
            self._queue_if_complete(job)

    def is_wanted(self, file: UserFile) -> bool:
        """Returns True if a job of its user waits for this file, or it is there already."""
        return file in self._wanted or self.spool.has(file)

    def device_ready(self, device: str) -> None:
        self._execute(self.scheduler.device_ready(device))

    def device_lost(self, device: str, cause: VoidbridgeError) -> None:
        for job in self.scheduler.jobs.values():
            if job.device == device and job.state is JobState.RUNNING:
                self.warned(job.id, f"attempt {job.attempts} was interrupted: {cause.text}")
        self._execute(self.scheduler.device_lost(device), cause)

    def set_blocked(self, cause: str, why: VoidbridgeError | None) -> None:
        """Blocks starts with the reason `why`, which queued jobs show; None removes this block."""
        before = self._obstacles.get(cause)
        if (before and before.text) == (why and why.text):
            return
        self._obstacles.pop(cause, None)
        if why:
            log.warning("no jobs are started: %s", why.text, extra={"code": why.code})
            self._obstacles[cause] = why
            self.scheduler.hold()
        elif not self._obstacles:
            log.info("jobs are started again")
            self._execute(self.scheduler.release())
        self._moved_up = True

    def progress(self, job: str, name: str, step: int, of: int, seconds_left: float) -> None:
        self._stages[job] = LiveStatus(name, step, of, seconds_left)
        self._changed[job] = None

    def warned(self, job: str, text: str) -> None:
        row, text = self._rows[job], self.spool.hidden(text)
        if text not in row.warnings:
            self._save(replace(row, warnings=(*row.warnings, text)))

    def finished_frame(self, job: str, result: ResultFile) -> None:
        row = self._rows[job]
        if row.results.get(result.frame) == result:
            return  # a second attempt made the same file again
        self.store.add_result(job, result)
        row.results[result.frame] = result
        self._results.append((job, result))
        self._changed[job] = None

    def done(self, job: str) -> None:
        self._execute(self.scheduler.ended(job, JobState.DONE))
        if job in self._to_remake:
            self._remake(self._rows[job])

    def cancelled(self, job: str) -> None:
        """Notes that the worker stopped. Without a request, it does so only if the daemon stops.

        Then the job returns to its state before the start, and the attempt does not count.
        """
        row = self._rows[job]
        if row.state is JobState.CANCELLING:
            self._execute(self.scheduler.ended(job, JobState.CANCELLED))
        elif row.state is JobState.RUNNING:
            self._save(replace(row, attempts=row.attempts - 1))

    def failed(self, job: str, error: VoidbridgeError) -> None:
        self._fail(job, error)
        self._execute(self.scheduler.ended(job, JobState.FAILED))

    def commit(self) -> bool:
        """Writes every change to disk, before other parties are told. Returns False while there is no space.

        New jobs that cannot be stored are dropped, unless they run already.
        """
        settled = self.store.commit()
        begun, self._begun = self._begun, []
        for job in begun if not settled else ():
            row = self._rows.get(job)
            if row and row.state in (JobState.RECEIVING, JobState.QUEUED):
                self.store.discard(job)
                self._drop(job)
        return settled

    def take_commands(self) -> list[Start | Prepare | Interrupt]:
        """What the workers are to do, since this was last asked."""
        taken, self._commands = self._commands, []
        return taken

    def take_results(self) -> list[tuple[str, ResultFile]]:
        """Results (job, file) since this was last asked."""
        taken, self._results = self._results, []
        return taken

    def tell_later(self, job: str) -> None:
        """The job's status is still to be told."""
        self._changed[job] = None

    @property
    def has_changes(self) -> bool:
        return bool(self._changed) or self._moved_up

    def changed_jobs(self, watched: Iterable[str]) -> list[str]:
        """Returns those of these jobs whose status changed since the last call."""
        changed, self._changed = self._changed, {}
        moved_up, self._moved_up = self._moved_up, False
        return [job for job in watched if job in changed or (moved_up and self._waits(job))]

    def _waits(self, job: str) -> bool:
        row = self._rows.get(job)
        return row is not None and row.state is JobState.QUEUED

    # -- what changed on the disk -------------------------------------------------------------------

    def request(self, job: str) -> bytes:
        """The canonical request of a job. Raises `DamagedFile` if it is not what was submitted."""
        try:
            request = self.store.request(job)
        except (KeyError, sqlite3.DatabaseError) as error:
            raise DamagedFile(f"the request of job {job} cannot be read from the table") from error
        user = self._row(job).user
        if job != hashlib.sha256(user.encode() + b"\0" + request).hexdigest()[:24]:
            self.damaged += 1
            raise DamagedFile(f"the request of job {job} changed in the daemon's table")
        return request

    def discard_inputs(self, job: str, names: Sequence[str]) -> None:
        """These files of a job are not what was sent: the next submission has them sent again."""
        folder = self.spool.user_dir(self._row(job).user).name
        for name in names:
            self.damaged += 1
            log.error("a received file changed on the disk", extra={"job": job, "file": name})
            self.spool.discard(f"objects/{folder}/{name}")

    def result_damaged(self, job: str, frame: int) -> None:
        """A result is not what was made: the job is run again, at once or when it has ended."""
        row = self._rows.get(job)
        if row is None or row.results.pop(frame, None) is None:
            return  # somebody else found it a moment ago
        self.damaged += 1
        log.error("a result changed on the disk", extra={"job": job, "frame": frame})
        if row.state is JobState.DONE:
            self._remake(row)
        elif not row.state.is_final:
            self._to_remake.add(job)

    def _remake(self, row: Row) -> None:
        self._to_remake.discard(row.id)
        try:
            prepared = Prepared.of(row.user, decode_request(self.request(row.id)), self.spool)
            is_whole = len(prepared.there) == len(prepared.sizes)
            if is_whole:
                self._begin_again(row, prepared, row.priority)
        except DaemonError as error:
            log.warning("not made again: %s", error.text, extra={"job": row.id})
            return
        except VoidbridgeError:
            is_whole = False
        if not is_whole:
            self._give_up(row)

    def _give_up(self, row: Row) -> None:
        """A done job without its results, whose frames are not here: its client has to submit it again."""
        self._number += 1
        self.store.forget_results(row.id)
        self._rows.put(row.fresh(self._number))
        self._execute(self.scheduler.submitted_again(row.id, row.priority, self._number))
        self._fail(
            row.id, DamagedFile("results changed on the daemon's disk, and the frames are gone")
        )
        self._execute(self.scheduler.failed_before_running(row.id))
        self.spool.drop_job(row.id)

    # -- what the spool may let go ------------------------------------------------------------------

    def claims(self) -> dict[str, tuple[float, bool]]:
        """Returns the last use of each file and if a job still needs it, by the file's path below `objects`."""
        found: dict[str, tuple[float, bool]] = {}
        for job, files in groupby(self.store.claims(), key=itemgetter(0)):
            row = self._rows.get(job)
            if row is None:
                continue  # forgotten, but the full disk could not store that yet
            needed, drawer = not row.state.is_final, self.spool.user_dir(row.user).name
            for _, sha256 in files:
                place = f"{drawer}/{sha256}"
                used, still = found.get(place, (0.0, False))
                found[place] = max(used, row.used), still or needed
        return found

    def wanted_parts(self) -> set[str]:
        return self._wanted.parts()

    def rows(self) -> list[Row]:
        return list(self._rows)

    def forget(self, jobs: Sequence[str]) -> None:
        """Removes ended jobs without a trace."""
        for job in jobs:
            self.store.forget(job)
            self._drop(job)
            log.info("forgotten", extra={"job": job})
        self.commit()  # if possible, a done job keeps its results after a crash
        for job in jobs:
            self.spool.drop_job(job)

    def _drop(self, job: str) -> None:
        self._wanted.drop(job)
        self._rows.drop(job)
        self.scheduler.forget(job)
        self._to_remake.discard(job)
        for other in (self._stages, self._changed, self._wanted_again):
            other.pop(job, None)

    # -- inside -------------------------------------------------------------------------------------

    def _row(self, job: str) -> Row:
        row = self._rows.get(job)
        if row is None:
            raise _unknown(job)
        return row

    def _still_answers(self, row: Row) -> bool:
        """Returns True if a done job can be answered from the store."""
        return row.state is JobState.DONE and all(
            self.spool.result_path(row.id, frame).is_file()
            for frame in range(row.first, row.last + 1)
        )

    def _begin(self, prepared: Prepared, priority: int) -> None:
        self._check_room(prepared)
        job, user, request = prepared.job, prepared.user, prepared.request
        self._number += 1
        row = Row(
            job,
            self._number,
            user,
            priority,
            JobState.RECEIVING,
            request.first,
            request.last,
            request.operation,
            request.settings.engine,
            used=time.time(),
        )
        self.store.add(row, prepared.canonical, prepared.names)
        self._begun.append(job)
        self._rows.put(row)
        self.scheduler.known(QueuedJob(job, user, priority, row.number, row.state))
        log.info("submitted", extra={"job": job, "user": user, "frames": row.frames})
        self._collect(prepared)

    def _begin_again(self, row: Row, prepared: Prepared, priority: int) -> None:
        self._check_room(prepared)
        if not self.commit():
            raise SpoolFull(NOT_WRITTEN)
        self._number += 1
        fresh = replace(row.fresh(self._number), priority=priority, used=time.time())
        self.store.add(fresh, prepared.canonical, prepared.names)
        if not self.commit():  # before the results are deleted
            self.store.discard(row.id)
            raise SpoolFull(NOT_WRITTEN)
        self.spool.drop_job(row.id)
        self._rows.put(fresh)
        log.info("submitted again", extra={"job": row.id, "user": row.user})
        self._execute(self.scheduler.submitted_again(row.id, priority, fresh.number))
        self._collect(prepared)

    def _collect(self, prepared: Prepared) -> None:
        job = prepared.job
        self._changed[job] = None
        self._wanted.add(job, prepared.sizes, prepared.there)
        self._queue_if_complete(job)
        if self._rows[job].state is JobState.RECEIVING:
            request = prepared.request
            self._execute(self.scheduler.expected(job, request.operation, request.settings.engine))

    def room_for(self, prepared: Prepared) -> int:
        """Returns the bytes still to come if this job is accepted, including those of earlier jobs."""
        return self._wanted.room(prepared.user, prepared.sizes, prepared.there, self.user_share)

    def offered(self, operation: str, engine: str) -> None:
        """Announces a job for this engine; ignored if there is no such engine."""
        if (operation, engine) in self.engines:
            self._execute(self.scheduler.offered(operation, engine))

    def missing(self, user: str, files: Sequence[FrameFile]) -> Standing:
        """Returns which of these files to upload early; none if not all of them fit."""
        sizes = {UserFile(user, file.sha256): file.size for file in files}
        there = {file for file, size in sizes.items() if self.spool.has(file, size)}
        try:
            self._wanted.require_room(user, sizes, there, self.keep_free, self.user_share)
        except SpoolFull:
            return [], []
        need = [i for i, file in enumerate(files) if UserFile(user, file.sha256) not in there]
        parts = [(i, self.spool.partial(UserFile(user, files[i].sha256))) for i in need]
        return need, [part for part in parts if part[1]][:MOST_PARTIAL]

    def announced(self, file: UserFile) -> int | None:
        """Bytes with which a job that waits for this file announced it."""
        return self._wanted.size(file)

    def release_promises(self, now: float, is_here: Callable[[str], bool]) -> None:
        """Gives the room of jobs free whose clients left `PROMISE_S` ago. Call it every few seconds.

        `is_here` says whether a client that is connected watches a job. `now` is in seconds of a monotonic clock.
        """
        waiting = self._wanted.jobs()
        self._seen = {job: now if is_here(job) else self._seen.get(job, now) for job in waiting}
        for job, seen in self._seen.items():
            if now - seen > PROMISE_S and self._wanted.is_promised(job):
                log.info("its client is gone: its room is given free", extra={"job": job})
                self._wanted.release(job)

    def trim_history(self) -> None:
        """Forgets the oldest failed and cancelled jobs of users with many. Call it every few seconds."""
        over: dict[str, list[Row]] = {}
        for row in self._rows:
            if (
                row.state in (JobState.FAILED, JobState.CANCELLED)
                and row.id not in self._wanted_again
            ):
                over.setdefault(row.user, []).append(row)
        for rows in over.values():
            rows.sort(key=lambda row: row.number)
            if old := [row.id for row in rows[: max(len(rows) - HISTORY, 0)]]:
                self.forget(old)
        self.store.shrink()

    def _check_room(self, prepared: Prepared, *, is_new: bool = True) -> None:
        user = prepared.user
        if is_new and (unfinished := self._rows.unfinished(user)) >= self.most_jobs:
            raise TooMany(
                f"{user} has {unfinished} unfinished jobs; this daemon allows {self.most_jobs} per user"
            )
        self._wanted.require_agreement(prepared.sizes)
        self._wanted.require_room(
            user, prepared.sizes, prepared.there, self.keep_free, self.user_share
        )

    def _queue_if_complete(self, job: str) -> None:
        if self._rows[job].state is JobState.RECEIVING and not self._wanted.missing(job):
            self._execute(self.scheduler.received(job))

    def _fail(self, job: str, error: VoidbridgeError) -> None:
        row = self._rows[job]
        text = self.spool.hidden(error.text)
        self._rows.put(replace(row, code=error.code, text=text, hint=error.hint))

    def _write(self, row: Row) -> None:
        self.store.save(row)
        self._rows.put(row)

    def _save(self, row: Row) -> None:
        self._write(row)
        self._changed[row.id] = None

    def _execute(self, commands: list[Command], cause: VoidbridgeError | None = None) -> None:
        for command in commands:
            match command:
                case StateChanged(job, state):
                    attempts = self.scheduler.jobs[job].attempts
                    self._stages.pop(job, None)
                    self._save(replace(self._rows[job], state=state, attempts=attempts))
                    log.info(state.value, extra={"job": job})
                    if state in (JobState.QUEUED, JobState.RUNNING) or state.is_final:
                        self._moved_up = True
                    if state.is_final:
                        self.ended[state.value, self._rows[job].code] += 1
                        self._wanted.drop(job)
                case GaveUp(job, attempts):
                    died = cause or WorkerDied("the worker ended")
                    text = f"tried {attempts} times; the last error: {died.text}"
                    self._fail(job, type(died)(text, died.hint))
                case Start() | Prepare() | Interrupt():
                    self._commands.append(command)
        self._resume_requests()

    def _resume_requests(self) -> None:
        """Restarts jobs that were cancelled and then submitted again."""
        for job in [job for job in self._wanted_again if self._rows[job].state.is_final]:
            prepared, priority = self._wanted_again.pop(job)
            if self._rows[job].state is JobState.CANCELLED:
                try:
                    if prepared.generation != self.spool.generation:
                        prepared = Prepared.of(prepared.user, prepared.request, self.spool)
                    self._begin_again(self._rows[job], prepared, priority)
                except (
                    DaemonError
                ) as error:  # the space was given to others meanwhile: it stays cancelled
                    log.warning("not restarted: %s", error.text, extra={"job": job})


def _unknown(job: str) -> UnknownJob:
    return UnknownJob(f"this daemon knows no job {job[:60]!r}")
