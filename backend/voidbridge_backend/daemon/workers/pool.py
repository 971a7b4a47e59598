"""Connects workers and jobs: commands go to workers, and their events go to the job service."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voidbridge_backend.daemon.jobs.scheduler import (
    Interrupt,
    Lend,
    Preempt,
    Prepare,
    Recall,
    Start,
)
from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_protocol.errors import DamagedFile, NoDevice, from_code
from voidbridge_protocol.transfer.atomic_files import disk_error
from voidbridge_protocol.wire.messages import ResultFile

from .lending import Lending
from .supervisor import ASKED_TO_STOP_S, DeviceStatus, Supervisor, WorkerEvent, WorkerExit
from .watchdog import Timeouts

log = logging.getLogger(__name__)

STOP_S = 10.0
"""Seconds after which a worker that was asked to stop is killed."""
CHECKPOINT_S = 60.0
"""Seconds in which a job that goes on later ends its step and writes a checkpoint, if it is stopped."""
LOST = {"quarantined": "in quarantine", "away": "away"}
"""States of devices that run no job, in words."""


class WorkerPool:
    """One worker per device. `notify` runs a function on the daemon's own thread, from any other."""

    def __init__(
        self,
        devices: Sequence[str],
        setup: Mapping[str, Any],
        timeouts: Timeouts,
        job_service: JobService,
        notify: Callable[[Callable[[], None]], None],
    ) -> None:
        self._job_service = job_service
        self._spool = job_service.spool
        self._folders = job_service.work_folders
        self._job_on: dict[str, str] = {}
        self._asked_at: float | None = None
        self._no_remote = ""
        self._supervisor = Supervisor(
            devices, setup, lambda event: notify(lambda: self._receive(event)), timeouts
        )
        self._lending = Lending(self._supervisor, job_service.device_ready)

    @property
    def busy(self) -> bool:
        """True if any job runs."""
        return bool(self._job_on)

    @property
    def starts(self) -> int:
        """Number of workers ever started."""
        return self._supervisor.starts

    def device_statuses(self, now: float) -> list[DeviceStatus]:
        return self._supervisor.device_statuses(now)

    def tick(self, now: float) -> None:
        """Call it often."""
        self._supervisor.tick(now)
        statuses = self._supervisor.device_statuses(now)
        lost = [status for status in statuses if status.state in LOST]
        reasons = [f"{status.device} is {LOST[status.state]}: {status.why}" for status in lost]
        if not statuses:
            reasons = [f"the daemon has no device: {self._no_remote or 'none is named'}"]
        self._job_service.set_blocked(
            "devices", NoDevice("; ".join(reasons)) if len(lost) == len(statuses) else None
        )

    def set_remote(self, present: Sequence[str], reason: str) -> None:
        """Sets the devices of the cluster that are there now; `reason` says why no others are."""
        self._no_remote = reason
        self._supervisor.set_remote(present, reason)

    def execute(self) -> None:
        """Executes the commands of the job service since the last call."""
        for command in self._job_service.changes.take_commands():
            match command:
                case Start(job, device):
                    self._start(job, device)
                case Prepare(operation, engine, device):
                    self._supervisor.prepare(device, operation, engine)
                case Lend(job, device):
                    self._lending.lend(job, device, self._device_of(job))
                case Recall(_, device):
                    self._lending.recall(device)
                case Preempt(job, device):
                    log.info("stops for a more urgent job", extra={"job": job, "device": device})
                    self._interrupt(job, device)
                case Interrupt(job, device):
                    self._interrupt(job, device)

    def reset_quarantine(self) -> None:
        """Tries every device again at once, including quarantined ones."""
        self._supervisor.reset_quarantine()

    def ask_to_stop(self, now: float) -> None:
        """Asks all jobs to stop at their next step; stopped ones go back to the queue."""
        if self._asked_at is None:
            self._asked_at = now
            self._supervisor.ask_to_stop()

    def has_stopped(self, now: float) -> bool:
        """Returns True once all workers asked to stop have ended, or never will."""
        asked = self._asked_at if self._asked_at is not None else now
        return not self._supervisor.pids() or now - asked > STOP_S

    def stop(self) -> None:
        """Ends all remaining workers."""
        patience_s, self._asked_at = (STOP_S if self._asked_at is None else 0.0), 0.0
        self._supervisor.stop(patience_s)

    # -- inside -------------------------------------------------------------------------------------

    def _start(self, job: str, device: str) -> None:
        try:
            request = self._job_service.damage.request(job)
            order, folder = self._folders.begin(device, job, request)
        except DamagedFile as error:
            self._job_service.failed(job, error)
            return
        except OSError as error:
            self._job_service.failed(job, disk_error(self._spool.folder, error))
            return
        self._job_on[device] = job
        log.info("started", extra={"job": job, "device": device})
        for status in self.device_statuses(time.monotonic()):
            # A worker that already loads the engine reported that before it got the job.
            if status.device == device and status.stage:
                self._job_service.progress(job, status.stage, 0, 0, -1.0)
        command = {
            "request": str(order),
            "objects": str(self._spool.user_dir(self._job_service.user_of(job))),
            "folder": str(folder),
        }
        self._supervisor.run(device, job, command, time.monotonic())

    def _interrupt(self, job: str, device: str) -> None:
        known = self._job_service.scheduler.jobs.get(job)
        patience_s = CHECKPOINT_S if known and known.goes_on else ASKED_TO_STOP_S
        self._supervisor.interrupt(device, job, time.monotonic(), patience_s)

    def _receive(self, event: WorkerEvent | WorkerExit) -> None:
        device, now = event.device, time.monotonic()
        if isinstance(event, WorkerEvent):
            self._supervisor.received(device, event.fields, now)
            self._handle(device, self._job_on.get(device, ""), event.fields)
            return
        job = self._job_on.pop(device, "")
        cause = self._supervisor.exited(device, event.code, now)
        log.warning("worker died: %s", cause.text, extra={"device": device, "job": job})
        self._lending.lost(device, cause.text)
        if job:
            self._folders.end(device, job)
        if self._asked_at is None:
            self._job_service.device_lost(device, cause)

    def _handle(self, device: str, job: str, event: Mapping[str, Any]) -> None:
        match event:
            case {"event": "ready"}:
                log.info("worker ready", extra={"device": device})
                self._job_service.device_ready(device)
            case {"event": "progress", "stage": str(stage)} if job:
                self._job_service.progress(
                    job, stage, event["step"], event["of"], event["seconds_left"]
                )
            case {"event": "warning", "text": str(text)} if job:
                self._job_service.warned(job, text)
            case {"event": "result", "frame": int(frame)} if job:
                self._take_result(device, job, ResultFile(frame, event["sha256"], event["size"]))
            case {"event": "more devices", "count": int(count)} if job:
                self._job_service.more_devices_wanted(job, count)
            case {"event": "ask", "device": str(lent)} if job:
                self._lending.ask(device, lent, self._command(job, device, lent, event))
            case {"event": "assisted", "task": int(task), "why": str(why)}:
                self._lending.assisted(device, task, why or self._pass_answer(device, task))
            case {"event": "done" | "failed" | "cancelled" as end} if job:
                if end == "done" and not self._is_whole(device, job):
                    return
                del self._job_on[device]
                self._folders.end(device, job)
                self._supervisor.release(device, time.monotonic())
                self._ended(device, job, end, event)

    def _device_of(self, job: str) -> str:
        """Returns the device whose worker runs the job, "" for a job that has just ended."""
        return next((device for device, on in self._job_on.items() if on == job), "")

    def _take_result(self, device: str, job: str, result: ResultFile) -> None:
        """Publishes a result, or ends the worker if the job has no such frame."""
        frames = self._job_service.frames(job)
        if result.frame not in frames:
            self._supervisor.reject(
                device,
                f"it made frame {result.frame} of a job with frames {frames[0]} to {frames[-1]}",
            )
        elif self._publish(device, job, f"{result.frame}.exr"):
            self._job_service.finished_frame(job, result)

    def _is_whole(self, device: str, job: str) -> bool:
        """Takes the record of a done job. Returns False, and ends the worker, if results are missing."""
        if self._job_service.lacks_results(job):
            frames, results = self._job_service.frames(job), self._job_service.results_of(job)
            self._supervisor.reject(
                device, f"it ended a job of {len(frames)} frames with {len(results)} results"
            )
            return False
        return self._publish(device, job, "provenance.json")

    def _publish(self, device: str, job: str, name: str) -> bool:
        """Takes a file of the worker's. Returns False, and ends the worker, if it is none."""
        try:
            self._folders.publish(device, job, name)
        except (OSError, ValueError) as error:
            self._supervisor.reject(device, f"{name} cannot be taken: {error}")
            return False
        return True

    def _pass_answer(self, lent: str, task: int) -> str:
        """Moves a lent device's answer to where the job's worker reads it. Returns why that failed."""
        job = self._lending.job_of(lent)
        lead = self._device_of(job)
        try:
            if lead:
                self._folders.pass_answer(lent, lead, job, task)
            else:
                self._folders.drop_answer(lent, task)
        except (OSError, ValueError) as error:
            return f"its answer cannot be taken: {error}"
        return ""

    def _command(
        self, job: str, device: str, lent: str, event: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns the command of a task to the worker of the device `lent`."""
        return {
            "folder": str(self._folders.of(device) / job),
            "answers": str(self._folders.of(lent)),
            **{name: event[name] for name in ("operation", "engine", "task")},
        }

    def _ended(self, device: str, job: str, end: str, event: Mapping[str, Any]) -> None:
        if end == "done":
            self._job_service.done(job, str(event["provenance"]))
            self._job_service.measured(job, device, event.get("measured"))
        elif end == "cancelled":
            self._job_service.cancelled(job)
        else:
            error = from_code(event["code"], event["text"], event["hint"])
            log.warning("failed: %s", error.text, extra={"job": job, "code": error.code})
            self._job_service.damage.discard_inputs(job, event.get("files", ()))
            self._job_service.failed(job, error)
