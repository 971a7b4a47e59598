"""What listens at an address, told by the first 64 bytes that it says (ZMTP 3, RFC 23).

libzmq only says that a handshake failed, and on which side it noticed is a matter of luck.
"""

from __future__ import annotations

import socket
from contextlib import suppress

SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
OURS = SIGNATURE + b"\x03\x00"
"""No more: a mechanism that is not the other side's makes it hang up, and what it said may be lost with that."""
WHOLE = 64
PATIENCE_S = 2.0


def mechanism(address: str) -> str | None:
    """`CURVE` where keys are asked for, `NULL` where not, "" for what is no ZeroMQ, None where nobody answers.

    `address` is a `tcp://HOST:PORT`.
    """
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE_S) as line:
            line.settimeout(PATIENCE_S)
            return _mechanism(_heard(line))
    except (OSError, ValueError):
        return None


def _heard(line: socket.socket) -> bytes:
    heard = b""
    with suppress(OSError):  # whatever came before the line broke tells enough
        line.sendall(OURS)
        while len(heard) < WHOLE and (more := line.recv(WHOLE - len(heard))):
            heard += more
    return heard


def _mechanism(heard: bytes) -> str | None:
    if not heard:
        return None
    if len(heard) < 32 or heard[0] != SIGNATURE[0] or heard[9] != SIGNATURE[9]:
        return ""
    return heard[12:32].rstrip(b"\0").decode("ascii", "replace")
