"""One `voidbridge` command as a child process that outlives its host.

The child writes its status and its output into files, and hears a cancel through a file. So a host that is opened
again follows it like the host that started it. In a session with a GUI the child is detached; a farm's task takes
its child along, so that the farm can end both.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping, Sequence

from .job_status import FAILED, WORKING, ChildTrace, JobStatus, judged

POLL_S = 0.15
"""Seconds between looks at the status file."""
GRACE_S = 15.0
"""Seconds after which a child that was asked to stop is killed."""
HURRY_S = 3.0
"""The same while the host waits for it."""
SAID_KEPT = 20000
"""Bytes of a child's output that are enough for a report."""

Cancel = Callable[[], bool]


@dataclass(frozen=True)
class ChildFiles:
    """The files of one child, in the folder of a version."""

    status: str
    said: str

    @property
    def cancel(self) -> str:
        return self.status + ".cancel"

    def has_started(self) -> bool:
        """Returns True if any host started the child: the output's file is made then, and only once."""
        return os.path.exists(self.said)

    def ask_to_stop(self) -> None:
        with open(self.cancel, "wb"):
            pass

    def seen(self, code: int | None = None) -> ChildTrace:
        """Reads the files. Give the exit code from before: a child writes its last status and then ends."""
        try:
            started = os.path.getmtime(self.said)
        except OSError:
            started = 0.0
        return ChildTrace(
            text_of(self.status), text_of(self.said)[-SAID_KEPT:], code, started, time.time()
        )


class Child:
    """Starts `command`. Raises OSError if it cannot be started."""

    def __init__(
        self,
        command: Sequence[str],
        files: ChildFiles,
        environment: Mapping[str, str],
        fed: bool = False,
        detached: bool = True,
    ) -> None:
        """`fed` is True if it reads standard input. `detached` is True if the host's end must not end it."""
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        flags |= getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if detached else 0
        with open(files.said, "xb") as said:  # no second host starts the same child
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                creationflags=flags,
                start_new_session=detached and os.name == "posix",
            )

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

    def exit_code(self) -> int | None:
        return self._process.poll()

    def ends_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Stops it: gently at first, by force if that takes too long."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(HURRY_S)
        self.end()

    def end(self) -> None:
        """Ends it by force if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def follow(
    files: ChildFiles,
    child: Child | None,
    should_cancel: Cancel,
    on_status: Callable[[JobStatus], None],
) -> tuple[JobStatus, str]:
    """Waits for the job and reports each status. Returns the last status and the end of the output.

    `child` is None if another host started it. Only our own child is killed when it does not hear a cancel.
    """
    status, asked = JobStatus(), 0.0
    while True:
        code = child.exit_code() if child is not None else None
        seen = files.seen(code)
        after = judged(seen)
        if after != status:
            status = after
            if status.phase == WORKING:
                on_status(status)
        if status.phase != WORKING:
            break
        if not asked and should_cancel():
            asked = time.monotonic()
            files.ask_to_stop()
        if asked and time.monotonic() - asked > GRACE_S and child is not None:
            child.end()
        time.sleep(POLL_S)
    if child is not None:
        _let_end(child)
    return status, files.seen().said


def output(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Runs a short command to its end. Returns exit code, standard output and standard error. Raises OSError."""
    done = subprocess.run(
        list(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=dict(environment),
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace")


def events(text: str) -> Iterator[dict[str, Any]]:
    """Yields the JSON objects among the lines of an output."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                yield found


def failed_to_start(command: Sequence[str], error: OSError) -> JobStatus:
    """Returns the status of a child that could not start."""
    return JobStatus(
        phase=FAILED,
        text=f"{command[0]} cannot be started: {error.strerror or error}.",
        code="node.no-command",
        hint="Install the node again with: voidbridge install nuke",
    )


def _let_end(child: Child) -> None:
    """Waits for a child that has written its last status."""
    deadline = time.monotonic() + GRACE_S
    while child.exit_code() is None and time.monotonic() < deadline:
        time.sleep(POLL_S / 10)
    child.end()


def text_of(path: str) -> str:
    """Returns a file's text; empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


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
