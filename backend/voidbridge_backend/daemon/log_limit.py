"""Limits the log lines that one peer or one user causes: some per minute, the rest is counted. Pure."""

from __future__ import annotations

from collections import Counter

MINUTE_S = 60.0
LINES = 30
"""Lines per minute of one peer."""
PEERS = 32
"""Maximum peers with separate limits; all further ones share one."""
OTHERS = "others"


class LogLimit:
    """Allows `lines` per minute of one peer. Times are seconds of a monotonic clock."""

    def __init__(self, lines: int = LINES) -> None:
        self._lines = lines
        self._since = 0.0
        self._asked: Counter[str] = Counter()

    def allows(self, peer: str) -> bool:
        """Returns True if a line about this peer may be written."""
        if peer not in self._asked and len(self._asked) >= PEERS:
            peer = OTHERS
        self._asked[peer] += 1
        return self._asked[peer] <= self._lines

    def suppressed(self, now: float) -> list[tuple[str, int]]:
        """Returns, once a minute, the number of suppressed lines of each peer that had more. Call it often."""
        if now - self._since < MINUTE_S:
            return []
        asked, self._asked, self._since = self._asked, Counter(), now
        return [(who, count - self._lines) for who, count in asked.items() if count > self._lines]
