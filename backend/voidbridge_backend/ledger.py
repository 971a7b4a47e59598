"""The daemon's jobs: the table, the scheduler, and what each job still lacks, kept in step.

Every change of state goes through `_obey`, which writes it down before anybody is told. Knows no sockets:
what has to be said or started is left in `changed`, `results` and `orders` for the daemon to pick up.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter

from voidbridge_protocol.errors import (
    BadSetting,
    DaemonError,
    RequestError,
    SpoolFull,
    TooMany,
    UnknownJob,
    VoidbridgeError,
    WorkerDied,
)
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.messages import FrameFile, Request, ResultFile, Status

from .scheduler import Command, GaveUp, Interrupt, Job, Moved, Scheduler, Start
from .spool import Owned, Spool
from .store import Row, Store
from .wanted import Wanted

log = logging.getLogger(__name__)

USED_EVERY_S = 60.0
"""A use of a job is written down so often at most."""
MOST_PARTIAL = 1000
"""Unfinished files that are listed to a client; it begins any further one anew, which is only slower."""


@dataclass
class _Stage:
    """Where a running job is."""

    stage: str = ""
    step: int = 0
    of: int = 0
    seconds_left: float = -1.0


@dataclass(frozen=True)
class Submission:
    """What `Ledger.submit` made of a request."""

    job: str
    state: JobState
    need: list[int]
    partial: list[tuple[int, int]]


@dataclass
class Ledger:
    """All jobs. `engines` are the names that a request may ask for."""

    store: Store
    spool: Spool
    engines: tuple[str, ...]
    keep_free: int = 0
    """Bytes of disk below which nothing new is taken in: results of what runs need room."""
    most_jobs: int = 1000
    """Unfinished jobs of one user."""
    changed: dict[str, None] = field(default_factory=dict)
    """Jobs whose status is news."""
    results: list[tuple[str, ResultFile]] = field(default_factory=list)
    """Results that are news."""
    orders: list[Start | Interrupt] = field(default_factory=list)
    """What the supervisor is to do."""

    def __post_init__(self) -> None:
        self.scheduler = Scheduler()
        self._rows: dict[str, Row] = {}
        self._stages: dict[str, _Stage] = {}
        self._wanted = Wanted(self.spool)
        self._wanted_again: dict[str, tuple[Request, int]] = {}
        """Jobs that were submitted once more while the worker had not let go of them yet."""
        self._obstacles: dict[str, VoidbridgeError] = {}
        self.ended: Counter[tuple[str, str]] = Counter()
        """Jobs that came to an end since the start, by state and code."""
        self._number = 0

    def recover(self) -> None:
        """Takes up what an earlier daemon left: running jobs are queued again, receiving ones wait on."""
        rows = self.store.rows()
        users = {row.id: row.user for row in rows}
        self.spool.adopt(Owned(users[job], sha256) for job, sha256 in self.store.claims())
        for row in rows:
            state = row.state
            if state is JobState.RUNNING:
                state = JobState.QUEUED
            elif state is JobState.CANCELLING:
                state = JobState.CANCELLED
            if state is not row.state:
                row = replace(row, state=state)
                self.store.save(row)
            self._rows[row.id] = row
            self._number = max(self._number, row.number)
            self.scheduler.known(
                Job(row.id, row.user, row.priority, row.number, state, row.attempts)
            )
            if state is JobState.RECEIVING:
                request = self._request(row.id)
                self._wanted.add(row.id, _files_of(row.user, request.files))
        for job in [row.id for row in self._rows.values() if row.state is JobState.RECEIVING]:
            self._queue_if_complete(job)
        for job in set(self.spool.job_folders()) - set(self._rows):
            self.spool.drop_job(job)  # of one that was forgotten when the daemon was killed
        if self._rows:
            log.info("%d jobs taken up, %d of them waiting", len(self._rows), len(self.waiting()))

    # -- what clients ask ---------------------------------------------------------------------------

    def submit(self, user: str, request: Request, priority: int, again: bool) -> Submission:
        """The job of this request: a new one, one that goes on, or a done one. Raises `RequestError`."""
        if request.settings.engine not in self.engines:
            raise BadSetting(
                f"this daemon has no engine {request.settings.engine!r}; "
                f"it has {', '.join(self.engines)}",
                "Choose another with --engine, or ask for it to be installed on the daemon.",
            )
        job = request.key(user)
        row = self._rows.get(job)
        if row is None:
            self._begin(job, user, request, priority)
        elif row.state.is_final and (again or not self._still_answers(row)):
            self._begin_again(row, request, priority)
        elif row.state is JobState.CANCELLING:
            self._wanted_again[job] = request, priority
        self.use(job)
        need, partial = self._need(job, request)
        return Submission(job, self._rows[job].state, need, partial)

    def cancel(self, job: str) -> None:
        self._row(job)
        self._wanted_again.pop(job, None)
        self._obey(self.scheduler.cancel_requested(job))

    def status(self, job: str) -> Status:
        row = self._row(job)
        stage = self._stages.get(job, _Stage())
        if row.state is JobState.RECEIVING:
            stage = _Stage("receiving frames")
        elif row.state is JobState.QUEUED:
            stage = _Stage("waiting")
            if why := self.obstacle:
                row = replace(row, code=why.code, text=why.text, hint=why.hint)
        return Status(
            job=job,
            state=row.state,
            stage=stage.stage,
            step=stage.step,
            of=stage.of,
            seconds_left=stage.seconds_left,
            ahead=self.scheduler.ahead_of(job),
            ready=len(row.results),
            frames=row.frames,
            first=row.first,
            attempt=row.attempts,
            warnings=row.warnings,
            code=row.code,
            text=row.text,
            hint=row.hint,
            user=row.user,
            engine=row.engine,
        )

    @property
    def obstacle(self) -> VoidbridgeError | None:
        """Why nothing is started at the moment."""
        return next(iter(self._obstacles.values()), None)

    def jobs(self, viewer: str | None = None) -> list[str]:
        """Every job that this user sees, oldest first; None sees everybody's."""
        rows = sorted(self._rows.values(), key=lambda row: row.number)
        return [row.id for row in rows if viewer in (None, row.user)]

    def must_see(self, job: str, viewer: str | None) -> None:
        """Raises `UnknownJob`: for another user's job in the very words as for one that does not exist."""
        row = self._rows.get(job)
        if row is None or viewer not in (None, row.user):
            raise _unknown(job)

    def counts(self) -> dict[str, int]:
        """Jobs by their state; every state is named."""
        found = Counter(row.state for row in self._rows.values())
        return {state.value: found[state] for state in JobState}

    def results_of(self, job: str) -> list[ResultFile]:
        return [result for _, result in sorted(self._row(job).results.items())]

    def result(self, job: str, frame: int) -> ResultFile:
        found = self._row(job).results.get(frame)
        if found is None:
            raise RequestError(f"job {job} has no result for frame {frame}")
        return found

    def fetched(self, job: str) -> None:
        """A client has every result of a done job on its disk. Raises `RequestError`."""
        row = self._row(job)
        if row.state is not JobState.DONE:
            raise RequestError(
                f"job {job} is {row.state.value}: not all of it can have been fetched"
            )
        self._write(replace(row, fetched=True, used=time.time()))

    def use(self, job: str) -> None:
        """Somebody asked for this job: the spool keeps longest what was used last."""
        row = self._row(job)
        if time.time() - row.used > USED_EVERY_S:
            self._write(replace(row, used=time.time()))

    def waiting(self) -> list[str]:
        return self.scheduler.waiting()

    def user_of(self, job: str) -> str:
        return self._row(job).user

    # -- what happens -------------------------------------------------------------------------------

    def file_arrived(self, file: Owned) -> None:
        """A file is whole in the spool."""
        if not self.spool.has(file):
            return  # deleted again, before anybody had asked for it
        for job in self._wanted.arrived(file):
            self._queue_if_complete(job)

    def is_wanted(self, file: Owned) -> bool:
        """Whether a job of its user waits for this file, or it is there already."""
        return file in self._wanted or self.spool.has(file)

    def device_ready(self, device: str) -> None:
        self._obey(self.scheduler.device_ready(device))

    def device_lost(self, device: str, cause: VoidbridgeError) -> None:
        for job in self.scheduler.jobs.values():
            if job.device == device and job.state is JobState.RUNNING:
                self.warned(job.id, f"attempt {job.attempts} was broken off: {cause.text}")
        self._obey(self.scheduler.device_lost(device), cause)

    def obstruct(self, what: str, why: VoidbridgeError | None) -> None:
        """Nothing is started because of `why`, and queued jobs say so; None: not because of that any more."""
        before = self._obstacles.get(what)
        if (before and before.text) == (why and why.text):
            return
        self._obstacles.pop(what, None)
        if why:
            log.warning("nothing is started: %s", why.text, extra={"code": why.code})
            self._obstacles[what] = why
            self.scheduler.hold()
        elif not self._obstacles:
            log.info("jobs are started again")
            self._obey(self.scheduler.release())
        self.changed |= dict.fromkeys(self.waiting())

    def progress(self, job: str, stage: str, step: int, of: int, seconds_left: float) -> None:
        self._stages[job] = _Stage(stage, step, of, seconds_left)
        self.changed[job] = None

    def warned(self, job: str, text: str) -> None:
        row = self._rows[job]
        if text not in row.warnings:
            self._save(replace(row, warnings=(*row.warnings, text)))

    def finished_frame(self, job: str, result: ResultFile) -> None:
        row = self._rows[job]
        if row.results.get(result.frame) == result:
            return  # a second attempt made the same file again
        self.store.add_result(job, result)
        row.results[result.frame] = result
        self.results.append((job, result))
        self.changed[job] = None

    def done(self, job: str) -> None:
        self._obey(self.scheduler.ended(job, JobState.DONE))

    def cancelled(self, job: str) -> None:
        """The worker stopped where it was. Unasked it does so only because the daemon stops.

        Then the job is as it was before it was started; that try does not count.
        """
        row = self._rows[job]
        if row.state is JobState.CANCELLING:
            self._obey(self.scheduler.ended(job, JobState.CANCELLED))
        elif row.state is JobState.RUNNING:
            self._save(replace(row, attempts=row.attempts - 1))

    def failed(self, job: str, error: VoidbridgeError) -> None:
        self._blame(job, error)
        self._obey(self.scheduler.ended(job, JobState.FAILED))

    # -- what the spool may let go ------------------------------------------------------------------

    def claims(self) -> dict[str, tuple[float, bool]]:
        """When a job last used a file, and whether one still needs it, by the file's place below `objects`."""
        found: dict[str, tuple[float, bool]] = {}
        for job, files in groupby(self.store.claims(), key=itemgetter(0)):
            row = self._rows.get(job)
            if row is None:
                continue  # forgotten, which the full disk could not note down yet
            needed, drawer = not row.state.is_final, self.spool.drawer(row.user).name
            for _, sha256 in files:
                place = f"{drawer}/{sha256}"
                used, still = found.get(place, (0.0, False))
                found[place] = max(used, row.used), still or needed
        return found

    def wanted_parts(self) -> set[str]:
        return self._wanted.parts()

    def rows(self) -> list[Row]:
        return list(self._rows.values())

    def forget(self, job: str) -> None:
        """The job was never there. Only for one that is over."""
        self.store.forget(job)
        self._wanted.drop(job)
        self.spool.drop_job(job)
        del self._rows[job], self.scheduler.jobs[job]
        for other in (self._stages, self.changed, self._wanted_again):
            other.pop(job, None)
        log.info("forgotten", extra={"job": job})

    # -- inside -------------------------------------------------------------------------------------

    def _row(self, job: str) -> Row:
        row = self._rows.get(job)
        if row is None:
            raise _unknown(job)
        return row

    def _request(self, job: str) -> Request:
        from voidbridge_protocol.codec import decode_request

        return decode_request(self.store.request(job))

    def _still_answers(self, row: Row) -> bool:
        """Whether a done job can be answered from the store."""
        return row.state is JobState.DONE and all(
            self.spool.result_path(row.id, frame).is_file()
            for frame in range(row.first, row.last + 1)
        )

    def _begin(self, job: str, user: str, request: Request, priority: int) -> None:
        self._check_room(user, request)
        self._number += 1
        row = Row(
            job,
            self._number,
            user,
            priority,
            JobState.RECEIVING,
            request.first,
            request.last,
            request.settings.engine,
            used=time.time(),
        )
        self.store.add(row, request.canonical(), _names(request))
        self._rows[job] = row
        self.scheduler.known(Job(job, user, priority, row.number, row.state))
        log.info("submitted", extra={"job": job, "user": user, "frames": row.frames})
        self._collect(job, request)

    def _begin_again(self, row: Row, request: Request, priority: int) -> None:
        self._check_room(row.user, request)
        self._number += 1
        fresh = replace(row.fresh(self._number), priority=priority, used=time.time())
        self.store.add(fresh, request.canonical(), _names(request))
        self.spool.drop_job(row.id)
        self._rows[row.id] = fresh
        log.info("submitted again", extra={"job": row.id, "user": row.user})
        self._obey(self.scheduler.submitted_again(row.id, priority, fresh.number))
        self._collect(row.id, request)

    def _collect(self, job: str, request: Request) -> None:
        self.changed[job] = None
        self._wanted.add(job, _files_of(self._rows[job].user, request.files))
        self._queue_if_complete(job)

    def room_for(self, user: str, request: Request) -> int:
        """Bytes that are still to come if this job is taken, those of jobs accepted before included."""
        return self._wanted.room(_files_of(user, request.files))

    def lacking(
        self, user: str, files: Sequence[FrameFile]
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Which of these files are to come ahead of their job; none where there is no room for all of them."""
        if self._wanted.room(_files_of(user, files)) + self.keep_free > self.spool.free_bytes():
            return [], []
        return self._standing(
            (i, file) for i, file in enumerate(_owned(user, files)) if not self.spool.has(file)
        )

    def _check_room(self, user: str, request: Request) -> None:
        unfinished = sum(row.user == user and not row.state.is_final for row in self._rows.values())
        if unfinished >= self.most_jobs:
            raise TooMany(
                f"{user} has {unfinished} unfinished jobs; this daemon takes {self.most_jobs} of one user"
            )
        need, free = self.room_for(user, request) + self.keep_free, self.spool.free_bytes()
        if need > free:
            raise SpoolFull(
                f"the job needs {_shown(need)} in the daemon's spool ({self.spool.folder}), with what "
                f"is promised to others and kept free; {_shown(free)} are free"
            )

    def _queue_if_complete(self, job: str) -> None:
        if self._rows[job].state is JobState.RECEIVING and not self._wanted.lacks(job):
            self._obey(self.scheduler.received(job))

    def _need(self, job: str, request: Request) -> tuple[list[int], list[tuple[int, int]]]:
        if self._rows[job].state is not JobState.RECEIVING:
            return [], []
        lacks, files = self._wanted.lacks(job), _owned(self._rows[job].user, request.files)
        return self._standing((i, file) for i, file in enumerate(files) if file in lacks)

    def _standing(
        self, lacks: Iterable[tuple[int, Owned]]
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """The numbers of these files, and with them how much of those that are not whole is there."""
        partial = [(i, self.spool.partial(file)) for i, file in lacks]
        return [i for i, _ in partial], [part for part in partial if part[1]][:MOST_PARTIAL]

    def _blame(self, job: str, error: VoidbridgeError) -> None:
        self._rows[job] = replace(
            self._rows[job], code=error.code, text=error.text, hint=error.hint
        )

    def _write(self, row: Row) -> None:
        self.store.save(row)
        self._rows[row.id] = row

    def _save(self, row: Row) -> None:
        self._write(row)
        self.changed[row.id] = None

    def _obey(self, commands: list[Command], cause: VoidbridgeError | None = None) -> None:
        for command in commands:
            match command:
                case Moved(job, state):
                    attempts = self.scheduler.jobs[job].attempts
                    self._stages.pop(job, None)
                    self._save(replace(self._rows[job], state=state, attempts=attempts))
                    log.info(state.value, extra={"job": job})
                    if state in (JobState.QUEUED, JobState.RUNNING) or state.is_final:
                        self.changed |= dict.fromkeys(self.waiting())  # everybody moves up
                    if state.is_final:
                        self.ended[state.value, self._rows[job].code] += 1
                        self._wanted.drop(job)
                case GaveUp(job, attempts):
                    died = cause or WorkerDied("the worker ended")
                    text = f"tried {attempts} times; the last time {died.text}"
                    self._blame(job, type(died)(text, died.hint))
                case Start() | Interrupt():
                    self.orders.append(command)
        self._begin_what_was_cancelled_too_early()

    def _begin_what_was_cancelled_too_early(self) -> None:
        """Who cancels and presses the button again means the second."""
        for job in [job for job in self._wanted_again if self._rows[job].state.is_final]:
            request, priority = self._wanted_again.pop(job)
            if self._rows[job].state is JobState.CANCELLED:
                try:
                    self._begin_again(self._rows[job], request, priority)
                except (
                    DaemonError
                ) as error:  # the room was given to others meanwhile: it stays cancelled
                    log.warning("not begun again: %s", error.text, extra={"job": job})


def _owned(user: str, files: Sequence[FrameFile]) -> list[Owned]:
    return [Owned(user, file.sha256) for file in files]


def _files_of(user: str, files: Sequence[FrameFile]) -> dict[Owned, int]:
    return {Owned(user, file.sha256): file.size for file in files}


def _shown(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 1 << 30 else f"{size / 2**20:.1f} MB"


def _names(request: Request) -> list[str]:
    return sorted({file.sha256 for file in request.files})


def _unknown(job: str) -> UnknownJob:
    return UnknownJob(f"this daemon knows no job {job[:60]!r}")
