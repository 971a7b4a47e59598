"""Limits a user's upload rate: credit for received bytes is returned no sooner than the rate allows. No I/O."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

BURST_S = 1.0
"""The unused rate of the last second is available at once, so a client that pauses loses nothing."""


@dataclass
class RateLimit:
    """`rate` bytes per second for each user; 0 means no limit. Times are seconds of one clock."""

    rate: int
    _free_at: dict[str, float] = field(default_factory=dict)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _number: int = 0

    def after(self, user: str, length: int, now: float, do: Callable[[], None]) -> None:
        """Runs `do` now, or lets `due` return it once this user's bytes are within the rate."""
        if not self.rate:
            do()
            return
        begin = max(self._free_at.get(user, 0.0), now - BURST_S)
        when = self._free_at[user] = begin + length / self.rate
        if when <= now:
            do()
            return
        self._number += 1  # two with the same time keep their order
        heapq.heappush(self._due, (when, self._number, do))

    def due(self, now: float) -> list[Callable[[], None]]:
        """Returns the functions that are due, in the order of their times."""
        found = []
        while self._due and self._due[0][0] <= now:
            found.append(heapq.heappop(self._due)[2])
        return found

    def next_in(self, now: float, most: float) -> float:
        """Returns the seconds until the next function is due, at most `most`."""
        return min(max(self._due[0][0] - now, 0.0), most) if self._due else most
