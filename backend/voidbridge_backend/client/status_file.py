"""Writes a job's status to one small file, atomically, and cancels on a file beside it.

It serves hosts that can only start programs and read files.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from voidbridge_protocol.errors import DiskFull, JobCancelled, OutputExists, VoidbridgeError
from voidbridge_protocol.transfer.atomic_files import temporary, write_whole

from .output_places import check_places, is_begun
from .progress import ProgressView, count, left

LOOK_S = 0.25
"""Seconds between checks for the cancel file, and between writes of new data."""
ALIVE_S = 2.0
"""Maximum seconds between writes, so that an old file shows that its writer has ended."""
BEGIN = b'{\n "phase"'
"""First bytes of every status file."""
LAST_TRIES = 40
"""Attempts for the last write: a reader on Windows may hold the file for a moment."""


@dataclass
class State:
    """The content of the file. docs/cli.md describes every field."""

    phase: str = "working"
    text: str = "starting"
    fraction: float = 0.0
    job: str = ""
    result: str = ""
    from_store: bool = False
    warnings: list[str] = field(default_factory=list)
    code: str = ""
    hint: str = ""
    pid: int = 0
    alive: float = 0.0


class StatusFile:
    """A progress view that reports to another one and to a file."""

    def __init__(self, path: Path, view: ProgressView, cancelled: threading.Event) -> None:
        self._path = path
        self._to = view
        self._cancelled = cancelled
        self._state = State(pid=os.getpid())
        self._changed = threading.Event()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="status file", daemon=True)

    def start(self) -> None:
        """Raises `DiskFull` if the file cannot be written."""
        self._write()
        self._ticker.start()

    def end(self, phase: str, text: str, code: str = "", hint: str = "") -> None:
        """Writes the last status. A failed write is ignored, because the exit code says the same."""
        self._over.set()
        self._ticker.join()
        state = self._state
        state.phase, state.text, state.code, state.hint = phase, text, code, hint
        state.fraction = 1.0 if phase == "done" else state.fraction
        for _ in range(LAST_TRIES):
            with contextlib.suppress(DiskFull):
                self._write()
                return
            time.sleep(LOOK_S / 5)

    def stage(self, text: str, done: int, total: int, seconds_left: float = -1.0) -> None:
        self._state.text = text + count(done, total) + left(seconds_left)
        self._state.fraction = min(done / total, 1.0) if total else 0.0
        self._changed.set()
        self._to.stage(text, done, total, seconds_left)

    def message(self, text: str) -> None:
        self._to.message(text)

    def event(self, name: str, **fields: Any) -> None:
        if name == "accepted":
            self._state.job = fields["job"]
        elif name == "warning":
            self._state.warnings.append(fields["text"])
        elif name == "trouble":
            self._state.text = fields["text"]
        elif name == "done":
            self._state.result, self._state.from_store = fields["result"], fields["from_store"]
        self._changed.set()
        forward = self._to.event
        forward(name, **fields)

    def close(self) -> None:
        self._to.close()

    def _tick(self) -> None:
        written = time.monotonic()
        while not self._over.wait(LOOK_S):
            if self._path.with_name(self._path.name + ".cancel").exists():
                self._state.text = "cancelling"
                self._cancelled.set()
            if self._changed.is_set() or time.monotonic() - written > ALIVE_S:
                self._changed.clear()
                with contextlib.suppress(DiskFull):  # the job continues; the next tick tries again
                    self._write()
                written = time.monotonic()

    def _write(self) -> None:
        self._state.alive = time.time()
        write_whole(self._path, json.dumps(asdict(self._state), indent=1).encode() + b"\n")


@contextlib.contextmanager
def kept(
    path: Path | None, view: ProgressView, cancelled: threading.Event
) -> Iterator[ProgressView]:
    """Yields the progress view of a job that writes its status to `path`; without one, the given view.

    Raises `DiskFull` if the file cannot be written at the start, `OutputExists` if it is another file.
    """
    if path is None:
        yield view
        return
    _check_replaceable(path)
    made = StatusFile(path, view, cancelled)
    made.start()
    try:
        yield made
    except JobCancelled as error:
        made.end("cancelled", error.text, error.code, error.hint)
        raise
    except VoidbridgeError as error:
        made.end("failed", error.text, error.code, error.hint)
        raise
    except BaseException as error:  # a reader of the file must learn that no more updates come
        made.end("failed", f"{type(error).__name__}: {error}")
        raise
    made.end("done", "done")


def _check_replaceable(path: Path) -> None:
    """Raises `OutputExists` unless there is no file, or an earlier status file, possibly of a killed command.

    Raises `OutputUnwritable` if no file can be made there.
    """
    check_places([path])
    if os.path.lexists(path) and not _is_status(path):
        raise OutputExists(
            f"{path} exists and is not a status file", "Choose another file with --status-file."
        )
    unfinished = temporary(path)
    if os.path.lexists(unfinished) and not is_begun(unfinished, BEGIN):
        raise OutputExists(
            f"{unfinished} exists and is not a status file",
            "Choose another file with --status-file.",
        )


def _is_status(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and asdict(State()).keys() == found.keys()
