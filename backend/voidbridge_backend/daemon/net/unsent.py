"""Bytes of messages that were handed to libzmq and have not left this process, for each connection and each user.

A high-water mark counts messages, not bytes: 256 pieces of 2 MiB are half a gigabyte for one client that reads
nothing. Pure, but for the trackers that it is given.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from typing import NamedTuple, Protocol

USER_BYTES = 128 << 20
"""Bytes that all connections of one user may have in this process."""
STALLED_S = 60.0
"""A connection that takes nothing for so long is closed: what waits for it holds room that others could use."""


class UnsentTracker(Protocol):
    """Knows whether libzmq has let go of a message, as `zmq.MessageTracker` does."""

    @property
    def done(self) -> bool: ...


class _Message(NamedTuple):
    size: int
    tracker: UnsentTracker


class _Queue:
    """Messages of one connection, oldest first."""

    def __init__(self, user: str, now: float) -> None:
        self.user = user
        self.messages: deque[_Message] = deque()
        self.size = 0
        self.moved = now


class UnsentBytes:
    """Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, _Queue] = {}
        self._users: Counter[str] = Counter()

    def add(self, line: Hashable, user: str, size: int, tracker: UnsentTracker, now: float) -> None:
        """`size` bytes are on their way to `line`, a connection of `user`."""
        queue = self._queues.setdefault(line, _Queue(user, now))
        queue.messages.append(_Message(size, tracker))
        queue.size += size
        self._users[queue.user] += size

    def of_line(self, line: Hashable, now: float) -> int:
        """Bytes that wait for this connection."""
        queue = self._queues.get(line)
        if queue is None:
            return 0
        self._settle(line, queue, now)
        return queue.size

    def of_user(self, user: str) -> int:
        """Bytes that wait for all connections of this user, as they were last looked at."""
        return self._users[user]

    def stalled(self, now: float) -> list[Hashable]:
        """Connections that have taken nothing for `STALLED_S`."""
        for line, queue in list(self._queues.items()):
            self._settle(line, queue, now)
        return [line for line, queue in self._queues.items() if now - queue.moved > STALLED_S]

    def _settle(self, line: Hashable, queue: _Queue, now: float) -> None:
        while queue.messages and queue.messages[0].tracker.done:
            size = queue.messages.popleft().size
            queue.size -= size
            queue.moved = now
            self._users[queue.user] -= size
        if not queue.messages:
            del self._queues[line]
            if not self._users[queue.user]:
                del self._users[queue.user]
