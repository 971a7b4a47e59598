"""The page's connection to the daemon: questions on one thread, and a picture of the queue that is kept fresh.

The queue is asked for once a second while somebody looks, and not at all otherwise. Every listener compares that
picture with what it last told, so a slow browser skips steps and nothing piles up.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import TooMany, VoidbridgeError
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import Status

from .stage_times import StageClock

EVERY_S = 1.0
"""Seconds between two looks at the queue."""
RATE_S = 15.0
"""Seconds over which the frames per second of a job are counted."""
MAX_LISTENERS = 32
"""Pages that follow the queue at once."""

Answer = TypeVar("Answer")


@dataclass
class JobCourse:
    """The stages of a job as they were seen from here, and its results of the last seconds."""

    stages: StageClock = field(default_factory=StageClock)
    ready: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=32))

    def add(self, status: Status, now: float) -> None:
        """Takes what the daemon says at `now`, in seconds of any steady clock."""
        stage = "" if status.state.is_final else status.stage or status.state.value
        self.stages.see(stage, now)
        self.ready.append((now, status.ready))
        while self.ready[0][0] < now - RATE_S:
            self.ready.popleft()

    @property
    def rate(self) -> float:
        """Results per second over the last seconds; 0 if none came."""
        (began, before), (now, ready) = self.ready[0], self.ready[-1]
        return max(ready - before, 0) / (now - began) if now > began else 0.0


class DaemonLink:
    """Asks the daemon, and tells listeners of each change of the queue."""

    def __init__(self, connect: Callable[[], Client], every: float = EVERY_S) -> None:
        """`connect` makes a client, which connects when it is first asked."""
        self._client = connect()
        self._thread = ThreadPoolExecutor(1, "daemon")
        self._every = every
        self._jobs: dict[str, dict[str, Any]] = {}
        self._state: dict[str, Any] = {}
        self._times: dict[str, JobCourse] = {}
        self._listeners = 0
        self._changed = asyncio.Condition()
        self._poll: asyncio.Task[None] | None = None

    async def ask(self, question: Callable[[Client], Answer]) -> Answer:
        """Runs `question` on the client's thread. Raises its error."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, question, self._client)

    def stages(self, job: str) -> dict[str, float]:
        """Seconds by stage, in the order in which they were seen; empty if nobody looked meanwhile."""
        found = self._times.get(job)
        return dict(found.stages.seconds) if found else {}

    async def refresh(self) -> dict[str, Any]:
        """Looks at the queue now. Returns the daemon's state, with its error if it does not answer."""
        try:
            user, health, jobs = await self.ask(
                lambda client: (client.welcome.user, client.health(), client.jobs())
            )
        except VoidbridgeError as error:
            self._state = {"is_there": False, **described(error)}
            return self._state
        now = time.monotonic()
        self._jobs = {status.job: self._seen(status, now) for status in jobs}
        self._times = {job: seen for job, seen in self._times.items() if job in self._jobs}
        self._state = {"is_there": True, "user": user, "health": asdict(health)}
        return self._state

    def _seen(self, status: Status, now: float) -> dict[str, Any]:
        if status.state is JobState.RUNNING or status.job in self._times:
            times = self._times.setdefault(status.job, JobCourse())
            times.add(status, now)
            return {**asdict(status), "rate": round(times.rate, 3)}
        return {**asdict(status), "rate": 0.0}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[AsyncIterator[str]]:
        """Yields the changes of the queue as JSON texts, the whole queue first. Raises `TooMany`."""
        if self._listeners >= MAX_LISTENERS:
            raise TooMany("too many pages follow the queue", "Close some of them.")
        self._listeners += 1
        if self._poll is None:
            self._poll = asyncio.create_task(self._look())
        try:
            yield self._changes()
        finally:
            self._listeners -= 1
            if not self._listeners and self._poll:
                self._poll.cancel()
                self._poll = None

    async def _look(self) -> None:
        while True:
            await self.refresh()
            async with self._changed:
                self._changed.notify_all()
            await asyncio.sleep(self._every)

    async def _changes(self) -> AsyncIterator[str]:
        told: dict[str, dict[str, Any]] = {}
        state: dict[str, Any] | None = None
        while True:
            jobs = [job for name, job in self._jobs.items() if told.get(name) != job]
            gone = [name for name in told if name not in self._jobs]
            if self._state and (jobs or gone or state != self._state):
                yield json.dumps({"daemon": self._state, "jobs": jobs, "gone": gone})
            elif state is not None:
                yield ""
            told, state = dict(self._jobs), self._state
            async with self._changed:
                await self._changed.wait()

    def close(self) -> None:
        """Ends the connection."""
        self._thread.submit(self._client.__exit__, None, None, None)
        self._thread.shutdown(wait=True)


def described(error: VoidbridgeError) -> dict[str, str]:
    """The error as JSON values, as in the event `error` of the command line."""
    return {"code": error.code, "text": error.text, "hint": error.hint}
