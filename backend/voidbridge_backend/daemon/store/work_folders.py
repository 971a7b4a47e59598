"""The folders in which workers write, one a device: a worker can change nothing else of the spool.

    SPOOL/work/DEVICE/JOB/      results and scratch of the running job, until the daemon takes them
    SPOOL/work/DEVICE/tmp/      temporary files of the worker
    SPOOL/orders/DEVICE.json    the request of the running job

The daemon moves each result to SPOOL/jobs/JOB when it is announced. It moves plain files only, because a link
would lead its own reading elsewhere.
"""

from __future__ import annotations

import logging
import os
import stat
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from voidbridge_backend.worker.task_files import CHECKPOINT, answer_path

from .spool import Spool

log = logging.getLogger(__name__)

TEMPORARY = "tmp"


class WorkFolders:
    """The folders of all devices in a spool. Methods raise `OSError` unless they say otherwise."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def of(self, device: str) -> Path:
        """Returns the folder of a device's worker."""
        return work_folder(self._spool.folder, device)

    def begin(self, device: str, job: str, request: bytes) -> tuple[Path, Path]:
        """Returns the file of the request and the folder for a new attempt at a job.

        The folder holds what an earlier attempt left to go on from.
        """
        order = self._spool.orders / f"{self.of(device).name}.json"
        order.write_bytes(request)
        folder = self.of(device) / job
        self._remove(folder)
        folder.mkdir(parents=True)
        self._move_checkpoints(self._spool.job_folder(job), folder)
        return order, folder

    def publish(self, device: str, job: str, name: str) -> None:
        """Moves a file of the running job to the job's folder."""
        _move(self.of(device) / job / name, self._spool.job_folder(job) / name)

    def pass_answer(self, lent: str, lead: str, job: str, task: int) -> None:
        """Moves the answer to a task from a lent device's folder to that of the job's own device."""
        _move(answer_path(self.of(lent), task), answer_path(self.of(lead) / job, task))

    def drop_answer(self, lent: str, task: int) -> None:
        """Removes an answer that no job waits for any more."""
        answer_path(self.of(lent), task).unlink(missing_ok=True)

    def end(self, device: str, job: str) -> None:
        """Removes the folder of an attempt, and keeps what the next one may go on from. Raises nothing."""
        self._end(self.of(device) / job, keeps=True)

    def recover(self, known: Iterable[str]) -> None:
        """Ends the attempts of an earlier daemon. Nothing of jobs that are not `known` is kept. Raises nothing."""
        jobs = set(known)
        for device in _folders(self._spool.work):
            for folder in _folders(device):
                if folder.name != TEMPORARY:
                    self._end(folder, keeps=folder.name in jobs)

    def _end(self, folder: Path, keeps: bool) -> None:
        try:
            if keeps and folder.is_dir():
                self._move_checkpoints(folder, self._spool.job_folder(folder.name))
            self._remove(folder)
        except OSError as error:  # the next attempt begins with a new folder anyway
            log.warning("%s stays: %s", self._spool.hidden(str(folder)), error.strerror)

    def _move_checkpoints(self, source: Path, target: Path) -> None:
        for name in os.listdir(source):
            if name.startswith(CHECKPOINT):
                with suppress(ValueError):
                    _move(source / name, target / name)

    def _remove(self, folder: Path) -> None:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            os.rename(folder, self._spool.trash / uuid.uuid4().hex)


def work_folder(spool: Path, device: str) -> Path:
    """Returns the folder of a device's worker in this spool."""
    return spool / "work" / quote(device, safe="")


def _move(source: Path, target: Path) -> None:
    """Moves a plain file, in place of any other. Raises `OSError`, `ValueError` for another kind of file."""
    os.rename(source, target)
    if not stat.S_ISREG(target.lstat().st_mode):
        with suppress(OSError):
            target.unlink()
        raise ValueError(f"{source.name} is not a plain file")


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as found:
            return [Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
