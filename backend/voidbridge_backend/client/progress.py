"""Shows a job's progress: bars on a terminal, lines in a log, or JSON, one object per line.

Text for people goes to standard error; results and JSON go to standard output.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from voidbridge_backend.log_format import one_line
from voidbridge_protocol.errors import JobCancelled, VoidbridgeError
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import Health, Status

from .openjd.view import OpenJdView

if TYPE_CHECKING:
    from rich.progress import TaskID

LINE_EVERY_S = 5.0
"""Seconds between log lines within a long stage. Each stage also gets a line."""


class ProgressView(Protocol):
    """Receives the progress of a job."""

    def stage(self, text: str, done: int, total: int, seconds_left: float = -1.0) -> None:
        """Reports the job's progress; 0 of 0 if it cannot be counted."""

    def message(self, text: str) -> None:
        """Reports a message on a line of its own."""

    def event(self, name: str, **fields: Any) -> None:
        """Reports the same for programs."""

    def close(self) -> None: ...


def progress_view(as_json: bool, openjd: bool = False) -> ProgressView:
    """Returns the view that fits standard output and standard error."""
    if openjd:
        return OpenJdView()
    if as_json:
        return JsonView()
    return BarView() if sys.stderr.isatty() else LogView()


@contextmanager
def watched(as_json: bool, openjd: bool = False) -> Iterator[tuple[ProgressView, threading.Event]]:
    """Yields a progress view, and an event that Ctrl-C and SIGTERM set; a second Ctrl-C ends at once."""
    cancelled = threading.Event()

    def stop(number: int, _: object) -> None:
        cancelled.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    view = progress_view(as_json, openjd)
    try:
        yield view, cancelled
    finally:
        view.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def measuring(view: ProgressView, cancelled: threading.Event) -> Callable[[int, int], None]:
    """Returns a callback for measured frames (done, total). It raises `JobCancelled` once `cancelled` is set."""

    def on_frame(done: int, total: int) -> None:
        if cancelled.is_set():
            raise JobCancelled("cancelled while the frames were being measured")
        view.stage("measuring", done, total)

    return on_frame


class JsonView:
    """Prints one object per line on standard output."""

    def stage(self, text: str, done: int, total: int, seconds_left: float = -1.0) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def event(self, name: str, **fields: Any) -> None:
        sys.stdout.write(json.dumps({"event": name, **fields}) + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        pass


class LogView:
    """Prints plain lines on standard error."""

    def __init__(self) -> None:
        self._stage = ""
        self._shown_at = 0.0
        self._has_ended = False

    def stage(self, text: str, done: int, total: int, seconds_left: float = -1.0) -> None:
        now = time.monotonic()
        is_end = bool(total) and done >= total
        is_new_end = is_end and not (text == self._stage and self._has_ended)
        self._has_ended = is_end
        if text == self._stage and not is_new_end and now - self._shown_at < LINE_EVERY_S:
            return
        self._stage, self._shown_at = text, now
        self.message(text + count(done, total) + ("" if is_end else left(seconds_left)))

    def message(self, text: str) -> None:
        sys.stderr.write(one_line(text) + "\n")
        sys.stderr.flush()

    def event(self, name: str, **fields: Any) -> None:
        pass

    def close(self) -> None:
        pass


class BarView:
    """Draws one bar per stage on a terminal."""

    def __init__(self) -> None:
        # Only here: rich takes longer to import than all the rest of a command.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
        )
        self._progress.start()
        self._tasks: dict[str, TaskID] = {}

    def stage(self, text: str, done: int, total: int, seconds_left: float = -1.0) -> None:
        for other, task in self._tasks.items():
            if other != text:
                whole = self._progress.tasks[self._progress.task_ids.index(task)].total
                count = f"{whole:.0f}/{whole:.0f}" if whole else ""
                self._progress.update(task, completed=whole, left="", count=count)
                self._progress.stop_task(task)
        if text not in self._tasks:
            self._tasks[text] = self._progress.add_task(text, total=None, count="", left="")
        self._progress.update(
            self._tasks[text],
            completed=done,
            total=total or None,
            count=f"{done}/{total}" if total else "",
            left=left(seconds_left).strip(),
        )

    def message(self, text: str) -> None:
        self._progress.console.print(one_line(text), markup=False)

    def event(self, name: str, **fields: Any) -> None:
        pass

    def close(self) -> None:
        self._progress.stop()


def count(done: int, total: int) -> str:
    """Returns ` 12 of 48`, or nothing."""
    return f" {done} of {total}" if total else ""


def left(seconds: float) -> str:
    """Returns `, about 40 s left`, or nothing."""
    if seconds < 0.5:
        return ""
    text = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f", about {text} left"


def show_status(view: ProgressView, status: Status) -> None:
    """Shows a job's status."""
    view.event("status", **asdict(status))
    if status.state is JobState.QUEUED:
        view.stage(f"waiting, {status.ahead} ahead" if status.ahead else "waiting", 0, 0)
    elif status.state is JobState.RUNNING and status.stage:
        view.stage(status.stage, status.step, status.of, status.seconds_left)


def show_health(health: Health) -> None:
    """Prints the problems of the daemon and its devices; nothing if there are none."""
    for device in health.devices:
        if device.why:
            sys.stderr.write(one_line(f"{device.name} is {device.state}: {device.why}") + "\n")
    if not health.ready:
        _write_three(f"not ready: {health.text}", health.hint, health.code)


def show_error(as_json: bool, error: VoidbridgeError, exit_code: int) -> None:
    """Prints the error and its hint in a uniform format, for people first: programs may have gone."""
    _write_three(f"voidbridge: {error.text}", error.hint, error.code)
    if as_json:
        JsonView().event("error", code=error.code, text=error.text, hint=error.hint, exit=exit_code)


def _write_three(text: str, hint: str, code: str) -> None:
    """Writes a text, its hint and its code, a line each."""
    sys.stderr.write(f"{one_line(text)}\n  {one_line(hint)}\n  [{one_line(code)}]\n")
