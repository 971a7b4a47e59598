"""Commands of `voidbridge` that the page runs as child processes, as the hosts do.

So a job from the page passes the same checks and gives the same errors as one from the command line.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from voidbridge_protocol.errors import BadSetting, TooMany
from voidbridge_protocol.lifecycle import JobState

from .stage_times import StageClock

FINAL = {state.value for state in JobState if state.is_final}
MAX_RUNNING = 8
"""Children at once."""
MAX_KEPT = 200
"""Children that are remembered; the oldest that have ended are forgotten."""
MAX_LINE = 4 * 1024 * 1024
"""Bytes of one event."""
MAX_FIGURES = 20_000
"""Frames whose measures are kept, as many as a job has."""


@dataclass
class ChildCommand:
    """One command: its words, and what its events have said so far."""

    number: int
    words: list[str]
    job: str = ""
    state: str = "running"
    """`running`, `done`, `failed` or `cancelled`."""
    files: dict[str, str] = field(default_factory=dict)
    """Patterns by role, and that of the result."""
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The latest event of each name."""
    figures: list[dict[str, Any]] = field(default_factory=list)
    """The measures of each frame, of a report."""
    stages: StageClock = field(default_factory=StageClock)
    """Those of its job."""
    process: asyncio.subprocess.Process | None = None

    def take(self, event: dict[str, Any]) -> None:
        """Takes one event of the command's standard output."""
        name = str(event.pop("event", ""))
        if name == "status":
            state = str(event.get("state", ""))
            stage = "" if state in FINAL else str(event.get("stage") or state)
            self.stages.see(stage, time.monotonic())
        if name == "frame-quality" and len(self.figures) < MAX_FIGURES:
            self.figures.append(event)
            return
        self.events[name] = event
        self.job = str(event.get("job", "")) or self.job

    def described(self) -> dict[str, Any]:
        """JSON values for the browser."""
        return {
            "number": self.number,
            "command": self.words[0],
            "job": self.job,
            "state": self.state,
            "files": self.files,
            "events": self.events,
        }


class ChildCommands:
    """Starts commands, reads their events, and cancels them. On the event loop only."""

    def __init__(self, options: Sequence[str]) -> None:
        """`options` are those of the daemon, which every command gets."""
        self._options = list(options)
        self._found: dict[int, ChildCommand] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._last = 0
        self._starting = 0
        """Commands whose process is not there yet; they count, however many are asked for at once."""

    def __iter__(self) -> Any:
        return iter(reversed(self._found.values()))

    def get(self, number: int) -> ChildCommand | None:
        return self._found.get(number)

    def of_job(self, job: str) -> ChildCommand | None:
        """The latest command that ran this job."""
        return next((child for child in self if child.job == job and child.files), None)

    async def start(
        self, words: Sequence[str], files: dict[str, str], asks_daemon: bool = True
    ) -> ChildCommand:
        """Starts `voidbridge WORDS`. Raises `TooMany`, `BadSetting`."""
        if nul := [word for word in words if "\0" in word]:
            raise BadSetting(f"{nul[0][:60]!r} cannot be a word of a command")
        running = [child for child in self if child.state == "running"]
        if len(running) + self._starting >= MAX_RUNNING:
            raise TooMany(
                f"{len(running) + self._starting} commands of this page are running",
                "Wait until one has ended, or cancel one.",
            )
        self._last += 1
        child = ChildCommand(self._last, list(words), files=files)
        options = self._options if asks_daemon else []
        self._starting += 1
        try:
            child.process = await _started([*words, *options, "--json"])
        finally:
            self._starting -= 1
        self._found[child.number] = child
        self._forget()
        watcher = asyncio.create_task(_watch(child))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return child

    def cancel(self, number: int) -> bool:
        """Ends a command as Ctrl-C does; False if it does not run."""
        child = self._found.get(number)
        if child is None or child.state != "running" or child.process is None:
            return False
        child.process.send_signal(signal.SIGTERM)
        return True

    async def close(self) -> None:
        """Leaves the commands. Their jobs go on in the daemon, where `fetch` finds the results."""
        for child in self:
            if child.state == "running" and child.process:
                child.process.kill()
        await asyncio.gather(*self._watchers)

    def _forget(self) -> None:
        ended = [number for number, child in self._found.items() if child.state != "running"]
        for number in ended[: max(len(self._found) - MAX_KEPT, 0)]:
            del self._found[number]


async def _started(words: Sequence[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voidbridge_backend", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=MAX_LINE,
        start_new_session=True,
    )


ENDS = {0: "done", 5: "cancelled"}
"""States by exit code; any other is a failure."""


async def _watch(child: ChildCommand) -> None:
    assert child.process
    assert child.process.stdout
    async for line in child.process.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # half a line of a command that was killed
        if isinstance(event, dict):
            child.take(event)
    child.state = ENDS.get(await child.process.wait(), "failed")
