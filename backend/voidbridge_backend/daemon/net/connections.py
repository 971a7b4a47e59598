"""Connections that are open, and which of them have to go: nobody holds one for nothing. Pure.

libzmq ends a connection that does not finish its handshake. One that does and then says nothing it keeps for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

HELLO_S = 30.0
"""A connection on which nobody has introduced himself for so long goes."""
SILENT_S = 90.0
"""One of a client that says nothing more, where it should ping every two seconds. Its session has ended before."""
UNAUTHENTICATED = 64
"""Connections of one address on which nobody has introduced himself yet: the oldest make room for new ones."""


class Descriptor(NamedTuple):
    """Where a connection is. Another may have the same place later.

    A descriptor alone is not enough: what the two sockets tell of who comes and who goes is in order for each of
    them only, so that the end of one's connection may be heard of behind the beginning of the other's.
    """

    bulk: bool
    descriptor: int


@dataclass
class Connection:
    """A connection."""

    place: Descriptor
    mark: int
    """What tells it from that other."""
    address: str
    heard: float
    """When it came, or when it last said something that a client says."""
    known: bool = False


class Connections:
    """At most `most` connections of strangers in all. Times are seconds of a monotonic clock."""

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
        """A connection is accepted. Which others have to go for it."""
        self.closed(connection.place)
        self._all[connection.place] = connection
        same = self._unauthenticated.setdefault(connection.address, {})
        same[connection.place] = None
        crowd = same if len(same) > UNAUTHENTICATED else None
        if crowd is None and sum(map(len, self._unauthenticated.values())) > self._most:
            crowd = max(self._unauthenticated.values(), key=len)
        return [self._leave(next(iter(crowd)))] if crowd else []

    def authenticated(self, place: Descriptor, now: float) -> None:
        """A client that was let in said something."""
        if connection := self._all.get(place):
            connection.heard = now
            if not connection.known:
                connection.known = True
                self._no_stranger(connection)

    def restart_deadlines(self, now: float) -> None:
        """Nobody listened for a while: that nothing was heard says nothing."""
        for connection in self._all.values():
            connection.heard = now

    def closed(self, place: Descriptor) -> None:
        """A connection is gone. Once more is harmless."""
        if place in self._all:
            self._leave(place)

    def overdue(self, now: float) -> list[Connection]:
        """Connections that have been silent for too long."""
        late = [
            connection.place
            for connection in self._all.values()
            if now - connection.heard > (SILENT_S if connection.known else HELLO_S)
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
