"""Tells which jobs and files are still needed, and forgets jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from voidbridge_backend.daemon.store.job_table import Row
from voidbridge_protocol.lifecycle import JobState

from .records import JobRecords

log = logging.getLogger(__name__)

HISTORY = 200
"""Failed and cancelled jobs of one user that are remembered."""
PROMISE_S = 300.0
"""Seconds for which room is kept for the files of a job whose client has left."""


@dataclass
class Expiry:
    """Ends the claims of jobs on the spool and on the table."""

    records: JobRecords
    _seen: dict[str, float] = field(default_factory=dict)
    """When a client of each job that waits for files was last connected."""

    def claims(self) -> dict[str, tuple[float, bool]]:
        """Returns the last use of each file and if a job still needs it, by the file's path below `objects`."""
        found: dict[str, tuple[float, bool]] = {}
        for job, files in groupby(self.records.store.claims(), key=itemgetter(0)):
            row = self.records.rows.get(job)
            if row is None:
                continue  # forgotten, but the full disk could not store that yet
            folder = self.records.spool.user_dir(row.user).name
            for _, sha256 in files:
                place = f"{folder}/{sha256}"
                used, is_needed = found.get(place, (0.0, False))
                found[place] = max(used, row.used), is_needed or not row.state.is_final
        return found

    def wanted_parts(self) -> set[str]:
        """Returns the names of incomplete files for which some job waits."""
        return self.records.missing.parts()

    def rows(self) -> list[Row]:
        return list(self.records.rows)

    def forget(self, jobs: Sequence[str]) -> None:
        """Removes ended jobs without a trace."""
        for job in jobs:
            self.records.log(self.records.rows[job], "forgotten")
            self.records.store.forget(job)
            self.records.drop(job)
        self.records.commit()  # if possible, a done job keeps its results after a crash
        for job in jobs:
            self.records.spool.drop_job(job)

    def release_promises(self, now: float, is_watched: Callable[[str], bool]) -> None:
        """Frees the room of jobs whose clients left `PROMISE_S` ago. Call it every few seconds.

        `is_watched` tells whether a connected client watches a job. `now` is in seconds of a monotonic clock.
        """
        missing, seen = self.records.missing, self._seen
        self._seen = {job: now if is_watched(job) else seen.get(job, now) for job in missing.jobs()}
        for job, last in self._seen.items():
            if now - last > PROMISE_S and missing.is_promised(job):
                self.records.log(
                    self.records.rows[job], "its client is gone: its room is given free"
                )
                missing.release(job)

    def trim_history(self) -> None:
        """Forgets the oldest failed and cancelled jobs of users with many. Call it every few seconds."""
        over: dict[str, list[Row]] = {}
        for row in self.records.rows:
            is_over = row.state in (JobState.FAILED, JobState.CANCELLED)
            if is_over and row.id not in self.records.resubmitted:
                over.setdefault(row.user, []).append(row)
        for rows in over.values():
            rows.sort(key=lambda row: row.number)
            if old := [row.id for row in rows[: max(len(rows) - HISTORY, 0)]]:
                self.forget(old)
        self.records.store.shrink()
