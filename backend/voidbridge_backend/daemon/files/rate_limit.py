"""How fast a user may send files: credit for what came in is given back no sooner than the rate allows. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

BURST_S = 1.0
"""What was left of the last second may be used at once: a client that pauses loses nothing."""


@dataclass
class RateLimit:
    """`rate` bytes a second for each user; 0: as fast as they come. Times are seconds of one clock."""

    rate: int
    _free_at: dict[str, float] = field(default_factory=dict)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _number: int = 0

    def after(self, user: str, length: int, now: float, do: Callable[[], None]) -> None:
        """Does it now, or has `due` hand it out when so many bytes more of this user are within the rate."""
        if not self.rate:
            do()
            return
        begin = max(self._free_at.get(user, 0.0), now - BURST_S)
        when = self._free_at[user] = begin + length / self.rate
        if when <= now:
            do()
            return
        self._number += 1  # two of one moment keep their order
        heapq.heappush(self._due, (when, self._number, do))

    def due(self, now: float) -> list[Callable[[], None]]:
        """What is to be done by now, in the order of its times."""
        found = []
        while self._due and self._due[0][0] <= now:
            found.append(heapq.heappop(self._due)[2])
        return found

    def next_in(self, now: float, most: float) -> float:
        """Seconds until something is due, at most so many."""
        return min(max(self._due[0][0] - now, 0.0), most) if self._due else most
