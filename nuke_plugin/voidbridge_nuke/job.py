"""One `voidbridge` command as a child process: starts it, writes its input, reads its lines, stops it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from typing import Any, Callable, Iterator, Mapping, Sequence

from .job_status import FAILED, JobStatus, advanced, ended

POLL_S = 0.15
"""Seconds between checks for a cancel."""
GRACE_S = 15.0
"""Seconds after which a child that was asked to stop is killed."""
HURRY_S = 3.0
"""The same while the host waits for it."""
ERRORS_KEPT = 200

Cancel = Callable[[], bool]
OnEvent = Callable[[Mapping[str, Any]], None]


class Child:
    """Starts `command` and keeps its lines until `follow` reads them. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str], fed: bool = False) -> None:
        """`fed` is True if it reads standard input."""
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(os.environ),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._errors: list[str] = []
        process = self._process
        self._readers = [
            threading.Thread(target=_read_lines, args=(process.stdout, self._lines), daemon=True),
            threading.Thread(target=_read_errors, args=(process.stderr, self._errors), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def write_line(self, line: str) -> bool:
        """Writes a line to its standard input, from the main thread. Returns False if the child has ended."""
        if self._process.stdin is None or self._process.poll() is not None:
            return False
        try:
            with _unharmed():
                # Unbuffered, because a buffer would keep the failed bytes and fail again on another thread.
                os.write(self._process.stdin.fileno(), line.encode("ascii") + b"\n")
        except OSError:
            return False
        return True

    def follow(self, should_cancel: Cancel, on_event: OnEvent) -> tuple[int, str]:
        """Waits for its end and passes on its events. Returns the exit code and the end of its error output."""
        try:
            self._follow(should_cancel, on_event)
        finally:
            self._end()
        return self._process.returncode, "".join(self._errors)

    def stop(self) -> None:
        """Stops it: gently at first, by force if that takes too long."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(HURRY_S)
        self._end()

    def _follow(self, should_cancel: Cancel, on_event: OnEvent) -> None:
        asked: float | None = None
        while True:
            if asked is None and should_cancel():
                asked = time.monotonic()
                self._process.terminate()
            if asked is not None and time.monotonic() - asked > GRACE_S:
                return
            try:
                line = self._lines.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if line is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(GRACE_S)
                return
            try:
                event = json.loads(line.decode("utf-8"))
            except ValueError:
                continue  # a partial line of a killed child
            if isinstance(event, dict):
                on_event(event)

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(GRACE_S)
        if self._process.stdin is not None:
            self._process.stdin.close()


@contextlib.contextmanager
def _unharmed() -> Iterator[None]:
    """Protects writes to a pipe: Python ignores SIGPIPE, but a host may not, and would end with its child."""
    deadly = getattr(signal, "SIGPIPE", None)
    if deadly is None or signal.getsignal(deadly) is not signal.SIG_DFL:
        yield
        return
    signal.signal(deadly, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(deadly, signal.SIG_DFL)


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Removes variables that a host sets for its own Python, which would break another one."""
    theirs = {name: value for name, value in ours.items() if not name.startswith("PYTHON")}
    theirs["PYTHONIOENCODING"] = "utf-8"
    return theirs


def follow(
    child: Child, should_cancel: Cancel, on_status: Callable[[JobStatus], None]
) -> tuple[JobStatus, str]:
    """Waits for the child and reports each status. Returns the last status and the text for a report."""
    status = JobStatus()

    def on_event(event: Mapping[str, Any]) -> None:
        nonlocal status
        after = advanced(status, event)
        if after != status:
            status = after
            on_status(status)

    code, errors = child.follow(should_cancel, on_event)
    return ended(status, code, errors), errors


def failed_to_start(command: Sequence[str], error: OSError) -> JobStatus:
    """Returns the status of a child that could not start."""
    return JobStatus(
        phase=FAILED,
        text=f"{command[0]} cannot be started: {error.strerror or error}.",
        code="node.no-command",
        hint="Install the node again with: voidbridge install nuke",
    )


def _read_lines(stream: Any, lines: queue.Queue[bytes | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _read_errors(stream: Any, errors: list[str]) -> None:
    with stream:
        for line in stream:
            errors.append(line.decode("utf-8", "replace"))
            del errors[:-ERRORS_KEPT]
