"""How many lines of the log others can cause: a few a minute for each peer, the rest is counted. Pure."""

from __future__ import annotations

from collections import Counter

MINUTE_S = 60.0
LINES = 30
"""Of one peer."""
PEERS = 32
"""That have lines of their own; all further ones share those of one."""
OTHERS = "others"


class LogLimit:
    """Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._since = 0.0
        self._asked: Counter[str] = Counter()

    def allows(self, who: str) -> bool:
        """Whether a line about this peer may be written."""
        if who not in self._asked and len(self._asked) >= PEERS:
            who = OTHERS
        self._asked[who] += 1
        return self._asked[who] <= LINES

    def suppressed(self, now: float) -> list[tuple[str, int]]:
        """Once a minute: for each peer that had more to say, how many lines were not written. Call it often."""
        if now - self._since < MINUTE_S:
            return []
        asked, self._asked, self._since = self._asked, Counter(), now
        return [(who, count - LINES) for who, count in asked.items() if count > LINES]
