"""Decides which job runs next, and on which device. Facts in, commands out.

No sockets, threads, clocks, files or pixels: the daemon executes the commands, the tests read them.

`start_order` has the rule of the order. A user with one shot waits for one running job of a user with a hundred,
not for all hundred, and for the few jobs that may overtake it because their engine is loaded.

Devices that no job waits for are lent to running jobs that asked for more. A waiting job takes them back at once.
Running jobs that go on where they stopped stop for more urgent ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from voidbridge_protocol.lifecycle import JobState, advance

from .start_order import (
    DEFAULT,
    Engine,
    OvertakingRule,
    QueuedJob,
    StartOrder,
    jobs_to_stop,
)

MAX_ATTEMPTS = 3
"""Maximum attempts of a job whose worker dies."""
MAX_LOSSES = 10
"""Maximum attempts of a job that end because a node of the cluster is lost; they count apart."""


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
class Preempt:
    """The worker of this device stops its job for a more urgent one. The next attempt goes on there."""

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


Command = Start | Prepare | Interrupt | Preempt | Lend | Recall | StateChanged | GaveUp


class Scheduler:
    """One job per device. Devices appear and disappear with their workers.

    A job may borrow idle devices, so that it has `devices_per_job` in all.
    """

    def __init__(self, devices_per_job: int = 1, rule: OvertakingRule = DEFAULT) -> None:
        self.devices_per_job, self._rule = devices_per_job, rule
        self.jobs: dict[str, QueuedJob] = {}
        self._queued: dict[str, QueuedJob] = {}
        self._at_work: dict[str, QueuedJob] = {}
        """The job of each device that runs one, the oldest start first."""
        self._idle: dict[str, None] = {}
        self._used: dict[str, Engine] = {}
        """The engine that each device used last."""
        self._lent: dict[str, str] = {}
        """The job of each lent device, until the device is ready again or lost."""
        self._recalled: set[str] = set()
        self._turn: dict[str, int] = {}
        self._starts = 0
        self._held = False
        self._places: dict[str, int] | None = None
        self._expected = "", "", ""

    # -- facts --------------------------------------------------------------------------------------

    def add(self, job: QueuedJob) -> None:
        """Adds a job from the store at the daemon's start, or a new one that still receives files."""
        self.jobs[job.id] = job
        self._changed(job)

    def forget(self, job_id: str) -> None:
        """Removes a job without a trace. Only for one that does not run."""
        del self.jobs[job_id]
        if self._queued.pop(job_id, None):
            self._places = None

    def expected(self, job_id: str, operation: str, engine: str) -> list[Command]:
        """Notes that files of the job are arriving."""
        self._expected = job_id, operation, engine
        return self._prepare()

    def offered(self, operation: str, engine: str) -> list[Command]:
        """Notes that a client will soon submit a job for this engine."""
        if self._held or not self._idle:
            return []
        engines = {self._used.get(device): device for device in reversed(self._idle)}
        device = engines.get((operation, engine), next(iter(self._idle)))
        self._used[device] = operation, engine
        self._places = None
        return [Prepare(operation, engine, device)]

    def received(self, job_id: str) -> list[Command]:
        """Notes that every file of the job is in the spool."""
        return [self._move(self.jobs[job_id], JobState.QUEUED), *self._fill()]

    def submitted_again(self, job_id: str, priority: int, number: int) -> list[Command]:
        """Queues a finished job again."""
        job = self.jobs[job_id]
        job.priority, job.number, job.attempts, job.losses = priority, number, 0, 0
        job.overtaken, job.stops, job.is_stopped = 0, 0, False
        return [self._move(job, JobState.RECEIVING)]

    def device_ready(self, device: str) -> list[Command]:
        """Notes that the worker of this device has its engine and is idle."""
        self._return(device)
        self._idle[device] = None
        self._places = None
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
        self._used.pop(device, None)
        self._places = None
        self._return(device)
        job = self._at_work.get(device)
        if job is None:
            return self._recall_for_waiting()
        was_stopping, recalls = job.is_stopping, self._leave(job)
        if job.state is JobState.CANCELLING:
            return [*recalls, self._move(job, JobState.CANCELLED)]
        job.attempts -= is_away or was_stopping
        job.is_stopped = was_stopping
        job.losses += is_away
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

    def preempted(self, job_id: str) -> list[Command]:
        """Notes that a job has stopped for a more urgent one. The attempt does not count."""
        job = self.jobs[job_id]
        device = job.device
        job.attempts -= 1
        recalls, job.is_stopped = self._leave(job), True
        return [*recalls, self._move(job, JobState.QUEUED), *self.device_ready(device)]

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
        return len(self._at_work) + self.places()[job_id]

    def waiting(self) -> list[str]:
        """Ids of the queued jobs, next first."""
        return list(self.places())

    def places(self) -> dict[str, int]:
        """Returns the queue in the order of its starts: ids, next first, with their positions.

        It is exact for one device, and for several that end their jobs in the order in which these started.
        Computed once after each change, for all callers.
        """
        if self._places is None:
            self._places = {id_: place for place, id_ in enumerate(self._starts_to_come())}
        return self._places

    def running(self) -> Iterable[str]:
        return [job.id for job in self._at_work.values()]

    # -- decisions ----------------------------------------------------------------------------------

    def _fill(self) -> list[Command]:
        commands: list[Command] = []
        if self._held or not self._idle:
            return [*self._recall_for_waiting(), *self._preempt(), *self._lend()]
        order = self._order()
        while self._idle:
            idle = list(self._idle)
            found = order.take([self._used.get(device) for device in idle])
            if found is None:
                break
            job, device = found.job, idle[found.device]
            for overtaken in found.overtakes:
                overtaken.overtaken += 1
            del self._idle[device]
            self._starts += 1
            self._turn[job.user] = self._starts
            self._at_work[device], self._used[device] = job, job.uses
            job.device, job.is_stopped = device, False
            job.attempts += 1
            commands += [self._move(job, JobState.RUNNING), Start(job.id, device)]
        return [*commands, *self._recall_for_waiting(), *self._preempt(), *self._lend()]

    def _order(self) -> StartOrder:
        return StartOrder(self._queued.values(), self._turn, self._starts, self._rule)

    def _starts_to_come(self) -> list[str]:
        """Follows the rule: idle devices start first, then recalled ones, then those with the oldest start."""
        order = self._order()
        ids: list[str] = []
        idle = [self._used.get(device) for device in self._idle]
        busy = [*sorted(self._recalled), *self._at_work]
        later = deque(self._used.get(device) for device in busy)
        while True:
            idle = idle or [later.popleft() if later else None]
            found = order.take(idle)
            if found is None:
                return ids
            del idle[found.device]
            later.append(found.job.uses)
            ids.append(found.job.id)

    def _lend(self) -> list[Command]:
        """Lends idle devices, first to the job with the fewest, if no job waits for one."""
        commands: list[Command] = []
        while not self._held and self._idle and not self._queued:
            lacking = [
                (len(self._borrowed(job.id)), job.number, job.id)
                for job in self._at_work.values()
                if job.state is JobState.RUNNING and len(self._borrowed(job.id)) < job.more_devices
            ]
            if not lacking:
                break
            device, job_id = next(iter(self._idle)), min(lacking)[-1]
            del self._idle[device]
            self._lent[device] = job_id
            self._used[device] = self.jobs[job_id].uses
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
        wanted = max(len(self._queued) - len(self._recalled), 0)
        free = [device for device in self._lent if device not in self._recalled]
        return self._recall(free[-wanted:] if wanted else [])

    def _preempt(self) -> list[Command]:
        """Stops jobs for more urgent ones that no other device is on its way to."""
        if self._held or not self._queued:
            return []
        stopping = sum(job.is_stopping for job in self._at_work.values())
        stopped = jobs_to_stop(
            self._queued.values(), self._at_work.values(), stopping + len(self._recalled)
        )
        for job in stopped:
            job.is_stopping, job.stops = True, job.stops + 1
        return [Preempt(job.id, job.device) for job in stopped]

    def _return(self, device: str) -> None:
        self._lent.pop(device, None)
        self._recalled.discard(device)

    def _leave(self, job: QueuedJob) -> list[Command]:
        """Takes the job off its devices."""
        self._at_work.pop(job.device, None)
        job.device, job.more_devices, job.is_stopping = "", 0, False
        return self._recall(self._borrowed(job.id))

    def _prepare(self) -> list[Command]:
        id_, operation, engine = self._expected
        job = self.jobs.get(id_)
        return self.offered(operation, engine) if job and job.state is JobState.RECEIVING else []

    def _move(self, job: QueuedJob, state: JobState) -> StateChanged:
        job.state = advance(job.state, state)
        self._changed(job)
        return StateChanged(job.id, state)

    def _changed(self, job: QueuedJob) -> None:
        self._places = None
        if job.state is JobState.QUEUED:
            self._queued[job.id] = job
        else:
            self._queued.pop(job.id, None)
