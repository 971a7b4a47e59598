"""The schema of the job table."""

from __future__ import annotations

import sqlite3

VERSION = 2
"""Stored in the file; a table of another version is refused."""

TABLES = (
    """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    user TEXT NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    operation TEXT NOT NULL,
    engine TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    warnings TEXT NOT NULL,
    code TEXT NOT NULL,
    text TEXT NOT NULL,
    hint TEXT NOT NULL,
    used REAL NOT NULL,
    fetched INTEGER NOT NULL,
    provenance TEXT NOT NULL
) STRICT
""",
    """
CREATE TABLE results (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    frame INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (job, frame)
) STRICT
""",
    """
CREATE TABLE requests (
    job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    request BLOB NOT NULL,
    files BLOB NOT NULL
) STRICT
""",
)


def version(db: sqlite3.Connection) -> int:
    """0 for an empty file."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def create(db: sqlite3.Connection) -> None:
    """Creates the tables in an empty file, all or none. `db` commits by itself (isolation level None)."""
    db.execute("BEGIN IMMEDIATE")
    with db:
        for table in TABLES:
            db.execute(table)
        db.execute(f"PRAGMA user_version = {VERSION}")
