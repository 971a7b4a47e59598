"""The worker processes, one per device: starts, commands, watches and restarts them.

It decides nothing about jobs, and carries out the decisions of `watchdog` about workers. Workers' events are
passed to `notify`, from threads of this module.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from voidbridge_protocol.errors import (
    DeviceAway,
    DeviceFailed,
    VoidbridgeError,
    WorkerDied,
    WorkerHung,
)

from . import events
from .launch import node_of, place_of
from .watchdog import IDLE, STARTING, DeviceHealth, Heartbeat, NodeHealth, Timeouts

log = logging.getLogger(__name__)

ASKED_TO_STOP_S = 5.0
"""Seconds after which a worker that was told to stop is killed."""
AWAY_S = 5.0
"""If the daemon did not poll for this many seconds, it was suspended, and a worker's silence proves nothing."""


@dataclass(frozen=True)
class WorkerEvent:
    """An event of a worker; `what["event"]` names it."""

    device: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class WorkerExit:
    """The worker of a device has ended."""

    device: str
    code: int


@dataclass(frozen=True)
class DeviceStatus:
    """A device's state, for display."""

    device: str
    state: str
    """`starting`, `ready`, `busy`, `stalled`, `resting` between two starts, `away` or `quarantined`."""
    stage: str
    """The engine's stage, for a busy or stalled device."""
    silence: float
    """Seconds since the last sign of life, for a busy, stalled or starting device."""
    why: str
    """The reason of a quarantine, or of an absence."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    heartbeat: Heartbeat
    is_remote: bool = False
    job: str = ""
    deadline: float | None = None
    told_to_go: bool = False
    prepared: set[tuple[str, str]] = field(default_factory=set)
    """Engines that it was told to load before their first job."""
    cause: VoidbridgeError | None = None
    """The reason of its end, if known better than by its exit code."""
    code: int | None = None
    """The exit code of the worker on the node, for a remote one."""


@dataclass
class Supervisor:
    """Workers for `devices`; `setup` is the first message to each of them."""

    devices: Sequence[str]
    setup: Mapping[str, Any]
    notify: Callable[[WorkerEvent | WorkerExit], None]
    timeouts: Timeouts = field(default_factory=Timeouts)
    starts: int = 0
    """Number of workers ever started."""
    _workers: dict[str, _Worker] = field(default_factory=dict)
    _standing: dict[str, DeviceHealth] = field(default_factory=dict)
    _nodes: dict[str, NodeHealth] = field(default_factory=dict)
    """The nodes of the cluster, present or not."""
    _absent: dict[str, str] = field(default_factory=dict)
    """Devices of the cluster that are not there, and why."""
    _stopping: bool = False
    _ticked: float = 0.0

    def __post_init__(self) -> None:
        self._standing = {device: DeviceHealth() for device in self.devices}

    def set_remote(self, present: Sequence[str], reason: str) -> None:
        """Sets the devices of the cluster that are there now; `reason` says why others are not.

        A device that is gone stays listed, so that people see it.
        """
        known = set(self.devices)
        self.devices = [*self.devices, *(device for device in present if device not in known)]
        for device in self.devices:
            self._standing.setdefault(device, DeviceHealth())
            if node := node_of(device):
                self._nodes.setdefault(node, NodeHealth())
        remote = {device for device in self.devices if node_of(device)}
        self._absent = dict.fromkeys(remote - set(present), reason)

    def tick(self, now: float) -> None:
        """Starts missing workers, kills those that hang or should have stopped. Call it often."""
        was_away, self._ticked = now - self._ticked > AWAY_S, now
        for device in self.devices:
            worker = self._workers.get(device)
            if worker is None:
                if not self._stopping and self._may_start(device, now):
                    self._start(device, now)
            elif was_away:
                worker.heartbeat.beat(now)
            else:
                self._look_at(device, worker, now)

    def _may_start(self, device: str, now: float) -> bool:
        if device in self._absent or not self._standing[device].may_start(now):
            return False
        node = self._nodes.get(node_of(device))
        return node is None or node.may_start(now)

    def _look_at(self, device: str, worker: _Worker, now: float) -> None:
        if worker.deadline is not None and now > worker.deadline:
            log.warning("worker did not stop in time, killing it", extra={"device": device})
            worker.deadline, worker.told_to_go = None, True
            worker.process.kill()
        elif worker.cause is None and worker.heartbeat.hangs(now):
            stage = worker.heartbeat.stage
            worker.cause = WorkerHung(
                f"no step for {worker.heartbeat.silence(now):.0f} s while {stage}"
            )
            log.error("%s, killing the worker", worker.cause.text, extra={"device": device})
            worker.process.kill()

    def received(self, device: str, event: Mapping[str, Any], now: float) -> None:
        """Call it for each `WorkerEvent`: these are the signs of life."""
        worker = self._workers.get(device)
        if worker is None:
            return
        match event["event"]:
            case "ready":
                worker.heartbeat.step(now, IDLE)
                self._standing[device].is_ready()
            case "progress":
                worker.heartbeat.step(now, event["stage"])
            case "prepared":
                worker.heartbeat.step(now, "beginning" if worker.job else IDLE)
            case "unusable":
                worker.cause = DeviceFailed(event["text"])
            case "away":
                worker.cause = DeviceAway(event["text"])
            case "worker_exit":
                worker.code = event["code"]
            case "rejected":
                self.reject(device, event["text"])
            case _:
                worker.heartbeat.beat(now)

    def reject(self, device: str, reason: str) -> None:
        """Kills a worker that does what none should do."""
        worker = self._workers.get(device)
        if worker and worker.cause is None:
            worker.cause = WorkerDied(f"the worker was ended: {reason}")
            log.error("%s", worker.cause.text, extra={"device": device})
            worker.process.kill()

    def run(self, device: str, job: str, command: Mapping[str, Any], now: float) -> None:
        if worker := self._workers.get(device):
            worker.job = job
            if worker.heartbeat.stage == IDLE:  # otherwise it loads the engine, which takes time
                worker.heartbeat.step(now, "beginning")
            self._send(device, {"do": "run", "job": job, **command})

    def prepare(self, device: str, operation: str, engine: str) -> None:
        """Lets the worker load this engine for an announced job. Once is enough."""
        worker = self._workers.get(device)
        if worker and (operation, engine) not in worker.prepared:
            worker.prepared.add((operation, engine))
            self._send(device, {"do": "prepare", "operation": operation, "engine": engine})

    def assist(self, device: str, job: str, command: Mapping[str, Any], now: float) -> None:
        """Lets an idle worker compute a part of a job that another worker runs."""
        if worker := self._workers.get(device):
            worker.job = job
            worker.heartbeat.step(now, "beginning")
            self._send(device, {"do": "assist", "job": job, **command})

    def rest(self, device: str) -> None:
        """Lets a worker free the memory of its device that parts of another worker's job took."""
        self._send(device, {"do": "rest"})

    def tell(self, device: str, message: Mapping[str, Any]) -> None:
        """Sends a worker news of the devices that are lent to its job."""
        self._send(device, message)

    def interrupt(
        self, device: str, job: str, now: float, patience_s: float = ASKED_TO_STOP_S
    ) -> None:
        """Asks the worker to stop its job, and kills it if it does not within `patience_s`."""
        if worker := self._workers.get(device):
            worker.deadline = now + patience_s
            self._send(device, {"do": "cancel", "job": job})

    def release(self, device: str, now: float) -> None:
        """The worker ended its job by itself, so it is not killed."""
        if worker := self._workers.get(device):
            worker.deadline, worker.job = None, ""
            worker.heartbeat.step(now, IDLE)
        self._standing[device].ended_well()

    def exited(self, device: str, code: int, now: float) -> VoidbridgeError:
        """Call it for each `WorkerExit`. Returns the reason."""
        worker = self._workers.pop(device, None)
        if worker is None:
            return WorkerDied(f"the worker ended with code {code}")
        if worker.process.stdin:
            with suppress(OSError):  # its unread input is discarded
                worker.process.stdin.close()
        cause = worker.cause or _cause(device, worker, code)
        standing = self._standing[device]
        if worker.told_to_go or self._stopping:
            standing.rests(now)
            return cause
        if isinstance(cause, DeviceAway):
            standing.is_away(now)
            self._nodes[node_of(device)].lost(now, cause.text)
            return cause
        at_fault = "" if isinstance(cause, DeviceFailed) else worker.job
        standing.failed(now, cause.text, at_fault)
        if standing.why:
            log.error("quarantined: %s", standing.why, extra={"device": device})
        return cause

    def reset_quarantine(self) -> None:
        """Tries every device again at once."""
        for standing in self._standing.values():
            standing.reset_quarantine()
        for node in self._nodes.values():
            node.reset_quarantine()

    def device_statuses(self, now: float) -> list[DeviceStatus]:
        """Returns every device and its state."""
        return [self._device_status(device, now) for device in self.devices]

    def _device_status(self, device: str, now: float) -> DeviceStatus:
        worker, standing = self._workers.get(device), self._standing[device]
        node = self._nodes.get(node_of(device))
        if why := standing.why or (node.why if node and worker is None else ""):
            return DeviceStatus(device, "quarantined", "", 0.0, why)
        if device in self._absent and worker is None:
            return DeviceStatus(device, "away", "", 0.0, self._absent[device])
        if worker is None:
            return DeviceStatus(device, "resting", "", 0.0, "")
        heartbeat = worker.heartbeat
        state = {STARTING: "starting", IDLE: "ready"}.get(heartbeat.stage, "busy")
        stage = heartbeat.stage if state == "busy" else ""
        state = "stalled" if heartbeat.stalls(now) else state
        return DeviceStatus(device, state, stage, heartbeat.silence(now), "")

    def pids(self) -> dict[str, int]:
        return {device: worker.process.pid for device, worker in self._workers.items()}

    def ask_to_stop(self) -> None:
        """Asks all workers to end at their next step, and starts none any more."""
        self._stopping = True
        for worker in self._workers.values():
            if worker.process.stdin:
                with suppress(OSError):
                    worker.process.stdin.close()

    def stop(self, patience_s: float) -> None:
        """Ends all workers: at their next step, or by force after `patience_s`."""
        self.ask_to_stop()
        until = time.monotonic() + patience_s
        for device, worker in self._workers.items():
            try:
                worker.process.wait(max(until - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                log.warning("worker did not stop in time, killing it", extra={"device": device})
                worker.process.kill()
                worker.process.wait()

    def _start(self, device: str, now: float) -> None:
        launch = place_of(device).launch(device, self.setup)
        process = subprocess.Popen(
            launch.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=launch.environment
        )
        heartbeat = Heartbeat(self.timeouts, now)
        self._workers[device] = _Worker(process, heartbeat, launch.is_remote)
        self.starts += 1
        log.info("worker started", extra={"device": device, "pid": process.pid})
        threading.Thread(
            target=self._listen, args=(device, process), name=f"hears {device}", daemon=True
        ).start()
        self._send(device, {"do": "setup", **launch.setup})

    def _send(self, device: str, command: Mapping[str, Any]) -> None:
        worker = self._workers.get(device)
        if worker is None or worker.process.stdin is None:
            return  # it died a moment ago: `WorkerExit` follows
        try:
            worker.process.stdin.write(json.dumps(command).encode() + b"\n")
            worker.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            log.info("worker is gone", extra={"device": device})

    def _listen(self, device: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        with process.stdout as lines:
            while line := lines.readline(events.MOST_LINE):
                try:
                    event = events.parsed(line)
                except ValueError as error:
                    if line.endswith(b"\n") or len(line) >= events.MOST_LINE:
                        event = {"event": "rejected", "text": f"it sent no event: {error}"}
                    else:
                        continue  # a partial line of a killed worker
                self.notify(WorkerEvent(device, event))
        self.notify(WorkerExit(device, process.wait()))


def _cause(device: str, worker: _Worker, code: int) -> VoidbridgeError:
    """Returns the reason of an end that nobody announced, from the exit code."""
    if worker.is_remote and worker.code is None:
        return DeviceAway(f"the connection to {device} ended {_how(code)}")
    code = code if worker.code is None else worker.code
    return WorkerDied(f"the worker ended {_how(code)}{_when(worker)}")


def _how(code: int) -> str:
    """Describes an exit code; a negative one is a signal."""
    if code >= 0:
        return f"with code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _when(worker: _Worker) -> str:
    if worker.heartbeat.stage == STARTING:
        return " before it was ready"
    return f" while {worker.heartbeat.stage}" if worker.job else ""
