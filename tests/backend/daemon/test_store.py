"""The job table: what was written is there, after closing, after kill -9, and for one daemon only."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from voidbridge_stage import command, daemon, environment, full_disk

from voidbridge_backend.daemon.store.job_table import JobTable, Row
from voidbridge_protocol.errors import RequestError
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import ResultFile

ROW = Row("j1", 1, "Ana Müller", 3, JobState.RECEIVING, 1001, 1003, "remove", "echo")
FULL = replace(
    ROW, id="j2", number=2, state=JobState.FAILED, attempts=3, warnings=("one", "zwei “drei”"),
    code="job.engine", text="no\nlight", hint="Switch it on.", used=1790000000.5, fetched=True,
    provenance="c" * 64,
)  # fmt: skip
F1, F2, F3 = (digit * 64 for digit in "123")
"""Hashes of files."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def test_what_was_added_is_there_when_it_is_opened_again(path: Path) -> None:
    store = JobTable(path)
    store.add(FULL, b"request 2", [F1, F2])
    store.add(ROW, b"request 1", [F1, F3])
    store.add_result("j1", ResultFile(1002, "b" * 64, 7))
    store.add_result("j1", ResultFile(1001, "a" * 64, 5))
    assert store.commit()
    store.close()
    again = JobTable(path)
    results = {1001: ResultFile(1001, "a" * 64, 5), 1002: ResultFile(1002, "b" * 64, 7)}
    assert again.rows() == [replace(ROW, results=results), FULL]
    assert (again.request("j1"), again.request("j2")) == (b"request 1", b"request 2")
    claims = [("j1", F1), ("j1", F3), ("j2", F1), ("j2", F2)]
    assert list(again.claims()) == claims
    with pytest.raises(KeyError):
        again.request("j3")
    again.close()


@pytest.mark.parametrize("state", list(JobState))
def test_every_change_is_kept(path: Path, state: JobState) -> None:
    store = JobTable(path)
    store.add(ROW, b"request", [F1])
    changed = replace(FULL, id="j1", number=9, state=state, priority=-4)
    store.save(changed)
    assert store.commit()
    store.close()
    again = JobTable(path)
    assert again.rows() == [changed]
    again.close()


def test_a_job_added_again_has_no_results_yet(path: Path) -> None:
    store = JobTable(path)
    store.add(ROW, b"request", [F1])
    store.add_result("j1", ResultFile(1001, "a" * 64, 5))
    fresh = replace(ROW, results={1001: ResultFile(1001, "a" * 64, 5)}).fresh(4)
    store.add(fresh, b"request", [F1])
    assert store.commit()
    assert store.rows() == [replace(ROW, number=4)]
    store.close()


def test_a_row_that_was_acknowledged_survives_kill_9(path: Path) -> None:
    script = f"""
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from voidbridge_backend.daemon.store.job_table import Row, JobTable
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import ResultFile
store = JobTable(Path({str(path)!r}))
for number in range(1, 10_000):
    row = Row(f"j{{number}}", number, "ana", 0, JobState.RECEIVING, 1, 2, "remove", "echo")
    store.add(row, b"request %d" % number, ["a" * 64, "b" * 64])
    store.save(replace(row, state=JobState.QUEUED))
    store.add_result(row.id, ResultFile(1, "a" * 64, 5))
    store.commit()
    print(number, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment()
    )
    assert process.stdout
    with process.stdout as lines:
        acknowledged = 0
        while acknowledged < 40:
            acknowledged = int(lines.readline())
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, lines.read().split())])
    process.wait()
    store = JobTable(path)
    rows = store.rows()
    assert [row.number for row in rows[:acknowledged]] == list(range(1, acknowledged + 1))
    assert all(row.state is JobState.QUEUED and row.results for row in rows[:acknowledged])
    assert store.request(f"j{acknowledged}") == b"request %d" % acknowledged
    assert len(rows) <= acknowledged + 1
    store.close()


def refusal(listen: str, spool: Path) -> str:
    """Returns the message of a daemon that cannot start there."""
    words = command("serve", "--listen", listen, "--spool", spool, "--devices", "cpu")
    done = subprocess.run(words, capture_output=True, env=environment(), timeout=120)
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert "Traceback" not in said
    return said


def test_a_second_daemon_on_a_spool_or_an_address_is_refused(tmp_path: Path) -> None:
    with daemon() as first:
        assert "Another daemon uses this spool" in refusal(f"{first.address}2", first.spool)
        assert f"cannot listen on {first.address}" in refusal(first.address, tmp_path)
        assert first.jobs() == []  # it is still the one that answers


def test_a_port_that_somebody_has_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        assert f"cannot listen on {address}" in refusal(address, tmp_path)


def test_a_table_that_is_none_is_an_error_that_names_it(path: Path) -> None:
    path.write_bytes(b"this is no table of jobs" * 100)
    with pytest.raises(RequestError, match=r"jobs\.db"):
        JobTable(path)


def test_a_table_of_another_release_is_left_alone(path: Path) -> None:
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(RequestError, match="99"):
        JobTable(path)


def test_changes_on_a_full_disk_wait_in_their_order_and_are_written_when_there_is_room(
    path: Path,
) -> None:
    store = JobTable(path)
    store.add(ROW, b"request", [F1])
    assert store.commit()
    wal = path.with_name("jobs.db-wal").stat().st_size
    states = (JobState.QUEUED, JobState.RUNNING, JobState.DONE)
    with full_disk(wal + 4096):
        for state in states:
            store.save(replace(ROW, state=state, text="long" * 5000))
            assert not store.commit()
        store.add_result("j1", ResultFile(1001, "a" * 64, 5))
        assert not store.commit()
        assert store.behind
        assert [row.state for row in store.rows()] == [JobState.RECEIVING]
    assert store.commit()
    assert not store.behind
    (row,) = store.rows()
    assert (row.state, sorted(row.results)) == (JobState.DONE, [1001])
    store.add(replace(ROW, id="j2", number=2), b"request", [])
    assert store.commit()
    store.close()


def test_what_is_forgotten_leaves_nothing(path: Path) -> None:
    store = JobTable(path)
    store.add(ROW, b"request", [F1])
    store.add(FULL, b"request", [F1, F2])
    store.add_result("j1", ResultFile(1001, "a" * 64, 5))
    assert store.commit()
    store.forget("j1")
    assert store.commit()
    assert store.rows() == [FULL]
    assert list(store.claims()) == [("j2", F1), ("j2", F2)]
    store.close()
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM results").fetchone() == (0,)
    db.close()


def test_a_job_that_the_full_disk_cannot_note_down_can_be_taken_back(path: Path) -> None:
    store = JobTable(path)
    store.add(ROW, b"request", [F1])
    assert store.commit()
    with full_disk(100_000):
        store.add(replace(ROW, id="j2"), bytes(1_000_000), [])
        assert not store.commit()
        store.discard("j2")
    assert not store.behind
    assert store.commit()
    assert store.rows() == [ROW]
    store.add(replace(ROW, id="j2", number=2), bytes(1_000_000), [])
    assert store.commit()
    assert len(store.rows()) == 2
    store.close()


def test_what_was_added_is_known_before_it_is_written(path: Path) -> None:
    """A question between two turns finds it: by a worker that starts it, or by the cleanup that keeps its files."""
    store = JobTable(path)
    store.add(ROW, b"request", [F1, F2])
    for _ in range(2):
        assert store.request("j1") == b"request"
        assert list(store.claims()) == [("j1", F1), ("j1", F2)]
        store.commit()
    assert store.rows() == [ROW]
    store.close()


def test_whatever_a_turn_changes_is_one_transaction(path: Path) -> None:
    store = JobTable(path)
    said: list[str] = []
    store._db.set_trace_callback(said.append)
    for number in range(50):
        row = replace(ROW, id=f"j{number}", number=number)
        store.add(row, b"request", [F1])
        store.save(replace(row, state=JobState.QUEUED))
        assert not store.is_committed(row.id)
    assert store.commit()
    assert said.count("COMMIT") == 1
    assert store.is_committed("j0")
    assert store.commit()
    assert said.count("COMMIT") == 1, "nothing is written when there is nothing to write"
    assert [row.state for row in store.rows()] == [JobState.QUEUED] * 50
    store.close()


def test_all_or_nothing_of_a_turn_is_written(path: Path) -> None:
    store = JobTable(path)
    with full_disk(60_000):
        store.add(ROW, b"request", [F1])
        store.save(replace(ROW, text="long" * 50_000))
        assert not store.commit()
        assert store.rows() == []
    store.close()
    again = JobTable(path)
    assert again.rows() == []
    again.close()


def test_the_files_of_jobs_in_a_state_are_found_without_reading_their_requests(path: Path) -> None:
    store = JobTable(path)
    files = [{"role": "plate", "frame": n, "sha256": str(n) * 64, "size": n} for n in (1, 2)]
    store.add(ROW, json.dumps({"files": files}).encode(), [F1, F2])
    store.add(FULL, json.dumps({"files": files[:1]}).encode(), [F1])
    assert store.commit()
    assert list(store.files(JobState.RECEIVING)) == [("j1", F1, 1), ("j1", F2, 2)]
    assert list(store.files(JobState.QUEUED)) == []
    store.close()
