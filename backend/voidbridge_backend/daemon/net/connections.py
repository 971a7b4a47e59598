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
STRANGERS = 64
"""Connections of one address on which nobody has introduced himself yet: the oldest make room for new ones."""


class Place(NamedTuple):
    """Where a connection is. Another may have the same place later.

    A descriptor alone is not enough: what the two sockets tell of who comes and who goes is in order for each of
    them only, so that the end of one's connection may be heard of behind the beginning of the other's.
    """

    bulk: bool
    descriptor: int


@dataclass
class Visitor:
    """A connection."""

    place: Place
    mark: int
    """What tells it from that other."""
    address: str
    heard: float
    """When it came, or when it last said something that a client says."""
    known: bool = False


class Lobby:
    """At most `most` connections of strangers in all. Times are seconds of a monotonic clock."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: dict[Place, Visitor] = {}
        self._strangers: dict[str, dict[Place, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def came(self, visitor: Visitor) -> list[Visitor]:
        """A connection is accepted. Which others have to go for it."""
        self.left(visitor.place)
        self._all[visitor.place] = visitor
        same = self._strangers.setdefault(visitor.address, {})
        same[visitor.place] = None
        crowd = same if len(same) > STRANGERS else None
        if crowd is None and sum(map(len, self._strangers.values())) > self._most:
            crowd = max(self._strangers.values(), key=len)
        return [self._leave(next(iter(crowd)))] if crowd else []

    def spoke(self, place: Place, now: float) -> None:
        """A client that was let in said something."""
        if visitor := self._all.get(place):
            visitor.heard = now
            if not visitor.known:
                visitor.known = True
                self._no_stranger(visitor)

    def excuse(self, now: float) -> None:
        """Nobody listened for a while: that nothing was heard says nothing."""
        for visitor in self._all.values():
            visitor.heard = now

    def left(self, place: Place) -> None:
        """A connection is gone. Once more is harmless."""
        if place in self._all:
            self._leave(place)

    def overdue(self, now: float) -> list[Visitor]:
        """Connections that have been silent for too long."""
        late = [
            visitor.place
            for visitor in self._all.values()
            if now - visitor.heard > (SILENT_S if visitor.known else HELLO_S)
        ]
        return [self._leave(place) for place in late]

    def _leave(self, place: Place) -> Visitor:
        visitor = self._all.pop(place)
        self._no_stranger(visitor)
        return visitor

    def _no_stranger(self, visitor: Visitor) -> None:
        same = self._strangers.get(visitor.address, {})
        same.pop(visitor.place, None)
        if not same:
            self._strangers.pop(visitor.address, None)
