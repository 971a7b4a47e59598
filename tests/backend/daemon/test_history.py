"""Failed and cancelled jobs are remembered up to a number; table and log stay small when many are forgotten."""

from pathlib import Path

import pytest

from voidbridge_backend.daemon.jobs.expiry import HISTORY
from voidbridge_backend.daemon.jobs.records import JOB_LINES
from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_backend.daemon.store.job_table import JobTable
from voidbridge_backend.daemon.store.spool import Spool
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request


def test_cancelled_jobs_beyond_a_number_are_forgotten_and_their_room_is_given_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    spool, store = Spool(tmp_path), JobTable(tmp_path / "jobs.db")
    jobs = JobService(store, spool, (("remove", "echo"),))
    names = []
    for number in range(3 * HISTORY):
        files = tuple(
            FrameFile(role, frame, f"{number:032x}{frame:032x}", 1)
            for role in ("matte", "plate")
            for frame in range(20)
        )
        request = Request(0, 19, RemoveSettings(engine="echo"), files)
        names.append(jobs.admission.submit("ana", request, 0, False).job)
        jobs.cancel(names[-1])
    assert jobs.commit()
    pages = pages_of(store)
    while jobs.expiry.trim_history():
        continue
    assert jobs.jobs() == names[-HISTORY:]
    assert pages_of(store) < pages / 2
    assert len(caplog.records) == JOB_LINES
    jobs.records.log_suppressed(100.0)
    assert caplog.records[-1].getMessage() == (
        f"{3 * HISTORY * 2 + 2 * HISTORY - JOB_LINES} lines about jobs were not written"
    )
    store.close()


def pages_of(store: JobTable) -> int:
    return int(store._db.execute("PRAGMA page_count").fetchone()[0])
