"""The job table: accepted jobs, their state and their results. SQLite, one file, WAL.

Changes are collected and written by `commit`, all or none, with one fsync for all of them. They survive kill -9
and a power cut once it has returned True. Used by the daemon's own thread only.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from voidbridge_protocol.errors import BadMessage, RequestError
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import ResultFile

from . import schema

log = logging.getLogger(__name__)

HASH_BYTES = 32
"""Bytes of a SHA-256, as the files of a request are stored."""
COLUMNS = (
    "id, number, user, priority, state, first, last, operation, engine, "
    "attempts, warnings, code, text, hint, used, fetched, provenance"
)


@dataclass(frozen=True)
class Row:
    """One stored job. `JobTable.request` returns the request itself, which can be large."""

    id: str
    number: int
    """Rises with every submission; the order of the queue."""
    user: str
    priority: int
    state: JobState
    first: int
    last: int
    operation: str
    engine: str
    attempts: int = 0
    warnings: tuple[str, ...] = ()
    code: str = ""
    text: str = ""
    hint: str = ""
    used: float = 0.0
    """Time of the last request for it, in seconds since 1970."""
    fetched: bool = False
    """A client has confirmed that it saved every result."""
    provenance: str = ""
    """SHA-256 of the record of a done job, in hexadecimal digits."""
    results: dict[int, ResultFile] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Total number of results."""
        return self.last - self.first + 1

    def fresh(self, number: int) -> Row:
        """Returns the same job, reset for another run."""
        return replace(
            self,
            number=number,
            state=JobState.RECEIVING,
            attempts=0,
            warnings=(),
            code="",
            text="",
            hint="",
            fetched=False,
            provenance="",
            results={},
        )


class _Change(NamedTuple):
    """A change that is not written yet."""

    job: str
    statement: str
    values: Sequence[Any]


class DamagedTable(RequestError):
    """SQLite cannot read the table at all."""


class JobTable:
    """The table in the file `path`, which is created if missing.

    Raises `RequestError` if it is in use, of another version, or unreadable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # A statement that is kept for the next time keeps its values: a request of megabytes.
        self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None, cached_statements=0)
        self._db.text_factory = lambda text: text.decode(errors="replace")
        self._changes: list[_Change] = []
        self._unsettled: set[str] = set()
        """Jobs of the pending changes."""
        self._added: dict[str, tuple[bytes, Sequence[str]]] = {}
        """Request and files of jobs that are not in the table yet."""
        self.behind = False
        """True if changes wait for disk space. Clients must not be told of them before they are written."""
        try:
            self._prepare()
            found = schema.version(self._db)
            if found == 0:
                schema.create(self._db)
            elif found != schema.VERSION:
                raise RequestError(
                    f"the job table {path} has version {found}; this release knows {schema.VERSION}",
                    "Another release used this spool; run that one, or choose another spool with --spool.",
                )
        except RequestError:
            self._db.close()
            raise
        except sqlite3.Error as error:
            self._db.close()
            raise _unusable(path, error) from error

    def _prepare(self) -> None:
        # Two daemons on one spool would destroy each other's files, so the second is refused.
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a table that is made now
        self._db.execute("PRAGMA journal_size_limit = 67108864")
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("BEGIN IMMEDIATE")  # takes the lock and never releases it
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()

    def shrink(self, pages: int = 250) -> bool:
        """Gives so many unused pages of 4 KiB back to the disk. Returns True if more are unused."""
        if self.behind:
            return False
        self._db.executescript(f"PRAGMA incremental_vacuum({pages})")  # steps to its end
        return bool(self._db.execute("PRAGMA freelist_count").fetchone()[0])

    def check_pages(self) -> None:
        """Raises `sqlite3.DatabaseError` if SQLite finds a fault in any page."""
        (found,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)

    def rows(self) -> list[Row]:
        """Returns every job with its results, in the order of submission."""
        results: dict[str, dict[int, ResultFile]] = {}
        for job, frame, sha256, size in self._db.execute(
            "SELECT job, frame, sha256, size FROM results"
        ).fetchall():
            try:
                results.setdefault(job, {})[frame] = ResultFile(frame, sha256, size)
            except BadMessage as error:
                log.error("a damaged result is passed over: %s", error.text, extra={"job": job})
        found = []
        for values in self._db.execute(f"SELECT {COLUMNS} FROM jobs ORDER BY number").fetchall():
            try:
                found.append(_row(values, results))
            except (ValueError, TypeError) as error:
                log.error("a damaged job is put aside: %s", error, extra={"job": str(values[0])})
                self.put_aside(values)
        return found

    def without_request(self) -> set[str]:
        """Jobs that wait for files and whose requests are no JSON."""
        question = (
            "SELECT id FROM jobs LEFT JOIN requests ON job = id "
            "WHERE state = ? AND NOT ifnull(json_valid(CAST(request AS TEXT)), 0)"
        )
        return {job for (job,) in self._db.execute(question, (JobState.RECEIVING.value,))}

    def put_aside(self, values: Sequence[Any]) -> None:
        """Removes a job that cannot be understood; its line is kept in `jobs.damaged`."""
        with self._path.with_name("jobs.damaged").open(
            "a", encoding="utf-8", errors="replace"
        ) as kept:
            kept.write(f"{values!r}\n")
        self._db.execute("DELETE FROM jobs WHERE id = ?", (values[0],))

    def take(self, table: str, values: Sequence[object]) -> bool:
        """Adds a row of another table of jobs; whether it fits in."""
        marks = ", ".join("?" * len(values))
        try:
            self._db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", values)
        except sqlite3.Error:
            return False
        return True

    def add(self, row: Row, request: bytes, files: Sequence[str]) -> None:
        """Adds a new job, or one submitted again, without its old results.

        `files` are the SHA-256 of its files in hexadecimal digits.
        """
        values = (
            *(row.id, row.number, row.user, row.priority, row.state.value),
            *(row.first, row.last, row.operation, row.engine, row.attempts),
            *(json.dumps(row.warnings), row.code, row.text, row.hint),
            *(row.used, row.fetched, row.provenance),
        )
        marks = ", ".join("?" * len(values))
        self._note(row.id, "DELETE FROM results WHERE job = ?", (row.id,))
        self._note(
            row.id,
            f"INSERT INTO jobs VALUES ({marks}) ON CONFLICT DO UPDATE SET ({COLUMNS}) = ({marks})",
            (*values, *values),
        )
        self.put_request(row.id, request, files)
        self._added[row.id] = request, files

    def put_request(self, job: str, request: bytes, files: Sequence[str]) -> None:
        """Stores the request of a job whose row is there. Costs no writing if the same one is stored."""
        packed = bytes.fromhex("".join(files))
        self._note(
            job,
            "INSERT INTO requests VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET request = ?2, files = ?3 "
            "WHERE request IS NOT ?2 OR files IS NOT ?3",  # it may have megabytes
            (job, request, packed),
        )

    def save(self, row: Row) -> None:
        """Stores the state of a job; its results have a separate method."""
        self._note(
            row.id,
            "UPDATE jobs SET state = ?, attempts = ?, warnings = ?, code = ?, text = ?, hint = ?, "
            "priority = ?, number = ?, used = ?, provenance = ?, fetched = ? WHERE id = ?",
            (
                *(row.state.value, row.attempts, json.dumps(row.warnings)),
                *(row.code, row.text, row.hint, row.priority, row.number),
                *(row.used, row.provenance, row.fetched, row.id),
            ),
        )

    def add_result(self, job: str, result: ResultFile) -> None:
        self._note(
            job,
            "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)",
            (job, result.frame, result.sha256, result.size),
        )

    def forget_results(self, job: str) -> None:
        """The job's results, which are gone."""
        self._note(job, "DELETE FROM results WHERE job = ?", (job,))

    def forget(self, job: str) -> None:
        """Removes the job, its results and its claim on its files."""
        self._note(job, "DELETE FROM jobs WHERE id = ?", (job,))

    def discard(self, job: str) -> None:
        """Drops a job that was added since the last `commit`."""
        del self._added[job]
        self._changes = [change for change in self._changes if change.job != job]
        self._unsettled.discard(job)
        self.behind = self.behind and bool(self._changes)

    def is_committed(self, job: str) -> bool:
        """Returns True if everything about this job is on disk."""
        return job not in self._unsettled

    def commit(self) -> bool:
        """Writes all changes in order. Returns True if they are on disk; otherwise the disk is full: call again."""
        if not self._changes:
            return True
        try:
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                for _, statement, values in self._changes:
                    self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            if not _is_full(error):
                raise
            if not self.behind:
                log.error(
                    "the job table cannot be written: %s; clients are told after it can", error
                )
            self.behind = True
            return False
        if self.behind:
            log.info("the job table is written again")
        self.behind = False
        for waiting in (self._changes, self._unsettled, self._added):
            waiting.clear()
        return True

    def _note(self, job: str, statement: str, values: Sequence[Any]) -> None:
        self._changes.append(_Change(job, statement, values))
        self._unsettled.add(job)

    # -- questions ----------------------------------------------------------------------------------

    def claims(self) -> Iterator[tuple[str, str]]:
        """Yields (job, hash) for every file of every job, one job after the other."""
        for job, packed in self._db.execute("SELECT job, files FROM requests ORDER BY job"):
            for i in range(0, len(packed), HASH_BYTES):
                yield job, packed[i : i + HASH_BYTES].hex()
        for job, (_, files) in self._added.items():
            yield from ((job, name) for name in files)

    def claims_of(self, job: str) -> bytes:
        """Returns the SHA-256 of the job's files, 32 bytes each, one after the other; empty for an unknown job."""
        if job in self._added:
            return bytes.fromhex("".join(self._added[job][1]))
        row = self._db.execute("SELECT files FROM requests WHERE job = ?", (job,)).fetchone()
        return bytes(row[0]) if row else b""

    def files(self, state: JobState) -> Iterator[tuple[str, str, int]]:
        """Yields (job, hash, size) for every file of every job that is in this state on disk, one job after the
        other.

        SQLite extracts them from the requests. Decoding them as messages would validate every field again.
        """
        yield from self._db.execute(
            "SELECT jobs.id, json_extract(file.value, '$.sha256'), json_extract(file.value, '$.size') "
            "FROM jobs JOIN requests ON requests.job = jobs.id, "
            "json_each(CAST(requests.request AS TEXT), '$.files') AS file WHERE jobs.state = ?",
            (state.value,),
        )

    def request(self, job: str) -> bytes:
        """Returns the canonical request. Raises `KeyError`."""
        if job in self._added:
            return self._added[job][0]
        row = self._db.execute("SELECT request FROM requests WHERE job = ?", (job,)).fetchone()
        if row is None:
            raise KeyError(job)
        return bytes(row[0])


def _row(values: Sequence[Any], results: dict[str, dict[int, ResultFile]]) -> Row:
    id_, number, user, priority, state, first, last, *rest = values
    operation, engine, attempts, warnings, *rest = rest
    code, text, hint, used, fetched, provenance = rest
    return Row(
        *(id_, number, user, priority, JobState(state), first, last, operation, engine, attempts),
        *(tuple(json.loads(warnings)), code, text, hint, used, bool(fetched), provenance),
        results.get(id_, {}),
    )


def _is_full(error: sqlite3.OperationalError) -> bool:
    """Returns True if the disk is full or cannot be written; any other such error is a bug."""
    return any(words in str(error) for words in ("is full", "disk I/O error", "readonly"))


def _unusable(path: Path, error: sqlite3.Error) -> RequestError:
    if isinstance(error, sqlite3.OperationalError) and _is_full(error):
        return RequestError(
            f"the job table {path} cannot be written: {error}",
            "Free space on that disk and restart the daemon; nothing is lost.",
        )
    if isinstance(error, sqlite3.OperationalError):
        return RequestError(
            f"the job table {path} cannot be opened: {error}",
            "Another daemon uses this spool; stop it, or choose another with --spool.",
        )
    return DamagedTable(
        f"the job table {path} cannot be read: {error}",
        "Move that file away, or choose another spool with --spool; its jobs are lost.",
    )
