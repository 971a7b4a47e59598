"""The address `local`: a Unix socket that only its user can open, where a daemon listens unless told otherwise."""

from __future__ import annotations

import os
from pathlib import Path

LOCAL = "local"
"""How settings and commands name it."""
WITHOUT_UNIX_SOCKETS = "tcp://127.0.0.1:5577"
"""Its place on Windows, whose ZeroMQ has no Unix sockets."""


def resolved(address: str) -> str:
    """Returns the address behind `local`, and any other address as it is.

    The socket lies in the user's folder for such files (XDG_RUNTIME_DIR), or else in the user's cache.
    """
    if address != LOCAL:
        return address
    if os.name != "posix":
        return WITHOUT_UNIX_SOCKETS
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(runtime) if runtime else Path("~/.cache").expanduser()
    return f"ipc://{folder / 'voidbridge' / 'sockets' / 'ctl'}"
