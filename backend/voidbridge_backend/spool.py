"""The daemon's files: what clients sent, by the hash of its content, and what jobs made.

    SPOOL/objects/ab/abcd...      a received file, whole, verified, fsynced
    SPOOL/parts/abcd...           one on its way in
    SPOOL/jobs/JOB/               results, provenance and scratch of a job

What `receive` reports as complete survives kill -9 and a power cut. Not thread-safe: one thread writes.
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from voidbridge_protocol.digest import Digest
from voidbridge_protocol.errors import SpoolFull, TransferFailed, WrongOffset

READ_SIZE = 1024 * 1024


@dataclass
class _Part:
    """A file on its way in."""

    fd: int
    digest: Digest
    length: int


class Gap(WrongOffset):
    """The piece begins behind what is there; the sender should go on at `have`."""

    def __init__(self, have: int, offset: int) -> None:
        super().__init__(f"the next byte should be {have}, not {offset}")
        self.have = have


class Spool:
    """The spool in `folder`, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = folder / "objects"
        self._parts_folder = folder / "parts"
        self._jobs = folder / "jobs"
        for path in (self.objects, self._parts_folder, self._jobs):
            path.mkdir(parents=True, exist_ok=True)
        self._parts: dict[str, _Part] = {}

    def object_path(self, sha256: str) -> Path:
        return self.objects / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        return self.object_path(sha256).is_file()

    def partial(self, sha256: str) -> int:
        """How many bytes of a file that is not whole yet are there; 0 for none."""
        part = self._parts.get(sha256)
        if part:
            return part.length
        try:
            return (self._parts_folder / sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def receive(self, sha256: str, size: int, offset: int, piece: bytes | memoryview) -> bool:
        """Takes a piece of a file; whether the file is whole now, on disk.

        Bytes that are there already are skipped. Raises `Gap`, `TransferFailed` when the whole is not what
        its name says (the part is dropped), `SpoolFull`.
        """
        if self.has(sha256):
            return offset + len(piece) == size
        try:
            part = self._parts.get(sha256) or self._open_part(sha256)
            if offset > part.length:
                raise Gap(part.length, offset)
            fresh = memoryview(piece)[part.length - offset :]
            if part.length + len(fresh) > size:
                raise self._dropped(sha256, f"more than the {size} bytes that were announced")
            part.digest.update(fresh)
            while fresh:
                written = os.write(part.fd, fresh)
                part.length += written
                fresh = fresh[written:]
            if part.length < size:
                return False
            self._finish(sha256, part)
            return True
        except OSError as error:
            self.pause(sha256)  # its digest may be ahead of its bytes: it is hashed again
            raise _spool_error(self.folder, error) from error

    def pause(self, sha256: str) -> None:
        """Nobody sends this file at the moment; what is there stays."""
        if part := self._parts.pop(sha256, None):
            os.close(part.fd)

    def job_folder(self, job: str) -> Path:
        path = self._jobs / job
        path.mkdir(exist_ok=True)
        return path

    def result_path(self, job: str, frame: int) -> Path:
        return self._jobs / job / f"{frame}.exr"

    def provenance_path(self, job: str) -> Path:
        return self._jobs / job / "provenance.json"

    def drop_job(self, job: str) -> None:
        """Deletes what a job made."""
        shutil.rmtree(self._jobs / job, ignore_errors=True)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def _open_part(self, sha256: str) -> _Part:
        path = self._parts_folder / sha256
        digest = Digest()
        length = 0
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        # What a killed daemon had taken is hashed again, so that the digest can go on.
        while block := os.read(fd, READ_SIZE):
            digest.update(block)
            length += len(block)
        part = self._parts[sha256] = _Part(fd, digest, length)
        return part

    def _finish(self, sha256: str, part: _Part) -> None:
        if part.digest.hexdigest() != sha256:
            raise self._dropped(sha256, f"the {part.length} bytes have another hash")
        os.fsync(part.fd)
        self.pause(sha256)
        target = self.object_path(sha256)
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            _fsync_folder(self.objects)
        os.replace(self._parts_folder / sha256, target)
        _fsync_folder(target.parent)

    def _dropped(self, sha256: str, what: str) -> TransferFailed:
        self.pause(sha256)
        (self._parts_folder / sha256).unlink(missing_ok=True)
        return TransferFailed(f"{sha256[:12]}: {what}")


def _fsync_folder(folder: Path) -> None:
    """A rename is on disk only when its folder is; a system that cannot open folders orders it itself."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _spool_error(folder: Path, error: OSError) -> SpoolFull:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(folder).free
        return SpoolFull(f"the daemon's spool {folder} is full: {free / 2**20:.0f} MB are free")
    return SpoolFull(f"the daemon's spool {folder} cannot be written: {error.strerror}")
