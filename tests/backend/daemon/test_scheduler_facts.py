"""The rules of the queue hold after any facts in any order."""

from __future__ import annotations

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from voidbridge_job_box import Queue

from voidbridge_backend.daemon.jobs.scheduler import (
    MAX_ATTEMPTS,
    Command,
    GaveUp,
    Interrupt,
    Lend,
    Preempt,
    Recall,
    Start,
    StateChanged,
)
from voidbridge_backend.daemon.jobs.start_order import QueuedJob
from voidbridge_protocol.lifecycle import FINAL, NEXT, JobState

ANA, BEN, CAT = "ana", "ben", "cat"


class AnyFacts(RuleBasedStateMachine):
    """Facts in any order that a daemon could tell, and a model that follows the commands only."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(devices_per_job=3)
        self.states: dict[str, JobState] = {}
        self.on: dict[str, str] = {}
        self.ready: set[str] = set()
        self.lent: dict[str, str] = {}
        self.recalled: set[str] = set()
        self.wanted: dict[str, int] = {}
        self.starts: dict[str, int] = {}
        self.stopping: set[str] = set()
        self.stops: set[str] = set()

    def execute(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case StateChanged(job, state):
                    assert state in NEXT[self.states[job]]
                    self.states[job] = state
                case Start(job, device):
                    assert device in self.ready, "started on a device that is not there"
                    assert device not in self.on, "two jobs on one device"
                    assert job not in self.on.values(), "one job started on two devices"
                    assert device not in self.lent, "started on a lent device"
                    self.wanted[job] = 0
                    self.on[device] = job
                    self.starts[job] += 1
                    assert self.starts[job] <= MAX_ATTEMPTS
                case Lend(job, device):
                    assert device in self.ready
                    assert device not in self.on
                    assert device not in self.lent
                    assert job in self.on.values()
                    self.lent[device] = job
                case Recall(job, device):
                    assert self.lent[device] == job
                    assert device not in self.recalled, "recalled twice"
                    self.recalled.add(device)
                case Preempt(job, device):
                    assert self.on[device] == job
                    assert self.states[job] is JobState.RUNNING
                    assert job not in self.stops, "stopped twice"
                    urgent = (self.queue.jobs[waiting].priority for waiting in self.queue.waiting())
                    assert max(urgent) > self.queue.jobs[job].priority
                    self.stops.add(job)
                    self.stopping.add(job)
                case Interrupt(job, device):
                    assert self.on[device] == job
                case GaveUp(job, attempts):
                    assert attempts == self.starts[job] == MAX_ATTEMPTS

    @rule(
        target=jobs,
        user=st.sampled_from([ANA, BEN, CAT]),
        priority=st.sampled_from([0, 0, 5]),
        goes_on=st.booleans(),
    )
    def a_job_is_submitted(self, user: str, priority: int, goes_on: bool) -> str:
        job = f"j{len(self.states)}"
        self.states[job] = JobState.RECEIVING
        self.starts[job] = 0
        known = QueuedJob(job, user, priority, len(self.states), JobState.RECEIVING)
        known.goes_on = goes_on
        self.queue.add(known)
        return job

    @rule(job=jobs)
    def its_files_are_there(self, job: str) -> None:
        if self.states[job] is JobState.RECEIVING:
            self.execute(self.queue.received(job))

    @rule(job=jobs)
    def it_is_cancelled(self, job: str) -> None:
        self.execute(self.queue.cancel_requested(job))

    @rule(job=jobs, priority=st.sampled_from([0, 5]))
    def it_is_wanted_again(self, job: str, priority: int) -> None:
        if self.states[job] in FINAL:
            self.starts[job] = 0
            self.stops.discard(job)
            self.execute(self.queue.submitted_again(job, priority, 1000 + len(self.states)))

    @rule(device=st.sampled_from(["cuda:0", "cuda:1", "cuda:2"]))
    def a_worker_is_ready(self, device: str) -> None:
        if device not in self.ready:
            self.ready.add(device)
            self.execute(self.queue.device_ready(device))

    @rule(device=st.sampled_from(["cuda:0", "cuda:1", "cuda:2"]))
    def a_worker_dies(self, device: str) -> None:
        if device in self.ready:
            self.ready.discard(device)
            self._off(device, counts=False)
            self.lent.pop(device, None)
            self.recalled.discard(device)
            self.execute(self.queue.device_lost(device))

    @rule(
        device=st.sampled_from(["cuda:0", "cuda:1", "cuda:2"]),
        state=st.sampled_from([JobState.DONE, JobState.FAILED]),
    )
    def a_job_ends(self, device: str, state: JobState) -> None:
        if job := self._off(device, counts=True):
            self.execute(self.queue.ended(job, state))

    @rule(device=st.sampled_from(["cuda:0", "cuda:1", "cuda:2"]))
    def a_job_has_stopped_for_another(self, device: str) -> None:
        job = self.on.get(device, "")
        if job in self.stopping and self.states[job] is JobState.RUNNING:
            self._off(device, counts=False)
            self.execute(self.queue.preempted(job))

    def _off(self, device: str, counts: bool) -> str:
        """Takes a job off its device. One that was stopping has lost no attempt, unless this `counts`."""
        job = self.on.pop(device, "")
        if job in self.stopping:
            self.stopping.discard(job)
            self.starts[job] -= not counts
        return job

    @rule(job=jobs, count=st.integers(0, 4))
    def it_can_use_more_devices(self, job: str, count: int) -> None:
        self.wanted[job] = count
        self.execute(self.queue.more_devices_wanted(job, count))

    @rule(device=st.sampled_from(["cuda:0", "cuda:1", "cuda:2"]))
    def a_recalled_device_is_idle(self, device: str) -> None:
        if device in self.recalled:
            self.recalled.discard(device)
            del self.lent[device]
            self.execute(self.queue.device_ready(device))

    @invariant()
    def a_job_has_no_more_devices_than_it_wants_and_may_have(self) -> None:
        for job in self.states:
            lent = [d for d, at in self.lent.items() if at == job and d not in self.recalled]
            assert len(lent) <= min(self.wanted.get(job, 0), 2)
            assert not lent or job in self.on.values()

    @invariant()
    def a_waiting_job_takes_lent_devices_back(self) -> None:
        assert not self.queue.waiting() or len(self.recalled) >= min(
            len(self.queue.waiting()), len(self.lent)
        )

    @invariant()
    def it_knows_what_the_commands_said(self) -> None:
        assert {id: job.state for id, job in self.queue.jobs.items()} == self.states
        assert set(self.queue.running()) == set(self.on.values())
        for job, state in self.states.items():
            at_work = state in (JobState.RUNNING, JobState.CANCELLING)
            assert at_work == (job in self.on.values())

    @invariant()
    def no_device_idles_while_a_job_waits(self) -> None:
        waiting = self.queue.waiting()
        assert set(waiting) == {j for j, s in self.states.items() if s is JobState.QUEUED}
        assert not waiting or set(self.on) | set(self.lent) == self.ready
        assert [self.queue.ahead_of(job) - len(self.on) for job in waiting] == list(
            range(len(waiting))
        )


TestAnyFacts = AnyFacts.TestCase
TestAnyFacts.settings = hypothesis_settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, database=None
)
