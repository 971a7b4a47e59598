"""The order in which queued jobs start. Pure, like the scheduler, which owns the jobs.

Higher priorities run first. Within one priority users take turns: the next user is the one with the oldest last
start, whose first submitted job then runs. A device whose engine that job does not use may take another one of the
next `WINDOW` jobs instead: the first that uses it. No job is overtaken more than `MAX_OVERTAKEN` times.

A running job stops for a more urgent one only if its next attempt goes on there, and at most `MOST_STOPS` times. If
`FEW` other jobs run, none stops, because one of them ends soon.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace

from voidbridge_protocol.lifecycle import JobState

Engine = tuple[str, str]
"""An operation and its engine."""
WINDOW = 10
"""Jobs among which a device looks for one that uses its engine: `benchmarks/farm.py` compares it with 1."""
MAX_OVERTAKEN = 20
"""Starts out of turn before a job, after which nothing overtakes it any more."""
MOST_STOPS = 1
"""Times that a job is stopped for others. Then it keeps its device to its end."""
FEW = 8
"""So many jobs that run to their end free a device soon: `benchmarks/preemption.py`."""


@dataclass(frozen=True)
class OvertakingRule:
    """How far a device looks for its engine, and how often a job is overtaken. The simulation compares others."""

    window: int = WINDOW
    overtaken: int = MAX_OVERTAKEN


DEFAULT = OvertakingRule()


@dataclass
class QueuedJob:
    """The scheduler's data of a job."""

    id: str
    user: str
    priority: int
    number: int
    state: JobState
    attempts: int = 0
    operation: str = ""
    engine: str = ""
    device: str = ""
    more_devices: int = 0
    """Devices that it can use beside its own at the moment."""
    losses: int = 0
    """Attempts that ended because the node was lost, which proves nothing about the job."""
    overtaken: int = 0
    """Jobs that started before it out of turn."""
    goes_on: bool = False
    """Another attempt goes on where this one was stopped."""
    stops: int = 0
    """Times that it was stopped for a more urgent job."""
    is_stopped: bool = False
    """It waits because it was stopped for a more urgent job."""
    is_stopping: bool = False
    """It runs, and was asked to stop for a more urgent job."""

    @property
    def uses(self) -> Engine:
        return self.operation, self.engine


@dataclass(frozen=True)
class Next:
    """The job that starts next."""

    job: QueuedJob
    device: int
    """Index of the device among those that are idle."""
    overtakes: tuple[QueuedJob, ...]


class StartOrder:
    """Waiting jobs, from which one after the other is taken. It changes none of them."""

    def __init__(
        self,
        queued: Iterable[QueuedJob],
        turns: Mapping[str, int],
        starts: int,
        rule: OvertakingRule = DEFAULT,
    ) -> None:
        """`turns` has the number of each user's last start, `starts` the number of all starts."""
        self._rule = rule
        self._waiting: dict[int, dict[str, deque[QueuedJob]]] = {}
        for job in sorted(queued, key=lambda job: job.number):
            users = self._waiting.setdefault(job.priority, {})
            users.setdefault(job.user, deque()).append(job)
        self._turns, self._starts = dict(turns), starts
        self._priorities = sorted(self._waiting)
        self._heap: list[tuple[int, int, str]] = []
        self._passed: Counter[str] = Counter()

    def take(self, idle: Sequence[Engine | None]) -> Next | None:
        """Removes the job that starts next, or returns None if no job is left.

        `idle` has the last used engine of each idle device, of which there is at least one; None for a device that
        has used none.
        """
        if not self._heap and not self._begin_priority():
            return None
        before: list[QueuedJob] = []
        for job in self._next_in_turn():
            if job.uses in idle:
                return self._taken(job, idle.index(job.uses), before)
            before.append(job)
            is_full = self._overtaken(job) >= self._rule.overtaken
            if len(before) == self._rule.window or is_full:
                break
        return self._taken(before[0], 0, [])

    def _begin_priority(self) -> bool:
        if not self._priorities:
            return False
        users = self._waiting[self._priorities.pop()]
        self._users = users
        self._heap = [(self._turns.get(u, 0), jobs[0].number, u) for u, jobs in users.items()]
        heapify(self._heap)
        return True

    def _next_in_turn(self) -> Iterator[QueuedJob]:
        """Yields the jobs of the present priority as users take turns, and removes none."""
        heap, starts = self._heap, self._starts
        yield self._users[heap[0][2]][0]
        heap, drawn = heap.copy(), Counter[str]()
        while heap:
            user, starts = heap[0][2], starts + 1
            drawn[user] += 1
            if drawn[user] < len(jobs := self._users[user]):
                heapreplace(heap, (starts, jobs[drawn[user]].number, user))
            else:
                heappop(heap)
            if heap:
                user = heap[0][2]
                yield self._users[user][drawn[user]]

    def _overtaken(self, job: QueuedJob) -> int:
        return job.overtaken + self._passed[job.id]

    def _taken(self, job: QueuedJob, device: int, before: list[QueuedJob]) -> Next:
        jobs = self._users[job.user]
        self._starts += 1
        self._turns[job.user] = self._starts
        jobs.remove(job)
        self._passed.update(other.id for other in before)
        if before:  # rare enough to build the heap anew
            heap = [entry for entry in self._heap if entry[2] != job.user]
            if jobs:
                heap.append((self._starts, jobs[0].number, job.user))
            heapify(heap)
            self._heap = heap
        elif jobs:
            heapreplace(self._heap, (self._starts, jobs[0].number, job.user))
        else:
            heappop(self._heap)
        return Next(job, device, tuple(before))


def jobs_to_stop(
    waiting: Iterable[QueuedJob], running: Iterable[QueuedJob], coming: int
) -> list[QueuedJob]:
    """Returns the running jobs to stop: of the least urgent, those that were submitted last.

    `coming` devices will be free anyway, for the most urgent of the waiting jobs.
    """
    at_work = list(running)
    able = [job for job in at_work if _may_stop(job)]
    if not able or sum(not job.goes_on for job in at_work) >= FEW:
        return []
    able.sort(key=lambda job: (-job.priority, job.number))
    urgent = sorted((j.priority for j in waiting if j.priority > able[-1].priority), reverse=True)
    stopped = []
    for priority in urgent[coming:]:
        if not able or able[-1].priority >= priority:
            break
        stopped.append(able.pop())
    return stopped


def _may_stop(job: QueuedJob) -> bool:
    is_free = job.state is JobState.RUNNING and not job.is_stopping
    return is_free and job.goes_on and job.stops < MOST_STOPS
