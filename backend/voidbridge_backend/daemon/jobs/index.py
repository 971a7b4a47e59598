"""Every job's row by id, with counters: no request iterates over thousands of jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from voidbridge_backend.daemon.store.job_table import Row
from voidbridge_protocol.lifecycle import JobState


class JobIndex:
    """The job table, in memory."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._states: Counter[JobState] = Counter()
        self._unfinished: Counter[str] = Counter()

    def __getitem__(self, job: str) -> Row:
        return self._rows[job]

    def __contains__(self, job: str) -> bool:
        return job in self._rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, job: str) -> Row | None:
        return self._rows.get(job)

    def put(self, row: Row) -> None:
        """Inserts or replaces a row."""
        if row.id in self._rows:
            self._count(self._rows[row.id], -1)
        self._rows[row.id] = row
        self._count(row, 1)

    def drop(self, job: str) -> None:
        self._count(self._rows.pop(job), -1)

    def counts(self) -> dict[str, int]:
        """Returns the number of jobs by state, with every state as a key."""
        return {state.value: self._states[state] for state in JobState}

    def unfinished(self, user: str) -> int:
        """Returns the number of a user's jobs that have not ended."""
        return self._unfinished[user]

    def _count(self, row: Row, change: int) -> None:
        self._states[row.state] += change
        if not row.state.is_final:
            self._unfinished[row.user] += change
            if not self._unfinished[row.user]:
                del self._unfinished[row.user]
