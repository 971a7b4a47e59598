"""Finds requests, received files and results that changed on the disk, and has the jobs run again."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from voidbridge_backend.daemon.store.job_table import Row
from voidbridge_protocol.errors import DaemonError, DamagedFile, RequestError, VoidbridgeError
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.codec import decode_request

from .admission import Admission
from .prepared import Prepared
from .records import JobRecords

log = logging.getLogger(__name__)


@dataclass
class DamageControl:
    """Answers damage to the files of jobs."""

    records: JobRecords
    admission: Admission
    found: int = 0
    """Files, results, records and requests that were found changed on the disk since the start."""

    def request(self, job: str) -> bytes:
        """Returns the canonical request of a job. Raises `DamagedFile` if it is not the submitted one."""
        try:
            request = self.records.store.request(job)
        except (KeyError, sqlite3.DatabaseError) as error:
            raise DamagedFile(f"the request of job {job} cannot be read from the table") from error
        user = self.records.row(job).user
        if job != hashlib.sha256(user.encode() + b"\0" + request).hexdigest()[:24]:
            self.found += 1
            raise DamagedFile(f"the request of job {job} changed in the daemon's table")
        return request

    def provenance(self, job: str) -> bytes:
        """Returns the record of a done job. Raises `RequestError`.

        Raises `DamagedFile` if the record changed; then the job runs again.
        """
        row = self.records.row(job)
        if row.state is not JobState.DONE:
            raise RequestError(
                f"job {job} is not done", "Wait for it: `voidbridge status` shows it."
            )
        if (record := self.whole_provenance(row)) is not None:
            return record
        self.provenance_damaged(row)
        raise DamagedFile(f"the record of job {job} changed on the daemon's disk")

    def whole_provenance(self, row: Row) -> bytes | None:
        """Returns the record as it was written, or None if it changed or is gone."""
        try:
            record = self.records.spool.provenance_path(row.id).read_bytes()
        except OSError:
            return None
        is_whole = row.provenance in ("", hashlib.sha256(record).hexdigest())
        return record if is_whole else None

    def provenance_damaged(self, row: Row) -> None:
        """Runs the job of a damaged record again."""
        self.found += 1
        log.error("a record changed on the disk", extra={"job": row.id})
        self._remake(row)

    def discard_inputs(self, job: str, names: Sequence[str]) -> None:
        """Deletes damaged files of a job, so that the next submission has them sent again."""
        spool = self.records.spool
        folder = spool.user_dir(self.records.row(job).user).name
        for name in names:
            self.found += 1
            log.error("a received file changed on the disk", extra={"job": job, "file": name})
            spool.discard(f"objects/{folder}/{name}")

    def result_damaged(self, job: str, frame: int) -> None:
        """Runs the job of a damaged result again, at once or when it has ended."""
        row = self.records.rows.get(job)
        if row is None or row.results.pop(frame, None) is None:
            return  # another client found it a moment ago
        self.found += 1
        log.error("a result changed on the disk", extra={"job": job, "frame": frame})
        if row.state is JobState.DONE:
            self._remake(row)
        elif not row.state.is_final:
            self.records.to_remake.add(job)

    def job_done(self, job: str) -> None:
        """Runs a job again if one of its results was damaged before it was done."""
        if job in self.records.to_remake:
            self._remake(self.records.rows[job])

    def _remake(self, row: Row) -> None:
        self.records.to_remake.discard(row.id)
        try:
            request = decode_request(self.request(row.id))
            prepared = Prepared.of(row.user, request, self.records.spool)
            is_whole = not prepared.lacking
            if is_whole:
                self.admission.begin_again(row, prepared, row.priority)
        except DaemonError as error:
            log.warning("not made again: %s", error.text, extra={"job": row.id})
            return
        except VoidbridgeError:
            is_whole = False
        if not is_whole:
            self._give_up(row)

    def _give_up(self, row: Row) -> None:
        """Fails a done job whose results and frames are gone: its client has to submit it again."""
        records = self.records
        number = records.next_number()
        records.store.forget_results(row.id)
        records.rows.put(row.fresh(number))
        records.execute(records.scheduler.submitted_again(row.id, row.priority, number))
        records.fail(
            row.id, DamagedFile("results changed on the daemon's disk, and the frames are gone")
        )
        records.execute(records.scheduler.failed_before_running(row.id))
        records.spool.drop_job(row.id)
