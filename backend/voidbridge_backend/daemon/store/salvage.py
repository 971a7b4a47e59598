"""Opens the job table. A damaged one is put aside beside it, and what can be read of it starts a new one."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

from voidbridge_protocol.errors import DamagedFile
from voidbridge_protocol.lifecycle import JobState

from .job_table import DamagedTable, JobTable, Row

log = logging.getLogger(__name__)

TABLES = ("jobs", "results", "requests")
MOST_ROWS = 1_000_000


def open_store(path: Path, is_suspect: bool = False) -> JobTable:
    """Raises `RequestError` if the table is in use or of another version.

    With `is_suspect` every page is checked, which takes seconds for a large table.
    """
    try:
        return _checked(JobTable(path), is_suspect)
    except (DamagedTable, sqlite3.DatabaseError) as error:
        log.error("the job table %s is damaged: %s", path, error)
    aside = _put_aside(path)
    store = JobTable(path)
    found = _copied(aside, store)
    log.error("%d rows of it were saved; the damaged table is %s", found, aside)
    return _checked(store)


def require_sound(path: Path) -> None:
    """Raises `DamagedFile` for a damaged table and leaves it as it is; `RequestError` as `open_store`."""
    try:
        store = JobTable(path)
    except DamagedTable as error:
        raise _damaged(path, error) from error
    try:
        store.check_pages()
        store.rows()
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
    finally:
        store.close()


def _damaged(path: Path, error: Exception) -> DamagedFile:
    return DamagedFile(
        f"the job table {path} is damaged: {error}",
        "Run `voidbridge scrub` without --dry-run: it puts the table aside and saves what it can read.",
    )


def _checked(store: JobTable, is_suspect: bool = False) -> JobTable:
    """Reads everything once that the start of the daemon reads."""
    try:
        if is_suspect:
            store.check_pages()
        lost = store.without_request()
        for row in store.rows():
            if oddity := "its request is not JSON" if row.id in lost else _oddity(row):
                log.error("a damaged job is put aside: %s", oddity, extra={"job": row.id})
                store.put_aside((row.id, row))
        for _ in store.files(JobState.RECEIVING):
            pass
        for _ in store.claims():
            pass
    except sqlite3.DatabaseError:
        store.close()
        raise
    return store


def _oddity(row: Row) -> str:
    """Returns a defect that no daemon would write; empty for a valid row."""
    frames = range(row.first, row.last + 1)
    if not frames or row.attempts < 0:
        return f"frames {row.first} to {row.last}, {row.attempts} attempts"
    if row.state is JobState.DONE and set(row.results) != set(frames):
        return f"it is done with {len(row.results)} results of {len(frames)} frames"
    return ""


def _put_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        log_file = path.with_name(path.name + suffix)
        if log_file.exists():
            os.replace(log_file, aside.with_name(aside.name + suffix))
    os.replace(path, aside)
    return aside


def _copied(aside: Path, store: JobTable) -> int:
    """Copies row by row, and passes over those that cannot be read. Returns how many were copied."""
    found = 0
    try:
        old = sqlite3.connect(f"file:{aside}?mode=ro", uri=True)
    except sqlite3.Error:
        return 0
    try:
        for table in TABLES:
            for row in _readable(old, table):
                found += store.take(table, row)
    finally:
        old.close()
    return found


def _readable(old: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    rows = []
    for (number,) in _until_damage(old, f"SELECT rowid FROM {table}"):
        try:
            rows += old.execute(f"SELECT * FROM {table} WHERE rowid = ?", (number,)).fetchall()
        except sqlite3.Error:
            continue
    return rows


def _until_damage(old: sqlite3.Connection, question: str) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    try:
        for row in old.execute(question):
            rows.append(row)
            if len(rows) >= MOST_ROWS:
                break
    except sqlite3.Error:
        pass
    return rows
