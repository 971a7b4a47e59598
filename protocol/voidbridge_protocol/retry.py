"""When a client that keeps losing its daemon gives up: when nothing comes of it, however long it takes. Pure."""

from __future__ import annotations

from collections.abc import Hashable

from .errors import NoProgress, VoidbridgeError

MOST = 8
"""Connections in a row that brought nothing new."""
STEADY_S = 60.0
"""A connection that lasted so long was a good one, though the job may have waited all the time."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class RetryPolicy:
    """The connections of one conversation that were lost. Times are seconds of a monotonic clock."""

    def __init__(self, address: str, now: float) -> None:
        self._address = address
        self._connected = self._since = now
        self._reached: Hashable = None
        self._fruitless = 0

    def connected(self, now: float) -> None:
        self._connected = now

    def lost(self, why: VoidbridgeError, reached: Hashable, now: float) -> float:
        """Seconds to wait before the next try. `reached` is how far the job has come, whatever that is.

        Raises `NoProgress`.
        """
        if reached != self._reached or now - self._connected > STEADY_S:
            self._reached, self._fruitless, self._since = reached, 0, now
            return 0.0
        self._fruitless += 1
        if self._fruitless >= MOST:
            raise NoProgress(
                f"the daemon at {self._address} was lost {self._fruitless + 1} times within "
                f"{now - self._since:.0f} s and nothing came of it in between; the last time: {why.text}"
            ) from why
        return min(FIRST_PAUSE_S * 2.0 ** (self._fruitless - 1), LONGEST_PAUSE_S)
