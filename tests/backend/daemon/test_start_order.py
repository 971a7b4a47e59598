"""A device with a loaded engine takes jobs out of turn, and nobody waits for that without end."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voidbridge_job_box import Queue

from voidbridge_backend.daemon.jobs.scheduler import Command, Prepare, Start
from voidbridge_backend.daemon.jobs.start_order import MAX_OVERTAKEN, WINDOW, QueuedJob
from voidbridge_protocol.lifecycle import JobState

ANA, BEN, CAT = "ana", "ben", "cat"
ENGINES = ("cleanplate", "void", "echo")

JOBS = st.lists(
    st.tuples(st.sampled_from((ANA, BEN, CAT)), st.integers(0, 1), st.sampled_from(ENGINES)),
    max_size=40,
)


@pytest.fixture
def queue() -> Queue:
    return Queue()


def started(commands: list[Command]) -> list[tuple[str, str]]:
    return [(c.job, c.device) for c in commands if isinstance(c, Start)]


class Slowly:
    """The rule as it reads, which looks at all jobs for each start."""

    def __init__(self, jobs: list[QueuedJob]) -> None:
        self.waiting = list(jobs)
        self.turn: dict[str, int] = {}
        self.starts = 0
        self.overtaken = dict.fromkeys((job.id for job in jobs), 0)

    def in_turn(self) -> list[QueuedJob]:
        waiting, turn, starts, order = list(self.waiting), dict(self.turn), self.starts, []
        while waiting:
            job = min(waiting, key=lambda j: (-j.priority, turn.get(j.user, 0), j.number))
            waiting.remove(job)
            starts += 1
            turn[job.user] = starts
            order.append(job)
        return order

    def start(self, engine: str) -> QueuedJob:
        """The job that a device with this engine gets."""
        order = self.in_turn()
        near = [job for job in order[:WINDOW] if job.priority == order[0].priority]
        full = [n for n, job in enumerate(near) if self.overtaken[job.id] >= MAX_OVERTAKEN]
        near = near[: full[0] + 1] if full else near
        chosen = next((job for job in near if job.engine == engine), None)
        for job in near[: near.index(chosen)] if chosen else []:
            self.overtaken[job.id] += 1
        chosen = chosen or order[0]
        self.waiting.remove(chosen)
        self.starts += 1
        self.turn[chosen.user] = self.starts
        return chosen


@given(JOBS, st.integers(1, 4))
def test_places_are_the_starts_to_come_by_the_rule(
    jobs: list[tuple[str, int, str]], devices: int
) -> None:
    """Devices end their jobs in the order of the starts."""
    queue = Queue()
    for n, (user, priority, engine) in enumerate(jobs):
        queue.submitted(str(n), user, priority, engine)
    slowly = Slowly(list(queue.jobs.values()))
    at_work: deque[str] = deque()
    engines: dict[str, str] = {}

    def follow(commands: list[Command]) -> None:
        for job, device in started(commands):
            assert job == slowly.start(engines.get(device, "")).id
            engines[device] = queue.jobs[job].engine
            at_work.append(job)

    for n in range(devices):
        follow(queue.device_ready(f"gpu{n}"))
    expected = queue.waiting()
    for job in expected:
        assert queue.ahead_of(job) == len(at_work) + expected.index(job)
    served: list[str] = []
    while at_work:
        before = len(at_work)
        follow(queue.ended(at_work.popleft(), JobState.DONE))
        served += list(at_work)[before - 1 :]
    assert served == expected
    for job in queue.jobs.values():
        assert job.overtaken == slowly.overtaken[job.id] <= MAX_OVERTAKEN


@pytest.mark.parametrize(("between", "chosen"), [(WINDOW - 1, "same"), (WINDOW, "other0")])
def test_a_device_takes_one_of_the_next_ten_jobs_that_uses_its_engine(
    queue: Queue, between: int, chosen: str
) -> None:
    queue.submitted("first", engine="void")
    queue.device_ready("gpu")
    for n in range(between):
        queue.submitted(f"other{n}", engine="cleanplate")
    for job in ("same", "same again"):
        queue.submitted(job, engine="void")
    assert queue.waiting()[0] == chosen
    assert started(queue.ended("first", JobState.DONE)) == [(chosen, "gpu")]


def test_a_job_gets_the_idle_device_that_has_its_engine(queue: Queue) -> None:
    queue.submitted("a", engine="void")
    queue.submitted("b", engine="cleanplate")
    for device in ("gpu0", "gpu1"):
        queue.device_ready(device)
    for job in ("a", "b"):
        queue.ended(job, JobState.DONE)
    assert started(queue.submitted("c", engine="cleanplate")) == [("c", "gpu1")]
    assert started(queue.submitted("d", engine="cleanplate")) == [("d", "gpu0")]


def test_a_job_gets_the_device_that_was_prepared_for_it(queue: Queue) -> None:
    for device in ("gpu0", "gpu1"):
        queue.device_ready(device)
    assert queue.offered("remove", "echo") == [Prepare("remove", "echo", "gpu0")]
    queue.submitted("a", engine="void")
    queue.ended("a", JobState.DONE)
    assert queue.offered("remove", "void") == [Prepare("remove", "void", "gpu0")]
    assert queue.offered("remove", "echo") == [Prepare("remove", "echo", "gpu1")]
    assert started(queue.submitted("b", engine="echo")) == [("b", "gpu1")]


def test_a_lost_device_has_no_engine_any_more(queue: Queue) -> None:
    queue.submitted("a", engine="void")
    queue.device_ready("gpu")
    queue.submitted("b", engine="cleanplate")
    queue.submitted("c", engine="void")
    assert queue.waiting() == ["c", "b"]
    queue.ended("a", JobState.DONE)
    queue.device_lost("gpu")
    queue.submitted("d", engine="void")
    assert started(queue.device_ready("gpu")) == [("b", "gpu")]


def test_a_job_of_a_higher_priority_is_never_overtaken(queue: Queue) -> None:
    queue.submitted("a", engine="void")
    queue.device_ready("gpu")
    queue.submitted("usual", engine="void")
    queue.submitted("urgent", BEN, 1, "cleanplate")
    assert started(queue.ended("a", JobState.DONE)) == [("urgent", "gpu")]


@pytest.mark.parametrize("users", [(ANA, ANA), (ANA, BEN)], ids=["own", "of another user"])
def test_nobody_starves_behind_jobs_whose_engine_is_loaded(
    queue: Queue, users: tuple[str, str]
) -> None:
    """New jobs for the loaded engine come in without end."""
    queue.submitted("a", users[0], engine="void")
    queue.device_ready("gpu")
    queue.submitted("patient", users[1], engine="cleanplate")
    last, starts = "a", 0
    while last != "patient":
        starts += 1
        queue.submitted(f"new{starts}", users[0], engine="void")
        [(last, _)] = started(queue.ended(last, JobState.DONE))
        assert starts <= MAX_OVERTAKEN + 1
    assert queue.jobs["patient"].overtaken == MAX_OVERTAKEN == starts - 1


def test_ended_jobs_cost_the_queue_nothing(queue: Queue) -> None:
    """The cost of a start does not rise with the jobs that the daemon remembers."""
    queue.device_ready("gpu")
    for n in range(50):
        queue.submitted(str(n))
        queue.ended(str(n), JobState.DONE)
    assert not queue._queued
    assert not queue._at_work
    assert len(queue.jobs) == 50
