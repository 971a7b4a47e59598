"""Keeps room in the spool: looks at the disk, deletes what `retention` lets go, closes the door when nothing helps.

Deciding happens on the daemon's own thread, so that nothing is given up that was asked for a moment ago; walking
through folders and deleting happen on a thread of `disk`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_protocol.errors import SpoolFull

from . import retention
from .io_threads import IoThreads
from .retention import Item, Policy, Survey
from .spool import Spool

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""The free space is looked at so often."""
SWEEP_S, SWEEP_TIGHT_S = 600.0, 15.0
"""The whole spool is gone through so often, and when room is short."""


@dataclass
class Cleanup:
    """`watched` says whether a client that is here now waits for a job."""

    job_service: JobService
    spool: Spool
    disk: IoThreads
    policy: Policy
    watched: Callable[[str], bool]
    used: int = 0
    """Bytes in the spool at the last sweep."""
    swept: int = 0
    """Bytes that were deleted since the start."""
    full: SpoolFull | None = None
    """Why nothing is taken in and nothing started, for as long as that is so."""
    _looked: float = 0.0
    _swept_at: float = -SWEEP_S
    _want: int = 0
    _sweeping: bool = False
    _then: list[Callable[[], None]] = field(default_factory=list)

    def tick(self, now: float) -> None:
        """Call it often."""
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        self._watch_free_space()
        tight = self.spool.free_bytes() < self.policy.keep_free
        if now - self._swept_at > (SWEEP_TIGHT_S if tight else SWEEP_S):
            self._sweep(now)

    def make_room(self, want: int, then: Callable[[], None]) -> None:
        """Deletes what may go until `want` bytes fit, or nothing is left to delete; calls `then` after that."""
        self._want = max(self._want, want)
        self._then.append(then)
        self._sweep(time.monotonic())

    def _watch_free_space(self) -> None:
        """It closes when half of the reserve is gone, and opens when all of it is there again."""
        free = self.spool.free_bytes()
        least = self.policy.keep_free if self.full else self.policy.keep_free // 2
        if free < least or not self.job_service.commit():
            self.full = SpoolFull(
                "the disk of the daemon's spool is full; it goes on when "
                f"{self.policy.keep_free / 2**20:.0f} MB are free"
            )
        else:
            self.full = None
        self.job_service.set_blocked("disk", self.full)

    def _sweep(self, now: float) -> None:
        if not self._sweeping:
            self._sweeping, self._swept_at = True, now
            self.disk.survey(self._surveyed)

    def _surveyed(self, survey: Survey) -> None:
        want, self._want = self._want, 0
        then, self._then = self._then, []
        items = [*self._files(survey), *self._jobs(survey)]
        goes = retention.evictable(items, time.time(), survey.size, survey.free, want, self.policy)
        self._let_go([item.name for item in goes])
        freed = sum(item.size for item in goes)
        self.used, self.swept = survey.size - freed, self.swept + freed
        if goes:
            log.info("%d things of %.1f MB go from the spool", len(goes), freed / 2**20)
        self.disk.empty_trash(lambda: self._swept(then))

    def _swept(self, then: list[Callable[[], None]]) -> None:
        self._sweeping = False
        self._watch_free_space()
        for call in then:
            call()
        if self._then:  # asked for while this sweep was under way
            self._sweep(time.monotonic())

    # -- what may go --------------------------------------------------------------------------------

    def _files(self, survey: Survey) -> list[Item]:
        claims = self.job_service.claims()
        items = []
        for name, (size, came) in survey.objects.items():
            used, needed = claims.get(name, (0.0, False))
            if not needed:
                items.append(Item(f"objects/{name}", size, max(came, used)))
        wanted = self.job_service.wanted_parts()
        parts = survey.parts.items()
        return items + [
            Item(f"parts/{name}", size, came) for name, (size, came) in parts if name not in wanted
        ]

    def _jobs(self, survey: Survey) -> list[Item]:
        now = time.time()
        return [
            Item(f"jobs/{row.id}", survey.jobs.get(row.id, 0), row.used)
            for row in self.job_service.rows()
            if retention.is_over(row.state, row.fetched, now - row.used, self.policy)
            and not self.watched(row.id)
        ]

    def _let_go(self, names: list[str]) -> None:
        split = [name.split("/", 1) for name in names]
        self.job_service.forget([rest for kind, rest in split if kind == "jobs"])
        for kind, rest in split:
            if kind == "parts":
                self.disk.drop_part(rest)
            elif kind == "objects":
                self.spool.discard(f"{kind}/{rest}")
