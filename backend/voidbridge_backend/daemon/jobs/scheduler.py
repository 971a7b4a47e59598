"""Decides which job runs next, and on which device. Facts in, commands out.

No sockets, threads, clocks, files or pixels: the daemon executes the commands, the tests read them.

Higher priorities run first. Within one priority users take turns. The next user is the one with the oldest last
start, whose first submitted job then runs. A user with one shot therefore waits for one running job
of a user with a hundred, not for all hundred.

Devices that no job waits for are lent to running jobs that asked for more. A waiting job takes them back at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace

from voidbridge_protocol.lifecycle import JobState, advance

MAX_ATTEMPTS = 3
"""Maximum attempts of a job whose worker dies."""
MAX_LOSSES = 10
"""Maximum attempts of a job that end because a node of the cluster is lost; they count apart."""


@dataclass
class QueuedJob:
    """The scheduler's data of a job."""

    id: str
    user: str
    priority: int
    number: int
    state: JobState
    attempts: int = 0
    device: str = ""
    more_devices: int = 0
    """Devices that it can use beside its own at the moment."""
    losses: int = 0
    """Attempts that ended because the node was lost, which proves nothing about the job."""


@dataclass(frozen=True)
class Start:
    """Give this job to the worker of this device."""

    job: str
    device: str


@dataclass(frozen=True)
class Prepare:
    """The worker of this device is idle and may load the engine of the next job."""

    operation: str
    engine: str
    device: str


@dataclass(frozen=True)
class Interrupt:
    """Tell the worker of this device to stop at its next step."""

    job: str
    device: str


@dataclass(frozen=True)
class Lend:
    """The worker of this idle device may compute parts of a running job."""

    job: str
    device: str


@dataclass(frozen=True)
class Recall:
    """The worker of this device stops computing for the job. `device_ready` follows once it is idle."""

    job: str
    device: str


@dataclass(frozen=True)
class StateChanged:
    """The job has a new state: store it and notify watchers."""

    job: str
    state: JobState


@dataclass(frozen=True)
class GaveUp:
    """The job's worker died as often as allowed: the job failed."""

    job: str
    attempts: int


Command = Start | Prepare | Interrupt | Lend | Recall | StateChanged | GaveUp


class Scheduler:
    """One job per device. Devices appear and disappear with their workers.

    A job may borrow idle devices, so that it has `devices_per_job` in all.
    """

    def __init__(self, devices_per_job: int = 1) -> None:
        self.devices_per_job = devices_per_job
        self.jobs: dict[str, QueuedJob] = {}
        self._idle: dict[str, None] = {}
        self._lent: dict[str, str] = {}
        """The job of each lent device, until the device is ready again or lost."""
        self._recalled: set[str] = set()
        self._turn: dict[str, int] = {}
        self._starts = 0
        self._held = False
        self._running = 0
        self._served: dict[str, int] | None = None
        self._expected = "", "", ""

    # -- facts --------------------------------------------------------------------------------------

    def known(self, job: QueuedJob) -> None:
        """Adds a job from the store at the daemon's start, or a new one that still receives files."""
        self.jobs[job.id] = job
        self._served = None

    def forget(self, job_id: str) -> None:
        """Removes a job without a trace. Only for one that does not run."""
        del self.jobs[job_id]
        self._served = None

    def expected(self, job_id: str, operation: str, engine: str) -> list[Command]:
        """Notes that files of the job are arriving."""
        self._expected = job_id, operation, engine
        return self._prepare()

    def offered(self, operation: str, engine: str) -> list[Command]:
        """Notes that a client will soon submit a job for this engine."""
        return (
            []
            if self._held
            else [Prepare(operation, engine, device) for device in list(self._idle)[:1]]
        )

    def received(self, job_id: str) -> list[Command]:
        """Notes that every file of the job is in the spool."""
        return [self._move(self.jobs[job_id], JobState.QUEUED), *self._fill()]

    def submitted_again(self, job_id: str, priority: int, number: int) -> list[Command]:
        """Queues a finished job again."""
        job = self.jobs[job_id]
        job.priority, job.number, job.attempts, job.losses = priority, number, 0, 0
        return [self._move(job, JobState.RECEIVING)]

    def device_ready(self, device: str) -> list[Command]:
        """Notes that the worker of this device has its engine and is idle."""
        self._return(device)
        self._idle[device] = None
        return [*self._fill(), *self._prepare()]

    def more_devices_wanted(self, job_id: str, count: int) -> list[Command]:
        """Notes that a running job can use up to `count` devices beside its own; 0 gives them back."""
        job = self.jobs.get(job_id)
        if job is None or not job.device:
            return []
        job.more_devices = min(count, self.devices_per_job - 1)
        surplus = self._borrowed(job_id)[job.more_devices :]
        return [*self._recall(surplus), *self._lend()]

    def device_lost(self, device: str, is_away: bool = False) -> list[Command]:
        """Notes that the worker of this device died; its job is tried again, unless that was the last attempt.

        With `is_away` its node was lost, and the attempt does not count as one of the job.
        """
        self._idle.pop(device, None)
        self._return(device)
        job = next((j for j in self.jobs.values() if j.device == device), None)
        if job is None:
            return self._recall_for_waiting()
        recalls = self._leave(job)
        if job.state is JobState.CANCELLING:
            return [*recalls, self._move(job, JobState.CANCELLED)]
        if is_away:
            job.attempts, job.losses = job.attempts - 1, job.losses + 1
        if job.attempts >= MAX_ATTEMPTS or job.losses >= MAX_LOSSES:
            tried = job.attempts + job.losses
            return [*recalls, GaveUp(job.id, tried), self._move(job, JobState.FAILED)]
        return [*recalls, self._move(job, JobState.QUEUED), *self._fill()]

    def ended(self, job_id: str, state: JobState) -> list[Command]:
        """Notes that the worker has ended the job and is idle."""
        job = self.jobs[job_id]
        device = job.device
        recalls = self._leave(job)
        if job.state is JobState.CANCELLING and state is JobState.FAILED:
            state = JobState.CANCELLED  # after a cancel, any failure counts as cancelled
        moved: Command = self._move(job, state)
        return [moved, *recalls, *self.device_ready(device)]

    def failed_before_running(self, job_id: str) -> list[Command]:
        """Fails a job that cannot run, for example because the spool cannot store its files."""
        return [self._move(self.jobs[job_id], JobState.FAILED)]

    def cancel_requested(self, job_id: str) -> list[Command]:
        job = self.jobs[job_id]
        if job.state.is_final or job.state is JobState.CANCELLING:
            return []  # a cancel may always cross the answer on the wire
        if job.state is JobState.RUNNING:
            moved = self._move(job, JobState.CANCELLING)
            return [moved, Interrupt(job.id, job.device)]
        return [self._move(job, JobState.CANCELLED)]

    def hold(self) -> None:
        """Starts no more jobs; running ones continue."""
        self._held = True

    def release(self) -> list[Command]:
        """Starts jobs again."""
        self._held = False
        return self._fill()

    # -- questions ----------------------------------------------------------------------------------

    def ahead_of(self, job_id: str) -> int:
        """Returns the number of jobs that run before this one starts, running ones included."""
        if self.jobs[job_id].state is not JobState.QUEUED:
            return 0
        order = self.places()
        return self._running + order[job_id]

    def waiting(self) -> list[str]:
        """Ids of the queued jobs, next first."""
        return list(self.places())

    def places(self) -> dict[str, int]:
        """Returns the queue in its present order: ids, next first, with their positions.

        Computed once after each change, for all callers.
        """
        if self._served is None:
            self._served = {id_: place for place, id_ in enumerate(self._line())}
            self._running = sum(1 for job in self.jobs.values() if job.device)
        return self._served

    def running(self) -> Iterable[str]:
        return [job.id for job in self.jobs.values() if job.device]

    # -- decisions ----------------------------------------------------------------------------------

    def _fill(self) -> list[Command]:
        commands: list[Command] = []
        while not self._held and self._idle and (order := self.places()):
            job = self.jobs[next(iter(order))]
            device = next(iter(self._idle))
            del self._idle[device]
            self._starts += 1
            self._turn[job.user] = self._starts
            job.device = device
            job.attempts += 1
            commands += [self._move(job, JobState.RUNNING), Start(job.id, device)]
        return [*commands, *self._recall_for_waiting(), *self._lend()]

    def _lend(self) -> list[Command]:
        """Lends idle devices, first to the job with the fewest, if no job waits for one."""
        commands: list[Command] = []
        while not self._held and self._idle and not self.places():
            lacking = [
                (len(self._borrowed(job.id)), job.number, job.id)
                for job in self.jobs.values()
                if job.state is JobState.RUNNING and len(self._borrowed(job.id)) < job.more_devices
            ]
            if not lacking:
                break
            device, job_id = next(iter(self._idle)), min(lacking)[-1]
            del self._idle[device]
            self._lent[device] = job_id
            commands.append(Lend(job_id, device))
        return commands

    def _borrowed(self, job_id: str) -> list[str]:
        """Returns the devices lent to a job, without recalled ones."""
        lent = (device for device, job in self._lent.items() if job == job_id)
        return [device for device in lent if device not in self._recalled]

    def _recall(self, devices: Iterable[str]) -> list[Command]:
        asked = [device for device in devices if device not in self._recalled]
        self._recalled.update(asked)
        return [Recall(self._lent[device], device) for device in asked]

    def _recall_for_waiting(self) -> list[Command]:
        """Takes back a lent device for each waiting job."""
        if self._held or not self._lent:
            return []
        wanted = max(len(self.places()) - len(self._recalled), 0)
        free = [device for device in self._lent if device not in self._recalled]
        return self._recall(free[-wanted:] if wanted else [])

    def _return(self, device: str) -> None:
        self._lent.pop(device, None)
        self._recalled.discard(device)

    def _leave(self, job: QueuedJob) -> list[Command]:
        """Takes the job off its devices."""
        job.device, job.more_devices = "", 0
        return self._recall(self._borrowed(job.id))

    def _prepare(self) -> list[Command]:
        id_, operation, engine = self._expected
        job = self.jobs.get(id_)
        return self.offered(operation, engine) if job and job.state is JobState.RECEIVING else []

    def _line(self) -> Iterator[str]:
        waiting: dict[int, dict[str, deque[QueuedJob]]] = {}
        queued = (job for job in self.jobs.values() if job.state is JobState.QUEUED)
        for job in sorted(queued, key=lambda job: job.number):
            waiting.setdefault(job.priority, {}).setdefault(job.user, deque()).append(job)
        turn, starts = dict(self._turn), self._starts
        for _, users in sorted(waiting.items(), reverse=True):
            heap = [(turn.get(user, 0), jobs[0].number, user) for user, jobs in users.items()]
            heapify(heap)
            while heap:
                user = heap[0][2]
                yield users[user].popleft().id
                starts += 1
                turn[user] = starts
                if users[user]:
                    heapreplace(heap, (starts, users[user][0].number, user))
                else:
                    heappop(heap)

    def _move(self, job: QueuedJob, state: JobState) -> StateChanged:
        job.state = advance(job.state, state)
        self._served = None
        return StateChanged(job.id, state)
