"""Tells which jobs and files are still needed, and forgets jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from voidbridge_backend.daemon.store.job_table import HASH_BYTES, Row
from voidbridge_protocol.lifecycle import JobState

from .records import JobRecords

log = logging.getLogger(__name__)

HISTORY = 200
"""Failed and cancelled jobs of one user that are remembered."""
TRIMMED = 4
"""Jobs that are forgotten at a time; each may have megabytes in the table."""
PROMISE_S = 300.0
"""Seconds for which room is kept for the files of a job whose client has left."""


@dataclass
class Expiry:
    """Ends the claims of jobs on the spool and on the table."""

    records: JobRecords
    _seen: dict[str, float] = field(default_factory=dict)
    """When a client of each job that waits for files was last connected."""

    def claims(self, there: Iterable[str]) -> dict[str, tuple[float, bool]]:
        """Returns the last use of each claimed file that is `there`, and if a job still needs it.

        `there` and the result's keys are paths below `objects`. Jobs of users without files
        are passed over: one user's list of a million files would keep everybody waiting.
        """
        held: dict[str, set[bytes]] = {}
        for place in there:
            folder, _, name = place.partition("/")
            with suppress(ValueError):
                held.setdefault(folder, set()).add(bytes.fromhex(name))
        found: dict[str, tuple[float, bool]] = {}
        for row in self.records.rows:
            folder = self.records.spool.user_dir(row.user).name
            if not (mine := held.get(folder)):
                continue
            packed = self.records.store.claims_of(row.id)
            claimed = (packed[i : i + HASH_BYTES] for i in range(0, len(packed), HASH_BYTES))
            for sha256 in mine.intersection(claimed):
                place = f"{folder}/{sha256.hex()}"
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
                    self.records.rows[job], "its client is gone: its reserved space is freed"
                )
                missing.release(job)

    def trim_history(self) -> bool:
        """Forgets the oldest failed and cancelled jobs of users with many, a few at a time.

        Call it every few seconds, and again soon if it returns True: many at once would keep everybody waiting.
        """
        over: dict[str, list[Row]] = {}
        for row in self.records.rows:
            is_over = row.state in (JobState.FAILED, JobState.CANCELLED)
            if is_over and row.id not in self.records.resubmitted:
                over.setdefault(row.user, []).append(row)
        old: list[str] = []
        for rows in over.values():
            rows.sort(key=lambda row: row.number)
            old += [row.id for row in rows[: max(len(rows) - HISTORY, 0)]]
        self.forget(old[:TRIMMED])
        return self.records.store.shrink() or len(old) > TRIMMED
