"""The worker processes, one a device: started, spoken to, and started again when they die.

Decides nothing about jobs. What workers say is handed to `notify`, from threads of this module.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger(__name__)

BACKOFF_S = (0.2, 1.0, 5.0, 15.0, 60.0)
"""Pauses before a worker that died is started again; a job that ends well forgives all earlier deaths."""
ASKED_TO_STOP_S = 5.0
"""A worker that was told to stop and goes on for so long is killed."""


@dataclass(frozen=True)
class Said:
    """A worker said something: `what["event"]` names it."""

    device: str
    what: dict[str, Any]


@dataclass(frozen=True)
class Died:
    """The worker of a device is gone."""

    device: str
    code: int


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    deadline: float | None = None


@dataclass
class _Rest:
    """A device without a worker, until when, and how often in a row."""

    until: float = 0.0
    deaths: int = 0


@dataclass
class Supervisor:
    """Workers for `devices`; `setup` is the first thing that each of them is told."""

    devices: Sequence[str]
    setup: Mapping[str, Any]
    notify: Callable[[Said | Died], None]
    _workers: dict[str, _Worker] = field(default_factory=dict)
    _rests: dict[str, _Rest] = field(default_factory=dict)
    _stopping: bool = False

    def tick(self, now: float) -> None:
        """Starts what should run and does not, kills what should have stopped. Call it often."""
        for device in self.devices:
            worker = self._workers.get(device)
            if worker and worker.deadline is not None and now > worker.deadline:
                log.warning("worker did not stop in time, killing it", extra={"device": device})
                worker.process.kill()
                worker.deadline = None
            rest = self._rests.setdefault(device, _Rest())
            if worker is None and not self._stopping and now >= rest.until:
                self._start(device)

    def run(self, device: str, order: Mapping[str, Any]) -> None:
        self._tell(device, {"do": "run", **order})

    def interrupt(self, device: str, job: str, now: float) -> None:
        """Asks the worker to let go of its job; it is killed if it does not."""
        if worker := self._workers.get(device):
            worker.deadline = now + ASKED_TO_STOP_S
            self._tell(device, {"do": "cancel", "job": job})

    def let_go(self, device: str) -> None:
        """The worker ended its job by itself: nothing to kill it for."""
        if worker := self._workers.get(device):
            worker.deadline = None
        self._rests[device].deaths = 0

    def lost(self, device: str, now: float) -> None:
        """Call it for each `Died`."""
        worker = self._workers.pop(device, None)
        if worker and worker.process.stdin:
            with suppress(OSError):  # what it had not read goes nowhere
                worker.process.stdin.close()
        rest = self._rests.setdefault(device, _Rest())
        rest.until = now + BACKOFF_S[min(rest.deaths, len(BACKOFF_S) - 1)]
        rest.deaths += 1

    def pids(self) -> dict[str, int]:
        return {device: worker.process.pid for device, worker in self._workers.items()}

    def stop(self, patience_s: float) -> None:
        """Ends all workers: at their next step, or after `patience_s` at once."""
        self._stopping = True
        for worker in self._workers.values():
            if worker.process.stdin:
                with suppress(OSError):
                    worker.process.stdin.close()
        for device, worker in self._workers.items():
            try:
                worker.process.wait(patience_s)
            except subprocess.TimeoutExpired:
                log.warning("worker did not stop in time, killing it", extra={"device": device})
                worker.process.kill()
                worker.process.wait()

    def _start(self, device: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "voidbridge_backend.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._workers[device] = _Worker(process)
        log.info("worker started", extra={"device": device, "pid": process.pid})
        threading.Thread(
            target=self._listen, args=(device, process), name=f"hears {device}", daemon=True
        ).start()
        self._tell(device, {"do": "setup", "device": device, **self.setup})

    def _tell(self, device: str, what: Mapping[str, Any]) -> None:
        worker = self._workers.get(device)
        if worker is None or worker.process.stdin is None:
            return  # it died a moment ago: `Died` is on its way
        try:
            worker.process.stdin.write(json.dumps(what).encode() + b"\n")
            worker.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            log.info("worker is gone", extra={"device": device})

    def _listen(self, device: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        with process.stdout as lines:
            for line in lines:
                try:
                    what = json.loads(line)
                except ValueError:
                    continue  # half a line of a worker that was killed while it spoke
                self.notify(Said(device, what))
        self.notify(Died(device, process.wait()))
