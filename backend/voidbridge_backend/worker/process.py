"""The process that owns a device. It keeps its engine between jobs and runs one shot at a time.

It reads commands from standard input and writes events to standard output, one JSON object per line. A crash here
ends one attempt at one job and nothing else. At the end of input it stops at the next step.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from voidbridge_backend import log_format
from voidbridge_protocol.errors import (
    DamagedFile,
    DeviceFailed,
    DiskFull,
    EngineFailed,
    JobCancelled,
    OutOfMemory,
    VoidbridgeError,
)
from voidbridge_protocol.operations import operations
from voidbridge_protocol.wire.request_payload import decode_request

from . import daemon_pipes, malloc, sandbox
from .lent_devices import LentByDaemon
from .measure import JobMeter
from .task_files import answer_path, task_path

log = logging.getLogger("voidbridge.worker")

REPORT_EVERY_S = 0.1
"""Minimum seconds between progress events."""
EXIT_UNUSABLE = 75
"""Exit code: this process can no longer use the device."""


class JobProgress:
    """The engine's `JobContext`: reports progress and stops a cancelled job."""

    def __init__(
        self,
        send: Callable[..., None],
        cancelled_future: Future[None],
        lent: LentByDaemon | None = None,
    ) -> None:
        self.lent = lent
        self._send = send
        self._cancelled = cancelled_future
        self._stage = ""
        self._first = 0
        self._began = self._last_sent = 0.0

    def step(self, stage: str, done: int, total: int) -> None:
        if self._cancelled.done():
            raise JobCancelled(f"stopped while {stage}")
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._first = stage, now, done
        elif now - self._last_sent < REPORT_EVERY_S and done != total:
            return
        self._last_sent = now
        since = done - self._first  # a stage may continue after another one, such as compiling
        left = (now - self._began) / since * (total - done) if since > 0 else -1.0
        self._send("progress", stage=stage, step=done, of=total, seconds_left=round(left, 1))

    def warn(self, text: str) -> None:
        log.warning(text)
        self._send("warning", text=text)


class CancelledJobs:
    """The cancelled jobs. One thread adds them, another reads them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Future[None]] = {}
        self._all = False

    def of(self, job: str) -> Future[None]:
        """Returns a future that is done once this job should stop."""
        with self._lock:
            return self._of(job)

    def stop(self, job: str) -> None:
        with self._lock:
            _complete(self._of(job))

    def stop_all(self) -> None:
        """Cancels all jobs, including future ones."""
        with self._lock:
            self._all = True
            for future in self._jobs.values():
                _complete(future)

    def forget(self, job: str) -> None:
        """Removes a job, so that an old cancel does not stop its next run."""
        with self._lock:
            self._jobs.pop(job, None)

    def _of(self, job: str) -> Future[None]:
        future = self._jobs.setdefault(job, Future())
        if self._all:
            _complete(future)
        return future


def _complete(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Worker:
    """Executes commands until the input ends."""

    def __init__(self, send: Callable[..., None], setup: dict[str, Any]) -> None:
        """`setup` is the first command."""
        self._send = send
        self._commands: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._cancelled = CancelledJobs()
        self._setup = setup
        self._engines: dict[tuple[str, str], Any] = {}
        self._lent: LentByDaemon | None = None
        """The devices that are lent to the running job."""
        self._meter = JobMeter()

    def receive(self, lines: Any) -> None:
        """Reads commands on its own thread, so that a cancel arrives in the middle of a job."""
        for line in lines:
            command = json.loads(line)
            if command["do"] == "cancel":
                self._cancelled.stop(command["job"])
            elif command["do"] in ("lent", "unlent", "assisted"):
                if lent := self._lent:
                    lent.tell(command)
            else:
                # A cancel that crossed the end of its job does not apply to the next run.
                self._cancelled.forget(command.get("job", ""))
                self._commands.put(command)
        self._cancelled.stop_all()
        self._commands.put(None)

    def execute(self) -> None:
        self._begin(self._setup)
        while command := self._commands.get():
            if command["do"] == "prepare":
                self._prepare(command["operation"], command["engine"])
            elif command["do"] == "assist":
                self._assist(command)
            elif command["do"] == "rest":
                self._rest()
            elif command["do"] == "run":
                log_format.job.set(command["job"])
                self._run(command)
                log_format.job.set("")

    def _begin(self, setup: dict[str, Any]) -> None:
        from voidbridge_backend.engines import device
        from voidbridge_backend.render import remove  # noqa: F401 - what is slow to import belongs to starting

        if setup.get("probe"):
            try:
                device.check(self._local_name())
            except DeviceFailed as error:
                give_up(self._send, error)
        self._send("ready", device=setup["device"])

    def _local_name(self) -> str:
        """Returns the device's name in this process, which sees no other card."""
        return str(self._setup.get("local_name", self._setup["device"]))

    def _prepare(self, operation: str, engine: str) -> None:
        """Loads the engine of an announced job. Errors are ignored, because the job meets and reports them."""
        self._failure(lambda: self._engine(operation, engine))
        self._send("prepared")

    def _assist(self, command: dict[str, Any]) -> None:
        """Computes a part of a job that another worker runs."""
        why = ""
        try:
            if failed := self._failure(lambda: self._answer(command)):
                why = failed.text
        except JobCancelled as error:
            why = error.text
        finally:
            self._cancelled.forget(command["job"])
        self._send("assisted", task=command["task"], why=why)

    def _answer(self, command: dict[str, Any]) -> None:
        folder, number = Path(command["folder"]), command["task"]
        engine = self._engine(command["operation"], command["engine"])
        progress = JobProgress(self._send, self._cancelled.of(command["job"]))
        answer = engine.assist(task_path(folder, number).read_bytes(), progress)
        if task_path(folder, number).exists():  # else the job no longer waits
            answer_path(Path(command["answers"]), number).write_bytes(answer)

    def _rest(self) -> None:
        from voidbridge_backend.engines.base import Assists

        for engine in self._engines.values():
            if isinstance(engine, Assists):
                engine.rest()

    def _run(self, command: dict[str, Any]) -> None:
        try:
            try:
                failed = self._failure(lambda: self._shot(command))
                record = "" if failed else _record_hash(Path(command["folder"]))
            finally:
                self._cancelled.forget(command["job"])
        except JobCancelled:
            self._send("cancelled")
        else:
            if failed:
                files = failed.files if isinstance(failed, DamagedFile) else ()
                self._send(
                    "failed", code=failed.code, text=failed.text, hint=failed.hint, files=files
                )
            else:
                self._send("done", provenance=record, measured=self._meter.figures)

    def _failure(self, work: Callable[[], object]) -> VoidbridgeError | None:
        """Runs `work` and returns its error. A lost device ends this process. Raises `JobCancelled`."""
        try:
            work()
        except JobCancelled:
            raise
        except Exception as error:  # after any error, the next job still has a worker
            log.exception("failed")
            if lost := self._lost(error):
                give_up(self._send, lost)
            return translated(error)
        return None

    def _lost(self, error: Exception) -> DeviceFailed | None:
        from voidbridge_backend.engines import device

        return device.lost(error, self._setup["device"])

    def _shot(self, command: dict[str, Any]) -> None:
        from voidbridge_backend.render import job as render_job
        from voidbridge_backend.render.decode_limits import DecodeLimits

        job, self._meter = command["job"], JobMeter()
        cancelled_future = self._cancelled.of(job)
        request = decode_request(Path(command["request"]).read_bytes())
        objects = Path(command["objects"])
        rendered = render_job.RenderJob(
            job=job,
            request=request,
            source=lambda sha256: objects / sha256,
            folder=Path(command["folder"]),
            ocio=self._setup.get("ocio", ""),
            allowance=DecodeLimits(self._setup.get("pixels", 0), self._setup.get("growth", 0)),
            cancelled_future=cancelled_future,
        )
        self._lent = LentByDaemon(
            self._send, job, rendered.folder, request.operation, request.settings.engine
        )
        progress = JobProgress(self._send, cancelled_future, self._lent)
        try:
            renderer(request.operation)(
                rendered,
                self._engine(request.operation, request.settings.engine),
                progress,
                lambda result: self._send(
                    "result", frame=result.frame, sha256=result.sha256, size=result.size
                ),
            )
            self._meter.end(rendered)
        except JobCancelled:
            raise
        except Exception as error:
            if self._lost(error) is None:
                self._blame_files(rendered, progress, error)
            raise
        finally:
            self._lent.close()

    def _blame_files(self, rendered: Any, progress: JobProgress, error: Exception) -> None:
        """Raises `DamagedFile` if the job failed of files that are not what the client sent."""
        from voidbridge_backend.render import job as render_job

        try:
            render_job.check_files(
                rendered, lambda done, of: progress.step("checking the files", done, of)
            )
        except DamagedFile as damaged:
            raise damaged from error

    def _engine(self, operation: str, name: str) -> Any:
        from voidbridge_backend.engines import registry

        if (operation, name) not in self._engines:
            if operations()[operation].is_exclusive:
                self._engines.clear()
                malloc.collect_all()
            self._send("progress", stage="loading the engine", step=0, of=0, seconds_left=-1.0)
            began = time.monotonic()
            # Beside another engine there may be garbage of its jobs, which must not last.
            with nullcontext() if self._engines else malloc.lasting_objects():
                self._engines[operation, name] = registry.make(
                    operation,
                    name,
                    self._local_name(),
                    Path(self._setup["models"]),
                    self._setup.get("bills", False),
                )
            self._meter.loading = time.monotonic() - began
            log.info("engine %s loaded in %.1f s", name, self._meter.loading)
        return self._engines[operation, name]


def give_up(send: Callable[..., None], error: DeviceFailed) -> None:
    """Ends this process, so that a new one takes its place."""
    log.error("%s; this process ends", error.text)
    send("unusable", text=error.text)
    os._exit(EXIT_UNUSABLE)  # cleanup on the device would hang or fail as well


def renderer(operation: str) -> Callable[..., dict[str, Any]]:
    """The function `run` of the module in `render/` that is named after the operation (`render.job`)."""
    run: Callable[..., dict[str, Any]] = importlib.import_module(
        f"voidbridge_backend.render.{operation}"
    ).run
    return run


def _record_hash(folder: Path) -> str:
    """Returns the SHA-256 of the record that the job has just written, in hexadecimal digits."""
    return hashlib.sha256((folder / "provenance.json").read_bytes()).hexdigest()


def translated(error: Exception) -> VoidbridgeError:
    """Converts an exception to an error for the artist."""
    from voidbridge_backend.engines import device

    if isinstance(error, VoidbridgeError):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemory("the worker ran out of memory")
    if short := device.out_of_memory(error):
        return OutOfMemory(f"the worker ran out of memory: {short}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space is left for {error.filename or 'the results'}")
    return EngineFailed(f"{type(error).__name__}: {error}")


def main() -> None:
    """Runs until standard input ends, and then ends this process."""
    malloc.keep_large_blocks()
    send, setup = daemon_pipes.opened()
    if setup is None:
        return  # the daemon is gone already
    try:
        log.info("sandbox: %s", sandbox.enter(setup["sandbox"], setup))
    except DeviceFailed as error:
        give_up(send, error)
    worker = Worker(send, setup)
    threading.Thread(target=worker.receive, args=(sys.stdin.buffer,), daemon=True).start()
    worker.execute()
    os._exit(0)  # the system frees all at once; Python would take modules and engines apart first


if __name__ == "__main__":
    main()
