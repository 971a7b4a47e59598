"""The job table: what was accepted, how it stands, which results it has. SQLite, one file, WAL.

A row that `add` or `save` has returned from survives kill -9 and a power cut. Used by the daemon's own
thread only.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path

from voidbridge_protocol.errors import RequestError, SpoolFull
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.messages import ResultFile

SCHEMA = 1

TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    user TEXT NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL,
    request BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    engine TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    warnings TEXT NOT NULL,
    code TEXT NOT NULL,
    text TEXT NOT NULL,
    hint TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS results (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    frame INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (job, frame)
) STRICT;
"""


@dataclass(frozen=True)
class Row:
    """One job as it is written down. The request itself is fetched by `Store.request`: it can be large."""

    id: str
    number: int
    """Rises with every submission; the order of the queue."""
    user: str
    priority: int
    state: JobState
    first: int
    last: int
    engine: str
    attempts: int = 0
    warnings: tuple[str, ...] = ()
    code: str = ""
    text: str = ""
    hint: str = ""
    results: dict[int, ResultFile] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Results that there will be."""
        return self.last - self.first + 1

    def fresh(self, number: int) -> Row:
        """The same job, to be run once more."""
        return replace(
            self,
            number=number,
            state=JobState.RECEIVING,
            attempts=0,
            warnings=(),
            code="",
            text="",
            hint="",
            results={},
        )


class Store:
    """The table in the file `path`, made where it is missing. Raises `RequestError` when it is in use."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        try:
            self._prepare()
        except sqlite3.OperationalError as error:
            self._db.close()
            raise RequestError(
                f"the job table {path} cannot be opened: {error}",
                "Another daemon uses this spool; stop it, or choose another with --spool.",
            ) from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise RequestError(
                f"the job table {path} cannot be read: {error}",
                "Move that file away, or choose another spool with --spool; its jobs are lost.",
            ) from error
        if (version := self._version()) > SCHEMA:
            self._db.close()
            raise RequestError(
                f"the job table {path} has version {version}; this release knows {SCHEMA}",
                "A later release used this spool; run that one, or choose another with --spool.",
            )
        self._db.executescript(TABLES)
        self._db.execute(f"PRAGMA user_version = {SCHEMA}")

    def _prepare(self) -> None:
        # Two daemons on one spool would tear each other's files apart; the second is refused.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("BEGIN IMMEDIATE")  # takes the lock, which is then never given back
        self._db.execute("COMMIT")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        self._db.close()

    def rows(self) -> list[Row]:
        """Every job with its results, in the order of submission."""
        results: dict[str, dict[int, ResultFile]] = {}
        for job, frame, sha256, size in self._db.execute(
            "SELECT job, frame, sha256, size FROM results"
        ):
            results.setdefault(job, {})[frame] = ResultFile(frame, sha256, size)
        columns = (
            "id, number, user, priority, state, first, last, engine, "
            "attempts, warnings, code, text, hint"
        )
        found = []
        for row in self._db.execute(f"SELECT {columns} FROM jobs ORDER BY number"):
            id_, number, user, priority, state, first, last, engine, attempts, warnings = row[:10]
            code, text, hint = row[10:]
            found.append(
                Row(
                    id_,
                    number,
                    user,
                    priority,
                    JobState(state),
                    first,
                    last,
                    engine,
                    attempts,
                    tuple(json.loads(warnings)),
                    code,
                    text,
                    hint,
                    results.get(id_, {}),
                )
            )
        return found

    def add(self, row: Row, request: bytes) -> None:
        """A new job, or one that is submitted again: its results are forgotten.

        Raises `SpoolFull`; the table is as it was then.
        """
        try:
            self._add(row, request)
        except sqlite3.OperationalError as error:
            raise SpoolFull(f"the job table cannot be written: {error}") from error

    def _add(self, row: Row, request: bytes) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.execute("DELETE FROM results WHERE job = ?", (row.id,))
            self._db.execute(
                "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.id,
                    row.number,
                    row.user,
                    row.priority,
                    row.state.value,
                    request,
                    row.first,
                    row.last,
                    row.engine,
                    row.attempts,
                    json.dumps(row.warnings),
                    row.code,
                    row.text,
                    row.hint,
                ),
            )

    def save(self, row: Row) -> None:
        """How a job stands now; results have a method of their own.

        A disk that is full here ends the daemon, with `sqlite3.OperationalError`: it must not go on telling
        of states that are written nowhere. At its next start it takes up what the table says.
        """
        self._db.execute(
            "UPDATE jobs SET state = ?, attempts = ?, warnings = ?, code = ?, text = ?, hint = ?, "
            "priority = ?, number = ? WHERE id = ?",
            (
                row.state.value,
                row.attempts,
                json.dumps(row.warnings),
                row.code,
                row.text,
                row.hint,
                row.priority,
                row.number,
                row.id,
            ),
        )

    def add_result(self, job: str, result: ResultFile) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)",
            (job, result.frame, result.sha256, result.size),
        )

    def request(self, job: str) -> bytes:
        """The canonical request. Raises `KeyError`."""
        row = self._db.execute("SELECT request FROM jobs WHERE id = ?", (job,)).fetchone()
        if row is None:
            raise KeyError(job)
        return bytes(row[0])
