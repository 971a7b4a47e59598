"""Ends a real process by kill -9 at a point that has a name. Of the tests only.

Python imports a module of this name at every start, before anything else; it is on the path of the processes that
`test_crash_points.py` starts. Calls to the disk, the table, the wire and the pipes go through
this module. Each call is a point, "WHO WHEN WHAT", as in "daemon before rename object". WHEN is before, half (of a
write) or after. The file CRASH_PLAN has such a line, and the number of calls to let pass. The process that gets
there kills itself, and renames the plan, so that no other does. The file CRASH_RECORD lists every passed point.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sqlite3
import sys
from pathlib import Path

PLAN, RECORD = os.environ.get("CRASH_PLAN", ""), os.environ.get("CRASH_RECORD", "")
HIT = ".hit"
KINDS = (
    (r"/objects/\w+/\w+$", "object"),
    (r"/objects/\w+$", "drawer"),
    (r"/objects$", "objects"),
    (r"/parts/", "part"),
    (r"/(jobs|work/\w+)/\w+/\d+\.exr", "result"),
    (r"/(jobs|work/\w+)/\w+/provenance\.json", "provenance"),
    (r"/orders/\w+\.json", "request"),
    (r"/work/\w+/\w+$", "work folder"),
    (r"/jobs/\w+$", "job folder"),
    (r"/trash/", "trash"),
    (r"/r\.\d+\.exr", "frame"),
    (r"\.json", "record"),
)
"""Returns the kind of a path, in the spool and in the artist's folder."""

_open, _rename, _exists, _write = open, os.rename, os.path.exists, os.write
_seen: dict[str, int] = {}


def passing(when: str, what: str) -> bool:
    """Whether this is the end: `half` has to see to it that half is written before."""
    if not what:
        return False
    point = f"{WHO} {when} {what}"
    if RECORD:
        with _open(RECORD, "a") as record:
            record.write(point + "\n")
    try:
        with _open(PLAN) as plan:
            wanted, let_pass, _ = told = tuple(plan.read().split("\n"))
    except FileNotFoundError:
        return False
    if wanted != point:
        return False
    key = "\n".join(told)
    _seen[key] = _seen.get(key, 0) + 1
    return _seen[key] > int(let_pass)


def end() -> None:
    _rename(PLAN, PLAN + HIT)
    os.kill(os.getpid(), signal.SIGKILL)


def mark(when: str, what: str) -> None:
    if passing(when, what):
        end()


def around(owner, name, label):
    """Makes `owner.name` two points; `label` says what its arguments are, or "" for what is none of ours."""
    real = getattr(owner, name)

    def watched(*args, **kwargs):
        what = label(*args, **kwargs)
        mark("before", what)
        result = real(*args, **kwargs)
        mark("after", what)
        return result

    setattr(owner, name, watched)


def kind(path) -> str:
    text = os.fspath(path)
    text = text.decode() if isinstance(text, bytes) else text
    return next((name for pattern, name in KINDS if re.search(pattern, text)), "")


def named(verb: str):
    def label(path, *rest, **more):
        target = path
        if isinstance(path, int):
            target = os.readlink(f"/proc/self/fd/{path}")
        elif verb == "rename" and rest:
            target = rest[0]
        found = kind(target)
        return f"{verb} {found}" if found else ""

    return label


class Halving:
    """A file that can be left with half of what was to be written."""

    def __init__(self, file, what: str) -> None:
        self._file, self._what = file, what

    def write(self, data) -> int:
        if passing("half", self._what):
            self._file.write(memoryview(data)[: len(data) // 2])
            self._file.flush()
            end()
        return self._file.write(data)

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *error):
        return self._file.__exit__(*error)

    def __getattr__(self, name):
        return getattr(self._file, name)


def files() -> None:
    around(os, "fsync", named("fsync"))
    around(os, "replace", named("rename"))
    around(os, "rename", named("rename"))
    around(os, "mkdir", named("make"))

    def write_half(fd, data) -> int:
        found = named("write")(fd) if _exists(f"/proc/self/fd/{fd}") else ""
        if passing("half", found):
            _write(fd, memoryview(data)[: len(data) // 2])
            end()
        return _write(fd, data)

    os.write = write_half
    real_open = Path.open

    def opened(self, mode="r", *rest, **more):
        what = kind(self) if "w" in mode else ""
        mark("before", f"open {what}" if what else "")
        file = real_open(self, mode, *rest, **more)
        mark("after", f"open {what}" if what else "")
        return Halving(file, f"write {what}") if what and "b" in mode else file

    Path.open = opened


def table() -> None:
    class Connection(sqlite3.Connection):
        def execute(self, statement, values=()):
            what = statement_name(statement, values)
            mark("before", what)
            result = super().execute(statement, values)
            mark("after", what)
            return result

        def __exit__(self, *error):
            mark("before", "table commit")
            result = super().__exit__(*error)
            mark("after", "table commit")
            return result

    real = sqlite3.connect
    sqlite3.connect = lambda *args, **more: real(*args, **{**more, "factory": Connection})


def statement_name(statement: str, values) -> str:
    if statement.startswith("UPDATE jobs SET state"):
        if values[-2]:
            return "table fetched"
        return f"table {values[0]}"
    if statement.startswith("INSERT OR REPLACE INTO results"):
        return "table result"
    if statement.startswith("INSERT INTO jobs"):
        return "table job"
    return ""


def wire() -> None:
    import zmq

    def said(frames) -> str:
        for frame in frames:
            raw = bytes(memoryview(frame.buffer if isinstance(frame, zmq.Frame) else frame)[:60])
            if found := re.match(rb'\{"kind": "([a-z-]+)"', raw):
                return found[1].decode()
        return ""

    from voidbridge_protocol.wire import receive as door

    real_receive = door.receive

    def receive(socket):
        frames = real_receive(socket)
        if what := said(frames):
            mark("after", f"hear {what}")
        return frames

    def label(self, frames, *rest, **more) -> str:
        what = said(frames)
        return f"say {what}" if what else ""

    around(zmq.Socket, "send_multipart", label)
    door.receive = receive  # before anybody else imports it


def orders() -> None:
    """The daemon's end of the pipes to its workers."""
    from voidbridge_backend.daemon.workers.pool import WorkerPool
    from voidbridge_backend.daemon.workers.supervisor import Supervisor

    around(Supervisor, "_send", lambda self, device, what: f"order {what['do']}")
    around(WorkerPool, "_handle", lambda self, device, job, what: f"handle {what['event']}")


def pipe() -> None:
    """The worker's end."""
    real = os.fdopen

    def opened(fd, mode="r", *rest, **more):
        file = real(fd, mode, *rest, **more)
        return Speaking(file) if mode == "wb" else file

    os.fdopen = opened


class Speaking(io.RawIOBase):
    def __init__(self, file) -> None:
        self._file = file

    def write(self, data) -> int:
        what = f"tell {json.loads(data)['event']}"
        mark("before", what)
        if passing("half", what):
            self._file.write(data[: len(data) // 2])
            end()
        self._file.write(data)
        mark("after", what)
        return len(data)


def who() -> str:
    words = sys.orig_argv
    if "voidbridge_backend.worker.process" in words:
        return "worker"
    if "serve" in words:
        return "daemon"
    return "client" if {"run", "fetch", "submit"} & set(words) else ""


if WHO := (who() if PLAN else ""):
    files()
    if WHO == "worker":
        pipe()
    else:
        wire()
    if WHO == "daemon":
        table()
        orders()
