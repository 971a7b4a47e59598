"""The daemon's addresses, and if other machines can reach them."""

from __future__ import annotations

from dataclasses import dataclass

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.wire import keys

HINT = "Write it as tcp://127.0.0.1:5577."


@dataclass(frozen=True)
class Endpoints:
    """The addresses of the two sockets, and the form in which clients learn the second."""

    control: str
    bulk: str
    announced: str

    @property
    def is_open(self) -> bool:
        """True if other machines can reach it."""
        return keys.are_needed(self.control)

    @classmethod
    def of(cls, listen: str) -> Endpoints:
        """`tcp://HOST:PORT` has its bulk socket on the next port, `ipc://PATH` on PATH.bulk.

        Raises `BadSetting` if the address is invalid.
        """
        if listen.startswith("ipc://") and len(listen) > len("ipc://"):
            return cls(listen, f"{listen}.bulk", f"{listen}.bulk")
        if not listen.startswith("tcp://"):
            raise BadSetting(f"{listen!r} is not a valid address to listen on", HINT)
        host, _, port = listen.removeprefix("tcp://").rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65535:
            raise BadSetting(f"{listen!r} has no host, or no port from 1 to 65534", HINT)
        bulk = str(int(port) + 1)
        return cls(listen, f"tcp://{host}:{bulk}", bulk)
