"""Decides when a client gives up on a daemon that it keeps losing: when no progress is made. No I/O."""

from __future__ import annotations

from collections.abc import Hashable

from .errors import NoProgress, VoidbridgeError

MOST = 8
"""Consecutive connections without progress after which the client gives up."""
STEADY_S = 60.0
"""A connection that lasted this many seconds counts as good, even if the job only waited."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class RetryPolicy:
    """Counts lost connections of one run. Times are seconds of a monotonic clock."""

    def __init__(self, address: str, now: float) -> None:
        self._address = address
        self._connected = self._since = now
        self._reached: Hashable = None
        self._fruitless = 0

    def connected(self, now: float) -> None:
        self._connected = now

    def lost(self, reason: VoidbridgeError, reached: Hashable, now: float) -> float:
        """Returns the seconds to wait before the next attempt. `reached` is any value that changes with progress.

        Raises `NoProgress`.
        """
        if reached != self._reached or now - self._connected > STEADY_S:
            self._reached, self._fruitless, self._since = reached, 0, now
            return 0.0
        self._fruitless += 1
        if self._fruitless >= MOST:
            raise NoProgress(
                f"the daemon at {self._address} dropped the connection {self._fruitless + 1} times in "
                f"{now - self._since:.0f} s without making progress; the last error: {reason.text}"
            ) from reason
        return min(FIRST_PAUSE_S * 2.0 ** (self._fruitless - 1), LONGEST_PAUSE_S)
