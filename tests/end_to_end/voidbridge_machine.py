"""The machine that tests share with other programs: its speed, its ports, its folder for temporary files."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any


def in_time(seconds: float, limit: float) -> bool:
    """Whether it took less than `limit` on a machine of its own. A busy one has as much more as it is slower."""
    if seconds < limit:
        return True
    wall, busy = time.monotonic(), time.process_time()
    while time.monotonic() - wall < 1.0:
        pass
    share = (time.monotonic() - wall) / max(time.process_time() - busy, 0.001)
    slower = max(1.0, share, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
    return seconds < limit * slower


def caught(attempt: Callable[[int], Any]) -> Any:
    """The first answer other than None, of jobs of ever more steps: a busy machine may look when one is over."""
    for steps in (10, 40, 160, 640):
        if (found := attempt(steps)) is not None:
            return found
    raise AssertionError("no job was caught in its midst")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still meanwhile.

    A worker that is stopped before it has a job keeps that job running for as long as a test needs.
    """
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def free_ports(count: int = 1, host: str = "127.0.0.1") -> int:
    """The first of so many free ports in a row.

    The system gives none of them to an outgoing connection, and each process of the tests has a range of its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        first = random.randrange(10_000, 12_000) + 2_000 * (worker % 4)
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind((host, port))
            except OSError:
                continue
        return first


@contextmanager
def short_folder(prefix: str) -> Iterator[Path]:
    """A folder with a short path, for sockets; pytest's own may be too deep for one.

    It is locked as long as it is used. Folders whose process was killed are deleted by the next.
    """
    for old in Path(tempfile.gettempdir()).glob(f"{prefix}-*"):
        with suppress(OSError), locked(old):
            if time.time() - old.stat().st_mtime > 60:  # one that is being made has no lock yet
                shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-"))
    with locked(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Raises `OSError` if another process, or this one, has the lock."""
    fd = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
