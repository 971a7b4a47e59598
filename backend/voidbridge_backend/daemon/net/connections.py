"""Tracks open connections and picks idle or unauthenticated ones to close. Pure.

libzmq closes a connection that does not finish its handshake, but keeps a silent one after it forever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

HELLO_S = 30.0
"""Seconds after which a connection without a hello is closed."""
SILENT_S = 90.0
"""Seconds of silence after which a client's connection is closed. A client pings every two seconds, and its session
ends before this.
"""
UNAUTHENTICATED = 64
"""Maximum unauthenticated connections of one address; the oldest make room for new ones."""


class Descriptor(NamedTuple):
    """Where a connection is open. A later connection may get the same descriptor.

    The number alone is not enough. Each of the two sockets reports its own connects and disconnects in order.
    The end of one socket's connection may therefore arrive after the beginning of the other's.
    """

    bulk: bool
    number: int


@dataclass
class Connection:
    """One open connection."""

    descriptor: Descriptor
    mark: int
    """Distinguishes it from a later connection with the same descriptor."""
    address: str
    last_heard: float
    """Time of its start, or of the last client message on it."""
    is_authenticated: bool = False


class Connections:
    """Allows at most `most` unauthenticated connections. Times are seconds of a monotonic clock."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: dict[Descriptor, Connection] = {}
        self._unauthenticated: dict[str, dict[Descriptor, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def get(self, descriptor: Descriptor) -> Connection | None:
        """The connection with this descriptor."""
        return self._all.get(descriptor)

    def opened(self, connection: Connection) -> list[Connection]:
        """Notes an accepted connection. Returns the connections to close for it."""
        self.closed(connection.descriptor)
        self._all[connection.descriptor] = connection
        same = self._unauthenticated.setdefault(connection.address, {})
        same[connection.descriptor] = None
        crowded = same if len(same) > UNAUTHENTICATED else None
        if crowded is None and sum(map(len, self._unauthenticated.values())) > self._most:
            crowded = max(self._unauthenticated.values(), key=len)
        return [self._remove(next(iter(crowded)))] if crowded else []

    def authenticated(self, descriptor: Descriptor, now: float) -> None:
        """Notes a message of an authenticated client."""
        if connection := self._all.get(descriptor):
            connection.last_heard = now
            if not connection.is_authenticated:
                connection.is_authenticated = True
                self._drop_unauthenticated(connection)

    def restart_deadlines(self, now: float) -> None:
        """Restarts all deadlines after a time without polling, when silence proves nothing."""
        for connection in self._all.values():
            connection.last_heard = now

    def closed(self, descriptor: Descriptor) -> None:
        """Notes a closed connection. Calling it again is harmless."""
        if descriptor in self._all:
            self._remove(descriptor)

    def overdue(self, now: float) -> list[Connection]:
        """Returns connections that have been silent for too long."""
        late = [
            connection.descriptor
            for connection in self._all.values()
            if now - connection.last_heard > (SILENT_S if connection.is_authenticated else HELLO_S)
        ]
        return [self._remove(descriptor) for descriptor in late]

    def _remove(self, descriptor: Descriptor) -> Connection:
        connection = self._all.pop(descriptor)
        self._drop_unauthenticated(connection)
        return connection

    def _drop_unauthenticated(self, connection: Connection) -> None:
        same = self._unauthenticated.get(connection.address, {})
        same.pop(connection.descriptor, None)
        if not same:
            self._unauthenticated.pop(connection.address, None)
