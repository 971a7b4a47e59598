"""Counts the bytes that were handed to libzmq and have not left this process, for each connection and each user.

A high-water mark counts messages, not bytes: 256 pieces of 2 MiB are half a gigabyte for one client that reads
nothing. Pure, except for the trackers.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from typing import NamedTuple, Protocol

USER_BYTES = 128 << 20
"""Maximum unsent bytes of all connections of one user."""
STALLED_S = 60.0
"""A connection that takes nothing for so long is closed. Its unsent messages hold memory that others could use."""


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

    def add(
        self, peer_id: Hashable, user: str, size: int, tracker: UnsentTracker, now: float
    ) -> None:
        """Notes that `size` bytes are on their way to `peer_id`, a connection of `user`."""
        queue = self._queues.setdefault(peer_id, _Queue(user, now))
        queue.messages.append(_Message(size, tracker))
        queue.size += size
        self._users[queue.user] += size

    def of_peer(self, peer_id: Hashable, now: float) -> int:
        """Returns the bytes that wait for this connection."""
        queue = self._queues.get(peer_id)
        if queue is None:
            return 0
        self._drop_sent(peer_id, queue, now)
        return queue.size

    def of_user(self, user: str) -> int:
        """Returns the bytes that wait for all connections of this user, as of their last check."""
        return self._users[user]

    def stalled(self, now: float) -> list[Hashable]:
        """Returns the connections that have taken nothing for `STALLED_S`."""
        for peer_id, queue in list(self._queues.items()):
            self._drop_sent(peer_id, queue, now)
        return [peer_id for peer_id, queue in self._queues.items() if now - queue.moved > STALLED_S]

    def _drop_sent(self, peer_id: Hashable, queue: _Queue, now: float) -> None:
        while queue.messages and queue.messages[0].tracker.done:
            size = queue.messages.popleft().size
            queue.size -= size
            queue.moved = now
            self._users[queue.user] -= size
        if not queue.messages:
            del self._queues[peer_id]
            if not self._users[queue.user]:
                del self._users[queue.user]
