"""Whether a worker is well and whether its device is: what to wait for, when to start again, when to give up.

Pure: seconds of a monotonic clock come in, verdicts come out; `supervisor` starts and kills.

A worker shows that it lives by what its engine does, never by a thread that has nothing else to do: a process whose
engine hangs answers every question and finishes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from statistics import median

BACKOFF_S = (0.2, 1.0, 5.0, 15.0, 60.0)
"""Pauses before a worker that died is started again; a job that ends well forgives all earlier deaths."""
STRIKES, STRIKES_S = 3, 600.0
"""A device that fails so often within so many seconds is in quarantine."""
PROBE_S = 300.0
"""In quarantine it is tried again so often."""

STARTING, IDLE = "starting", ""
LOADING = frozenset({"loading the engine", "loading the model", "reading the prompt"})
"""Stages that read gigabytes, without a step in between."""
COMPILING = "compiling "
"""How the names of stages begin that compile: minutes, without a step in between."""

PACE = 3
"""Steps of one stage from which on its pace is known."""
RECENT = 64
"""Steps that its pace is taken from."""
SLOW = 5.0
"""A step that takes so many times the median is none any more."""
HEARTBEAT_S = 5.0
"""A healthy engine takes a step so often, or once in its median step where that is longer."""
MISSED = 2.0
"""So many heartbeats without one, and the worker counts as stalled."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds without a sign of life after which a worker hangs."""

    start: float = 300.0
    """From its start until it is ready."""
    load: float = 1800.0
    """In a stage that loads."""
    first: float = 300.0
    """In any other, between two steps, until its pace is known: caches are cold and networks move."""
    step: float = 30.0
    """The same from then on, or `SLOW` times the median step, whichever is longer."""

    def of(self, stage: str, steps: Collection[float]) -> float:
        """In a stage of this name of which the last `steps` took so long each."""
        if stage == STARTING:
            return self.start
        if stage in LOADING or stage.startswith(COMPILING):
            return self.load
        if len(steps) < PACE:
            return max(self.first, self.step)
        return max(self.step, SLOW * median(steps))


@dataclass
class Heartbeat:
    """Signs of life of one worker: where it is, and since when nothing more was heard."""

    patience: Timeouts
    since: float
    stage: str = STARTING
    _stepped: float = 0.0
    _steps: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Seconds from one step to the next, in this stage."""

    def beat(self, now: float) -> None:
        """A sign of life that is no step."""
        self.since = now

    def step(self, now: float, stage: str) -> None:
        """The engine did a step, or the worker came to something else."""
        if stage == self.stage:
            self._steps.append(now - self._stepped)
        else:
            self._steps.clear()
        self.since = self._stepped = now
        self.stage = stage

    def silence(self, now: float) -> float:
        """Seconds since the last sign of life; 0 for a worker that has nothing to do."""
        return now - self.since if self.stage != IDLE else 0.0

    def stalls(self, now: float) -> bool:
        """Whether the engine should have been heard of again: said long before the worker is killed for it."""
        if len(self._steps) < PACE:
            return False
        return self.silence(now) > MISSED * max(HEARTBEAT_S, median(self._steps))

    def hangs(self, now: float) -> bool:
        """Whether it is of no use to wait any longer."""
        return self.silence(now) > self.patience.of(self.stage, self._steps)


@dataclass
class DeviceHealth:
    """How a device has done lately."""

    why: str = ""
    """Why it is in quarantine; empty: it is not."""
    _deaths: int = 0
    _rest_until: float = 0.0
    _failures: list[tuple[float, str]] = field(default_factory=list)
    """(when, the job that is to blame, or nobody) of the last minutes."""

    def may_start(self, now: float) -> bool:
        """Whether it is time for a worker."""
        return now >= self._rest_until

    def is_ready(self) -> None:
        """A worker has started and can use the device: the quarantine is over, on probation."""
        if self.why:
            self.why = ""
            self._failures = self._failures[1 - STRIKES :]  # the next failure is one too many again

    def ended_well(self) -> None:
        """A job came to its end here."""
        self._deaths = 0

    def rests(self, now: float) -> None:
        """A worker is gone that was told to go: the next may come soon."""
        self._rest_until = now + BACKOFF_S[0]

    def failed(self, now: float, why: str, job: str = "") -> None:
        """A worker died. `job` is to blame, or, when it is empty, the device.

        A job that kills three workers has failed itself: for the device that counts once.
        """
        if self.why:
            self._rest_until = now + PROBE_S
            return
        self._rest_until = now + BACKOFF_S[min(self._deaths, len(BACKOFF_S) - 1)]
        self._deaths += 1
        recent = [(when, who) for when, who in self._failures if now - when < STRIKES_S]
        self._failures = [*recent, (now, job)]
        if self._count() >= STRIKES:
            self.why = why
            self._rest_until = now + PROBE_S

    def reset_quarantine(self) -> None:
        """Somebody says that the cause is gone: everything begins anew, at once."""
        self.why = ""
        self._deaths, self._rest_until = 0, 0.0
        self._failures = []

    def _count(self) -> int:
        jobs = {who for _, who in self._failures if who}
        return len(jobs) + sum(1 for _, who in self._failures if not who)
