"""A process between the daemon's pipes: the setup and commands come in, only events go out."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from voidbridge_backend import log_format

PR_SET_PDEATHSIG = 1


def opened() -> tuple[Callable[..., None], Any]:
    """Prepares this process, and returns the sender of events and the setup, the first line of standard input.

    The setup is None if the daemon is gone already. Libraries print on standard output, but the daemon may read
    only events there. They go to the log from now on.
    """
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole group
    log_format.setup(sys.stderr)
    ours = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(event: str, **fields: Any) -> None:
        with lock:
            ours.write(json.dumps({"event": event, **fields}).encode() + b"\n")

    return send, json.loads(sys.stdin.buffer.readline() or b"null")


def die_with_parent() -> None:
    """Ends this process together with a killed daemon, which frees the device at once."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
