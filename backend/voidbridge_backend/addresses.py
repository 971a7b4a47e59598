"""Where a daemon may listen: on this machine, and nowhere else as long as it has no keys."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from voidbridge_protocol.errors import RequestError

HINT = "Write it as tcp://127.0.0.1:5577."


@dataclass(frozen=True)
class Addresses:
    """Where the two sockets are bound, and how clients are told of the second."""

    control: str
    bulk: str
    announced: str

    @classmethod
    def of(cls, listen: str) -> Addresses:
        """`tcp://HOST:PORT` has its bulk socket on the next port, `ipc://PATH` on PATH.bulk.

        Raises `RequestError` for what is no address, and for one that others can reach.
        """
        if listen.startswith("ipc://") and len(listen) > len("ipc://"):
            return cls(listen, f"{listen}.bulk", f"{listen}.bulk")
        if not listen.startswith("tcp://"):
            raise RequestError(f"{listen!r} is no address to listen on", HINT)
        host, _, port = listen.removeprefix("tcp://").rpartition(":")
        if not port.isdigit() or not 0 < int(port) < 65535:
            raise RequestError(f"{listen!r} has no port from 1 to 65534", HINT)
        if not is_loopback(host):
            raise RequestError(
                f"{listen} can be reached by other machines, and this daemon has no keys to tell "
                "friends from strangers",
                "Listen on 127.0.0.1 and let clients in through a tunnel: "
                f"ssh -L {port}:127.0.0.1:{port} -L {int(port) + 1}:127.0.0.1:{int(port) + 1} BOX",
            )
        bulk = str(int(port) + 1)
        return cls(listen, f"tcp://{host}:{bulk}", bulk)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. A name is trusted only if it is `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
