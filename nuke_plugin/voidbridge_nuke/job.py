"""One `voidbridge run --json` as a child process: starts it, reads its lines, stops it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from typing import Any, Callable, Mapping, Sequence

from .status import FAILED, Status, advanced, ended

POLL_S = 0.15
"""How often a cancel is looked for."""
GRACE_S = 15.0
"""After this a child that was asked to stop is killed."""
ERRORS_KEPT = 200


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Without what a host sets for its own Python, which would break another one."""
    theirs = {name: value for name, value in ours.items() if not name.startswith("PYTHON")}
    theirs["PYTHONIOENCODING"] = "utf-8"
    return theirs


def run(
    command: Sequence[str],
    should_cancel: Callable[[], bool],
    on_event: Callable[[dict[str, Any]], None],
) -> tuple[int, str]:
    """Waits for the child, telling its events as they come. The exit code, and the end of what it said in words.

    Raises OSError where it cannot be started.
    """
    child = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(os.environ),
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    lines: queue.Queue[bytes | None] = queue.Queue()
    errors: list[str] = []
    readers = [
        threading.Thread(target=_read_lines, args=(child.stdout, lines), daemon=True),
        threading.Thread(target=_read_errors, args=(child.stderr, errors), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        _follow(child, lines, should_cancel, on_event)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        for reader in readers:
            reader.join(GRACE_S)
    return child.returncode, "".join(errors)


def follow(
    command: Sequence[str], should_cancel: Callable[[], bool], on_status: Callable[[Status], None]
) -> tuple[Status, str]:
    """`run`, as a status line: each change is told, and the last one returned with the words for a report."""
    status = Status()

    def on_event(event: dict[str, Any]) -> None:
        nonlocal status
        after = advanced(status, event)
        if after != status:
            status = after
            on_status(status)

    try:
        code, errors = run(command, should_cancel, on_event)
    except OSError as error:
        text = f"{command[0]} cannot be started: {error.strerror or error}."
        hint = "Install the node again with: voidbridge install nuke"
        return Status(phase=FAILED, text=text, code="node.no-command", hint=hint), str(error)
    return ended(status, code, errors), errors


def _follow(
    child: subprocess.Popen[bytes],
    lines: queue.Queue[bytes | None],
    should_cancel: Callable[[], bool],
    on_event: Callable[[dict[str, Any]], None],
) -> None:
    asked: float | None = None
    while True:
        if asked is None and should_cancel():
            asked = time.monotonic()
            child.terminate()
        if asked is not None and time.monotonic() - asked > GRACE_S:
            return
        try:
            line = lines.get(timeout=POLL_S)
        except queue.Empty:
            continue
        if line is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_S)
            return
        try:
            event = json.loads(line.decode("utf-8"))
        except ValueError:
            continue  # half a line of a child that was killed
        if isinstance(event, dict):
            on_event(event)


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
