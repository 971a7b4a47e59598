"""Tracks open connections and picks idle or unauthenticated ones to close. Pure.

libzmq closes a connection that does not finish its handshake, but keeps a silent one after it forever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

HELLO_S = 30.0
"""Seconds after which a connection without a hello is closed."""
SILENT_S = 90.0
"""Seconds of silence after which a client's connection is closed; it should ping every two. Its session ended
before.
"""
UNAUTHENTICATED = 64
"""Maximum unauthenticated connections of one address; the oldest make room for new ones."""


class Descriptor(NamedTuple):
    """The place of a connection, which another may take later.

    A descriptor alone is not enough. Each of the two sockets reports its own connects and disconnects in order.
    The end of one socket's connection may therefore arrive after the beginning of the other's.
    """

    bulk: bool
    descriptor: int


@dataclass
class Connection:
    """One open connection."""

    place: Descriptor
    mark: int
    """Distinguishes it from a later connection at the same place."""
    address: str
    last_heard: float
    """Time of its start, or of the last client message on it."""
    known: bool = False


class Connections:
    """At most `most` unauthenticated connections in all. Times are seconds of a monotonic clock."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: dict[Descriptor, Connection] = {}
        self._unauthenticated: dict[str, dict[Descriptor, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def get(self, place: Descriptor) -> Connection | None:
        """The connection at this place."""
        return self._all.get(place)

    def opened(self, connection: Connection) -> list[Connection]:
        """Notes an accepted connection. Returns the connections to close for it."""
        self.closed(connection.place)
        self._all[connection.place] = connection
        same = self._unauthenticated.setdefault(connection.address, {})
        same[connection.place] = None
        crowd = same if len(same) > UNAUTHENTICATED else None
        if crowd is None and sum(map(len, self._unauthenticated.values())) > self._most:
            crowd = max(self._unauthenticated.values(), key=len)
        return [self._leave(next(iter(crowd)))] if crowd else []

    def authenticated(self, place: Descriptor, now: float) -> None:
        """Notes a message of an authenticated client."""
        if connection := self._all.get(place):
            connection.last_heard = now
            if not connection.known:
                connection.known = True
                self._no_stranger(connection)

    def restart_deadlines(self, now: float) -> None:
        """Restarts all deadlines after a time without polling, when silence proves nothing."""
        for connection in self._all.values():
            connection.last_heard = now

    def closed(self, place: Descriptor) -> None:
        """Notes a closed connection. Calling it again is harmless."""
        if place in self._all:
            self._leave(place)

    def overdue(self, now: float) -> list[Connection]:
        """Returns connections that have been silent for too long."""
        late = [
            connection.place
            for connection in self._all.values()
            if now - connection.last_heard > (SILENT_S if connection.known else HELLO_S)
        ]
        return [self._leave(place) for place in late]

    def _leave(self, place: Descriptor) -> Connection:
        connection = self._all.pop(place)
        self._no_stranger(connection)
        return connection

    def _no_stranger(self, connection: Connection) -> None:
        same = self._unauthenticated.get(connection.address, {})
        same.pop(connection.place, None)
        if not same:
            self._unauthenticated.pop(connection.address, None)
