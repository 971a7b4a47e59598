"""Judges the health of a worker and of its device: timeouts, restarts, quarantine.

Pure: seconds of a monotonic clock in, decisions out; `supervisor` starts and kills.

Only an engine's progress proves that a worker lives, never an idle thread. A process with a hung engine answers
every question and finishes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from statistics import median

BACKOFF_S = (0.2, 1.0, 5.0, 15.0, 60.0)
"""Pauses in seconds before a dead worker is restarted; a successful job clears all earlier deaths."""
MOST_FAILURES, FAILURES_S = 3, 600.0
"""A device that fails MOST_FAILURES times within FAILURES_S seconds is quarantined."""
PROBE_S = 300.0
"""Seconds between attempts during a quarantine."""
RETRY_S = 5.0
"""Seconds between attempts to reach a device that is away."""
SAME_LOSS_S = 30.0
"""The cards of a node that are lost within so many seconds are one loss of the node."""

STARTING, IDLE = "starting", ""
LOADING = frozenset({"loading the engine", "loading the model", "reading the prompt"})
"""Stages that read gigabytes, without a step in between."""
COMPILING = "compiling "
"""Name prefix of stages that compile: minutes, without a step in between."""

PACE = 3
"""Number of steps of a stage after which its pace is known."""
RECENT = 64
"""Number of recent steps for the median."""
SLOW = 5.0
"""A step longer than this multiple of the median counts as hung."""
HEARTBEAT_S = 5.0
"""A healthy engine takes a step this often in seconds, or once per median step if that is longer."""
MISSED = 2.0
"""Number of missed heartbeats after which a worker counts as stalled."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds without a sign of life after which a worker hangs."""

    start: float = 300.0
    """From its start until it is ready."""
    load: float = 1800.0
    """In a loading stage."""
    first: float = 300.0
    """In any other stage, between two steps, until its pace is known: caches are cold and networks move."""
    step: float = 30.0
    """Afterwards: this, or `SLOW` times the median step, whichever is longer."""

    def of(self, stage: str, steps: Collection[float]) -> float:
        """Returns the timeout of a stage of this name with the last `steps` of these durations."""
        if stage == STARTING:
            return self.start
        if stage in LOADING or stage.startswith(COMPILING):
            return self.load
        if len(steps) < PACE:
            return max(self.first, self.step)
        return max(self.step, SLOW * median(steps))


@dataclass
class Heartbeat:
    """Signs of life of one worker: its stage, and the time of the last one."""

    timeouts: Timeouts
    since: float
    stage: str = STARTING
    _stepped: float = 0.0
    _steps: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Seconds from one step to the next, in this stage."""

    def beat(self, now: float) -> None:
        """Notes a sign of life other than a step."""
        self.since = now

    def step(self, now: float, stage: str) -> None:
        """Notes a step of the engine, or a new stage."""
        if stage == self.stage:
            self._steps.append(now - self._stepped)
        else:
            self._steps.clear()
        self.since = self._stepped = now
        self.stage = stage

    def silence(self, now: float) -> float:
        """Returns the seconds since the last sign of life; 0 for an idle worker."""
        return now - self.since if self.stage != IDLE else 0.0

    def stalls(self, now: float) -> bool:
        """Returns True if a sign of life is overdue, long before the worker is killed for it."""
        if len(self._steps) < PACE:
            return False
        return self.silence(now) > MISSED * max(HEARTBEAT_S, median(self._steps))

    def hangs(self, now: float) -> bool:
        """Returns True if further waiting is useless."""
        return self.silence(now) > self.timeouts.of(self.stage, self._steps)


@dataclass
class DeviceHealth:
    """The recent record of a device."""

    why: str = ""
    """The reason of its quarantine; empty if there is none."""
    _deaths: int = 0
    _rest_until: float = 0.0
    _failures: list[tuple[float, str]] = field(default_factory=list)
    """(time, job to blame or "") of recent failures."""

    def may_start(self, now: float) -> bool:
        """Returns True if a worker may start now."""
        return now >= self._rest_until

    def is_ready(self) -> None:
        """Notes that a worker has started and can use the device: the quarantine ends, on probation."""
        if self.why:
            self.why = ""
            self._failures = self._failures[
                1 - MOST_FAILURES :
            ]  # the next failure starts a quarantine again

    def ended_well(self) -> None:
        """Notes a successful job."""
        self._deaths = 0

    def rests(self, now: float) -> None:
        """Notes the requested end of a worker: the next may start soon."""
        self._rest_until = now + BACKOFF_S[0]

    def is_away(self, now: float) -> None:
        """Notes that the way to the device was lost, which is no failure of the device."""
        self._rest_until = now + RETRY_S

    def failed(self, now: float, reason: str, job: str = "") -> None:
        """Notes the death of a worker. `job` is to blame, or, if empty, the device.

        A job that kills three workers fails itself and counts once for the device.
        """
        if self.why:
            self._rest_until = now + PROBE_S
            return
        self._rest_until = now + BACKOFF_S[min(self._deaths, len(BACKOFF_S) - 1)]
        self._deaths += 1
        recent = [(when, who) for when, who in self._failures if now - when < FAILURES_S]
        self._failures = [*recent, (now, job)]
        if self._count() >= MOST_FAILURES:
            self.why = reason
            self._rest_until = now + PROBE_S

    def reset_quarantine(self) -> None:
        """Clears the record after a person has removed the cause, so that the device starts at once."""
        self.why = ""
        self._deaths, self._rest_until = 0, 0.0
        self._failures = []

    def _count(self) -> int:
        jobs = {who for _, who in self._failures if who}
        return len(jobs) + sum(1 for _, who in self._failures if not who)


@dataclass
class NodeHealth:
    """The recent record of a node of the cluster. One that comes and goes gets no jobs for a while."""

    why: str = ""
    """The reason of its quarantine; empty if there is none."""
    _losses: list[float] = field(default_factory=list)
    _until: float = 0.0

    def lost(self, now: float, reason: str) -> None:
        """Notes that a device of the node is away. MOST_FAILURES losses of the node are a quarantine."""
        self._losses = [when for when in self._losses if now - when < FAILURES_S]
        if not self._losses or now - self._losses[-1] >= SAME_LOSS_S:
            self._losses.append(now)
        if len(self._losses) >= MOST_FAILURES:
            self.why, self._until = f"lost {len(self._losses)} times: {reason}", now + PROBE_S

    def may_start(self, now: float) -> bool:
        """Returns True if workers may start there; after a quarantine, on probation."""
        if self.why and now >= self._until:
            self.why = ""
            self._losses = self._losses[1 - MOST_FAILURES :]
        return not self.why

    def reset_quarantine(self) -> None:
        """Clears the record after a person has removed the cause."""
        self.why, self._losses = "", []
