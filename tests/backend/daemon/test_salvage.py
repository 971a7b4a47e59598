"""A job table whose bytes changed on the disk: the daemon starts with what can be read of it."""

import random
import sqlite3
from pathlib import Path

import pytest

from voidbridge_backend.daemon.store.job_table import JobTable, Row
from voidbridge_backend.daemon.store.salvage import open_store
from voidbridge_protocol.lifecycle import JobState

JOBS = [f"{number:024x}" for number in range(40)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = JobTable(tmp_path / "jobs.db")
    for number, job in enumerate(JOBS):
        row = Row(job, number, "ana", 0, JobState.CANCELLED, 1, 2, "remove", "echo")
        store.add(row, b"{}" * 500, ["a" * 64])
    assert store.commit()
    store.close()
    return tmp_path / "jobs.db"


def names(path: Path) -> list[str]:
    store = open_store(path)
    try:
        return [row.id for row in store.rows()]
    finally:
        store.close()


def test_a_whole_table_is_opened_as_it_is(path: Path) -> None:
    assert names(path) == JOBS
    assert not list(path.parent.glob("*damaged*"))


@pytest.mark.parametrize(
    ("column", "value"), [("state", "dooe"), ("warnings", "[no"), ("last", -5), ("state", "done")]
)
def test_a_job_that_makes_no_sense_is_put_aside(path: Path, column: str, value: object) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE jobs SET {column} = ? WHERE id = ?", (value, JOBS[7]))
    db.close()
    assert names(path) == [job for job in JOBS if job != JOBS[7]]
    assert JOBS[7] in (path.parent / "jobs.damaged").read_text()


def test_pages_that_are_garbage_cost_their_own_jobs(path: Path) -> None:
    data, page = bytearray(path.read_bytes()), 4096
    for number in range(8, len(data) // page, 9):
        data[number * page : (number + 1) * page] = random.Random(number).randbytes(page)
    path.write_bytes(data)
    assert set(names(path)) <= set(JOBS)
    assert names(path) == names(path)


@pytest.mark.parametrize(
    "content", [b"", b"no table at all" * 1000, b"SQLite format 3\0" + bytes(5000)]
)
def test_a_file_that_is_no_table_is_put_aside(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert names(path) == []
