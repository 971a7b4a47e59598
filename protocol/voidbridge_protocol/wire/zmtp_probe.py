"""Identifies the service at an address by its first 64 bytes (ZMTP 3, RFC 23).

libzmq only reports a failed handshake, and which side notices it first is random.
"""

from __future__ import annotations

import socket
from contextlib import suppress

SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
OURS = SIGNATURE + b"\x03\x00"
"""The client sends no more. A different mechanism would make the peer hang up, and its greeting could be lost."""
WHOLE = 64
PATIENCE_S = 2.0


def mechanism(address: str) -> str | None:
    """Returns `CURVE` if keys are required, `NULL` if not, "" if it is not ZeroMQ, None if nothing answers.

    `address` is a `tcp://HOST:PORT`.
    """
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE_S) as line:
            line.settimeout(PATIENCE_S)
            return _mechanism(_greeting(line))
    except (OSError, ValueError):
        return None


def _greeting(line: socket.socket) -> bytes:
    received = b""
    with suppress(OSError):  # bytes received before a disconnect are enough
        line.sendall(OURS)
        while len(received) < WHOLE and (more := line.recv(WHOLE - len(received))):
            received += more
    return received


def _mechanism(greeting: bytes) -> str | None:
    if not greeting:
        return None
    if len(greeting) < 32 or greeting[0] != SIGNATURE[0] or greeting[9] != SIGNATURE[9]:
        return ""
    return greeting[12:32].rstrip(b"\0").decode("ascii", "replace")
