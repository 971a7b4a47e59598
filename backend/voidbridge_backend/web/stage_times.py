"""How long the stages of a job took, as far as they were seen from here."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class StageClock:
    """Adds up the seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    """By stage, in the order in which they were seen."""
    _stage: str = ""
    _since: float = 0.0

    def see(self, stage: str, now: float) -> None:
        """Notes the present stage at `now`, in seconds of any steady clock; an ended job has none."""
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now
