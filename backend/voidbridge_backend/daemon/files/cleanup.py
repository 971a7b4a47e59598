"""Keeps space in the spool: checks the disk, deletes what `retention` allows, refuses new work if that is not
enough.

Decisions are made on the daemon's own thread, so that files requested a moment ago stay. Scanning and deleting
run on a thread of `io_threads`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_backend.daemon.store import retention
from voidbridge_backend.daemon.store.io_threads import IoThreads
from voidbridge_backend.daemon.store.retention import Item, Policy, Survey
from voidbridge_backend.daemon.store.spool import Spool
from voidbridge_protocol.errors import SpoolFull

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Seconds between checks of the free space."""
SWEEP_S, SWEEP_TIGHT_S = 600.0, 15.0
"""Seconds between scans of the whole spool, and when space is low."""


@dataclass
class Cleanup:
    """`watched` returns True if a connected client waits for a job."""

    job_service: JobService
    spool: Spool
    disk: IoThreads
    policy: Policy
    watched: Callable[[str], bool]
    used: int = 0
    """Bytes in the spool at the last scan."""
    swept: int = 0
    """Bytes deleted since the start."""
    full: SpoolFull | None = None
    """The reason why no files are accepted and no jobs started; None if they are."""
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

    def make_room(self, want: int, callback: Callable[[], None]) -> None:
        """Deletes evictable files until `want` bytes fit or none are left; then calls `callback`."""
        self._want = max(self._want, want)
        self._then.append(callback)
        self._sweep(time.monotonic())

    def _watch_free_space(self) -> None:
        """Refuses new work below half of the reserve, and accepts it again at the full reserve."""
        free = self.spool.free_bytes()
        least = self.policy.keep_free if self.full else self.policy.keep_free // 2
        if free < least or not self.job_service.commit():
            self.full = SpoolFull(
                "the disk of the daemon's spool is full; work continues when "
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
            log.info("deleting %d items of %.1f MB from the spool", len(goes), freed / 2**20)
        self.disk.empty_trash(lambda: self._swept(then))

    def _swept(self, callbacks: list[Callable[[], None]]) -> None:
        self._sweeping = False
        self._watch_free_space()
        for call in callbacks:
            call()
        if self._then:  # requested during this scan
            self._sweep(time.monotonic())

    # -- what may go --------------------------------------------------------------------------------

    def _files(self, survey: Survey) -> list[Item]:
        claims = self.job_service.expiry.claims(survey.objects)
        items = []
        for name, (size, came) in survey.objects.items():
            used, needed = claims.get(name, (0.0, False))
            if not needed:
                items.append(Item(f"objects/{name}", size, max(came, used)))
        wanted = self.job_service.expiry.wanted_parts()
        parts = survey.parts.items()
        return items + [
            Item(f"parts/{name}", size, came) for name, (size, came) in parts if name not in wanted
        ]

    def _jobs(self, survey: Survey) -> list[Item]:
        now = time.time()
        return [
            Item(f"jobs/{row.id}", survey.jobs.get(row.id, 0), row.used)
            for row in self.job_service.expiry.rows()
            if retention.is_over(row.state, row.fetched, now - row.used, self.policy)
            and not self.watched(row.id)
        ]

    def _let_go(self, names: list[str]) -> None:
        split = [name.split("/", 1) for name in names]
        self.job_service.expiry.forget([rest for kind, rest in split if kind == "jobs"])
        for kind, rest in split:
            if kind == "parts":
                self.disk.drop_part(rest)
            elif kind == "objects":
                self.spool.discard(f"{kind}/{rest}")
