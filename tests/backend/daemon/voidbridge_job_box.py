"""A job service on a real spool and table, small requests for it, and a queue of whole jobs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from voidbridge_backend.daemon.jobs.scheduler import Command, Scheduler, Start
from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_backend.daemon.jobs.start_order import QueuedJob
from voidbridge_backend.daemon.store.job_table import JobTable, Row
from voidbridge_backend.daemon.store.spool import Spool, UserFile
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request, ResultFile


def content(role: str, frame: int) -> bytes:
    return f"the {role} of {frame}".encode()


def request(first: int = 1001, last: int = 1003) -> Request:
    files = []
    for role in ("matte", "plate"):
        for frame in range(first, last + 1):
            data = content(role, frame)
            files.append(FrameFile(role, frame, hashlib.sha256(data).hexdigest(), len(data)))
    return Request(first, last, RemoveSettings(engine="echo"), tuple(files))


class Box:
    """A job service on a real spool and table, used as a daemon uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open()

    def open(self) -> None:
        self.spool = Spool(self.folder)
        self.store = JobTable(self.folder / "jobs.db")
        self.job_service = JobService(self.store, self.spool, (("remove", "echo"),))
        self.job_service.recover()

    def reopen(self) -> None:
        """Simulates kill -9 after a turn: nothing is closed in order, and only the lock is released."""
        assert self.job_service.commit()
        self.store.close()
        self.open()

    def send(self, made: Request, *indices: int, user: str = "ana") -> None:
        for index in indices or range(len(made.files)):
            file = made.files[index]
            name = UserFile(user, file.sha256)
            assert self.spool.receive(name, file.size, 0, content(file.role, file.frame))
            self.spool.finalize(name)
            self.job_service.admission.file_arrived(name)

    def submit(self, made: Request, user: str = "ana", again: bool = False) -> str:
        return self.job_service.admission.submit(user, made, 0, again).job

    def finish(self, job: str) -> None:
        status = self.job_service.status(job)
        for frame in range(status.first, status.first + status.frames):
            self.spool.job_folder(job)
            self.spool.result_path(job, frame).write_bytes(b"result %d" % frame)
            self.job_service.finished_frame(job, ResultFile(frame, f"{frame:064x}", 11))
        self.job_service.done(job)

    def written(self) -> list[Row]:
        """Returns the rows of the table after a turn."""
        assert self.job_service.commit()
        return self.store.rows()

    def state(self, job: str) -> JobState:
        return self.job_service.status(job).state


class Queue(Scheduler):
    """A scheduler whose jobs have come in with all their files."""

    def submitted(
        self, job: str, user: str = "ana", priority: int = 0, engine: str = "echo"
    ) -> list[Command]:
        number, state = len(self.jobs) + 1, JobState.RECEIVING
        self.add(QueuedJob(job, user, priority, number, state, operation="remove", engine=engine))
        return self.received(job)

    def state(self, job: str) -> JobState:
        return self.jobs[job].state

    def served(self) -> list[str]:
        """Runs everything that waits on one device, in the order that it is started."""
        order = []
        commands = self.device_ready("cpu")
        while started := [c.job for c in commands if isinstance(c, Start)]:
            order += started
            commands = self.ended(started[-1], JobState.DONE)
        return order
