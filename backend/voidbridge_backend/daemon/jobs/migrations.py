"""The shape of the job table, release by release, and the steps that lead from each to the next.

A table of an older shape is copied to `jobs.db.vN` beside it and then brought here in one transaction: it is either
of the old shape or of the new one, whatever happens meanwhile. `docs/operations.md` says how to go back.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

JOBS = """
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
"""
RESULTS = """
CREATE TABLE IF NOT EXISTS results (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    frame INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (job, frame)
) STRICT;
"""
FILES = """
CREATE TABLE files (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (job, sha256)
) STRICT, WITHOUT ROWID;
"""


def _first(db: sqlite3.Connection) -> None:
    _run(db, JOBS)
    _run(db, RESULTS)


def _kept_results(db: sqlite3.Connection) -> None:
    """What the spool needs to know before it deletes anything: when a job was used, whether it was fetched."""
    _run(db, "ALTER TABLE jobs ADD COLUMN used REAL NOT NULL DEFAULT 0;")
    _run(db, "ALTER TABLE jobs ADD COLUMN fetched INTEGER NOT NULL DEFAULT 0;")
    _run(db, FILES)
    db.execute("UPDATE jobs SET used = ?", (time.time(),))
    for job, request in db.execute("SELECT id, request FROM jobs").fetchall():
        names = {file["sha256"] for file in json.loads(request)["files"]}
        db.executemany("INSERT INTO files VALUES (?, ?)", [(job, name) for name in names])


STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first, _kept_results)
"""Step N leads from version N to version N + 1; an empty file has version 0."""

NEWEST = len(STEPS)


def version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def bring_up_to_date(db: sqlite3.Connection, path: Path) -> None:
    """Takes every step that the table in `path` lacks. `db` commits by itself (isolation level None).

    Raises `sqlite3.Error`, and what it began is undone.
    """
    found = version(db)
    if found == NEWEST:
        return
    if found:
        copy = path.with_name(f"{path.name}.v{found}")
        copy.unlink(missing_ok=True)
        db.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o600)
        log.info("the job table has version %d, this release %d; a copy is %s", found, NEWEST, copy)
    db.execute("BEGIN IMMEDIATE")
    with db:
        for step in STEPS[found:]:
            step(db)
        db.execute(f"PRAGMA user_version = {NEWEST}")


def _run(db: sqlite3.Connection, script: str) -> None:
    # One by one: `executescript` would end our transaction.
    for statement in script.split(";\n"):
        if statement.strip():
            db.execute(statement)
