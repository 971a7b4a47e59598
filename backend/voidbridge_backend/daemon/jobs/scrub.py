"""Checks every file of a spool and every request of its table against its hash.

The daemon checks what it uses. This finds damage in what nobody has used for a while.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from voidbridge_backend.daemon.store.job_table import Row
from voidbridge_protocol.errors import DamagedFile
from voidbridge_protocol.lifecycle import JobState

from .service import JobService

READ_SIZE = 1 << 20
OnProgress = Callable[[int, int], None]
"""Called with the files that were read, and with their total number. It may raise, which ends the check."""


@dataclass(frozen=True)
class Damage:
    """Something whose hash is not the one that was stored for it."""

    kind: str
    """`frame`, `result`, `record` or `request`."""
    path: str
    """Relative to the spool; for a request the name of the table."""
    job: str
    """The job of a result, record or request; empty for a frame, which several jobs may use."""
    repair: str
    """How it is made right."""


@dataclass
class Scrub:
    """Used while no daemon has the spool. `job_service` has recovered its jobs."""

    job_service: JobService
    files: int = 0
    """Files that were read."""
    bytes: int = 0

    def run(
        self, repair: bool, on_progress: OnProgress = lambda done, total: None
    ) -> Iterator[Damage]:
        """Yields what is damaged. With `repair`, each item is made right before the next is looked for.

        Frames come first: a result is made again from frames that are right, or not at all.
        """
        frames, rows = self._frames(), self._rows()
        total = len(frames) + sum(len(row.results) for row in rows)
        for path in frames:
            on_progress(self.files, total)
            if self._sha256(path) != path.name:
                yield self._damaged_frame(path, repair)
        for row in rows:
            yield from self._of_job(row, repair, lambda: on_progress(self.files, total))
        on_progress(self.files, total)

    def close(self) -> None:
        """Writes all decisions to disk, and releases the spool."""
        self.job_service.commit()
        self.job_service.spool.empty_trash()
        self.job_service.store.close()

    def _frames(self) -> list[Path]:
        objects = self.job_service.spool.objects
        return sorted(path for path in objects.glob("*/*") if path.is_file())

    def _rows(self) -> list[Row]:
        return sorted(self.job_service.records.rows, key=lambda row: row.number)

    def _damaged_frame(self, path: Path, repair: bool) -> Damage:
        spool = self.job_service.spool
        name = str(path.relative_to(spool.folder))
        if repair:
            self.job_service.damage.found += 1
            spool.discard(name)
        return Damage("frame", name, "", "deleted; a client that needs it sends it again")

    def _of_job(self, row: Row, repair: bool, on_file: Callable[[], None]) -> Iterator[Damage]:
        damage, spool = self.job_service.damage, self.job_service.spool
        try:
            damage.request(row.id)
        except DamagedFile:
            yield Damage("request", "jobs.db", row.id, "the next submission of the job stores it")
        for frame, result in sorted(row.results.items()):
            on_file()
            path = spool.result_path(row.id, frame)
            if self._sha256(path) != result.sha256:
                if repair:
                    damage.result_damaged(row.id, frame)
                yield Damage("result", _relative(path), row.id, self._remade(row.id))
                if repair:
                    return  # the whole job is made again
        if row.state is JobState.DONE and damage.whole_provenance(row) is None:
            if repair:
                damage.provenance_damaged(row)
            path = spool.provenance_path(row.id)
            yield Damage("record", _relative(path), row.id, self._remade(row.id))

    def _remade(self, job: str) -> str:
        if self.job_service.status(job).state is JobState.FAILED:
            return "the frames are gone too: the job failed, and its client submits it again"
        return "the daemon makes the job again"

    def _sha256(self, path: Path) -> str:
        """Returns the hash in hexadecimal digits; empty for a file that cannot be read."""
        self.files += 1
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(READ_SIZE):
                    digest.update(block)
                    self.bytes += len(block)
        except OSError:
            return ""
        return digest.hexdigest()


def _relative(path: Path) -> str:
    return "/".join(path.parts[-3:])
