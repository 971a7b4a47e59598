"""The daemon's files: received files by user and content hash, and results of jobs.

    SPOOL/objects/USERDIR/abcd...  a received file: complete, verified, fsynced; a user has one directory
    SPOOL/parts/USERDIR.abcd...    a partial upload
    SPOOL/jobs/JOB/                results and provenance of a job
    SPOOL/work/, SPOOL/orders/     see `work_folders`
    SPOOL/trash/                   files being deleted
    SPOOL/voidbridge-spool.txt     says that the folders above are the daemon's, which deletes in them

Users share no files, even with the same content. A user who only knows the hash of another's frame must neither
learn if it is here nor use it in a job.

A file survives kill -9 and a power cut once `finalize` has returned. One thread receives and one finalizes, so
the next file is written while the disk syncs the previous one.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import stat
import uuid
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from voidbridge_backend.config import SPOOL_MARK, SPOOL_TEXT
from voidbridge_protocol.errors import RequestError, SpoolFull, TransferFailed, WrongOffset
from voidbridge_protocol.transfer.hashing import Digest

from .retention import Survey

log = logging.getLogger(__name__)

READ_SIZE = 1024 * 1024
MOST_OPEN = 128
"""Partial uploads whose files are open at once, and the same for complete ones that wait for their fsync. Beyond
them libzmq would find no descriptor for a new client, and ends the process then."""
MOST_HASHED = 1024
"""Partial uploads whose digest is kept; of others the received bytes are hashed again before they go on."""


class UserFile(NamedTuple):
    """A file of a user, received or expected, by the hash of its content."""

    user: str
    sha256: str


@dataclass
class _Part:
    """A partial upload."""

    digest: Digest
    length: int
    fd: int | None = None
    """Open for writing, or closed: a client may begin any number of files and go on with each later."""

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


class OffsetGap(WrongOffset):
    """The piece begins after the received bytes; the sender should continue at `have`."""

    def __init__(self, have: int, offset: int) -> None:
        super().__init__(f"the next byte should be {have}, not {offset}")
        self.have = have


class Spool:
    """The spool in `folder`, which is created if missing.

    Raises `RequestError` if it cannot be written, or if somebody else's files lie where the daemon would delete.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder = folder.absolute()
        self.objects = folder / "objects"
        self._parts_folder = folder / "parts"
        self._jobs = folder / "jobs"
        self.trash = folder / "trash"
        self.orders, self.work = folder / "orders", folder / "work"
        try:
            _claim(folder)
            # A worker's sandbox knows only folders that are there when it starts.
            made = (
                self.objects,
                self._parts_folder,
                self._jobs,
                self.trash,
                self.orders,
                self.work,
            )
            for path in made:
                path.mkdir(parents=True, exist_ok=True)
            _make_private(folder)
        except OSError as error:
            raise RequestError(
                f"the spool {folder} cannot be written: {error.strerror}",
                "Make its disk writable, or choose another folder with --spool.",
            ) from error
        self._parts: OrderedDict[UserFile, _Part] = OrderedDict()
        """The one that was written last is the last."""
        self._open: OrderedDict[UserFile, _Part] = OrderedDict()
        """Those of `_parts` that are open, in the same order."""
        self._settling: dict[UserFile, _Part] = {}
        self.generation = 0
        """Rises with everything that is deleted: what was found in the spool before may be gone."""

    def user_dir(self, user: str) -> Path:
        """Returns the folder of a user's files. A folder name never contains a user's name."""
        return self.objects / hashlib.sha256(user.encode()).hexdigest()[:16]

    def object_path(self, file: UserFile) -> Path:
        return self.user_dir(file.user) / file.sha256

    def part_path(self, file: UserFile) -> Path:
        return self._parts_folder / f"{self.user_dir(file.user).name}.{file.sha256}"

    def has(self, file: UserFile, size: int | None = None) -> bool:
        """Whether a file is there whole. One of another `size` in bytes is damaged, so is not there."""
        try:
            found = self.object_path(file).stat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and size in (None, found.st_size)

    def all_of(self, user: str) -> dict[UserFile, int]:
        """Every whole file of a user with its size. One question rather than one for each file."""
        entries = _entries(self.user_dir(user))
        return {UserFile(user, entry.name): _size_and_time(entry)[0] for entry in entries}

    def parts_of(self, user: str) -> dict[UserFile, int]:
        """Every file of a user that is not whole, with the bytes that are there."""
        prefix = f"{self.user_dir(user).name}."
        return {
            UserFile(user, entry.name.removeprefix(prefix)): _size_and_time(entry)[0]
            for entry in _entries(self._parts_folder)
            if entry.name.startswith(prefix)
        }

    def partial(self, file: UserFile) -> int:
        """Returns the received bytes of a partial file; 0 for none."""
        part = self._parts.get(file)
        if part:
            return part.length
        try:
            return self.part_path(file).stat().st_size
        except FileNotFoundError:
            return 0

    def receive(self, file: UserFile, size: int, offset: int, piece: bytes | memoryview) -> bool:
        """Stores a piece of a file. Returns True once all bytes are there, for `finalize`.

        Bytes received before are skipped. Raises `OffsetGap`, `TransferFailed` if there are more than `size`
        bytes (the part is dropped), `SpoolFull`.
        """
        part = self._parts.get(file)
        # In this order: the second check finds a file that is finalized meanwhile.
        if part is None and (file in self._settling or self.has(file, size)):
            return offset + len(piece) == size
        try:
            part = self._writable(file, part)
            if offset > part.length:
                raise OffsetGap(part.length, offset)
            fresh = memoryview(piece)[part.length - offset :]
            if part.length + len(fresh) > size:
                self.pause(file)
                raise self._dropped(file, f"more than the {size} bytes that were announced")
            part.digest.update(fresh)
            while fresh:
                assert part.fd is not None
                written = os.write(part.fd, fresh)
                part.length += written
                fresh = fresh[written:]
        except OSError as error:
            self.pause(file)  # its digest may be ahead of its bytes, so it is hashed again
            raise _spool_error(self.folder, error) from error
        if part.length < size:
            return False
        self._settling[file] = self._parts.pop(file)
        del self._open[file]
        if len(self._settling) > MOST_OPEN:
            part.close()
        return True

    def finalize(self, file: UserFile) -> None:
        """Completes a fully received file: verified, on disk, under its own name.

        Raises `TransferFailed` if its hash is wrong (the part is dropped), `SpoolFull`.
        """
        part = self._settling.get(file)
        if part is None:  # completed by another sender a moment ago
            if not self.has(file):
                raise TransferFailed(f"{file.sha256[:12]}: the part was dropped")
            return
        try:
            if part.digest.hexdigest() != file.sha256:
                raise self._dropped(file, f"the {part.length} bytes have another hash")
            if part.fd is None:
                part.fd = os.open(self.part_path(file), os.O_RDWR)
            os.fsync(part.fd)
            target = self.object_path(file)
            if not target.parent.is_dir():
                target.parent.mkdir(exist_ok=True)
                _fsync_folder(self.objects)
            os.replace(self.part_path(file), target)
            _fsync_folder(target.parent)
        except OSError as error:
            raise _spool_error(self.folder, error) from error
        finally:
            part.close()
            del self._settling[file]

    def pause(self, file: UserFile) -> None:
        """Marks a file as not being sent at the moment; received bytes stay."""
        self._open.pop(file, None)
        if part := self._parts.pop(file, None):
            part.close()

    def job_folder(self, job: str) -> Path:
        path = self._jobs / job
        path.mkdir(exist_ok=True)
        return path

    def result_path(self, job: str, frame: int) -> Path:
        return self._jobs / job / f"{frame}.exr"

    def provenance_path(self, job: str) -> Path:
        return self._jobs / job / "provenance.json"

    def drop_job(self, job: str) -> None:
        """Deletes the files that a job made."""
        self.discard(f"jobs/{job}")

    def discard(self, name: str) -> None:
        """Removes the item `name`, relative to the spool's folder; `empty_trash` frees its space.

        A rename takes no time and is never half done.
        """
        self.generation += 1
        with suppress(FileNotFoundError):
            os.rename(self.folder / name, self.trash / uuid.uuid4().hex)

    def drop_part(self, name: str) -> None:
        """Deletes a partial file, by its name in the folder of parts."""
        for file in [file for file in self._parts if self.part_path(file).name == name]:
            self.pause(file)
        (self._parts_folder / name).unlink(missing_ok=True)

    def empty_trash(self) -> None:
        """Callable on any thread."""
        for path in self.trash.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def survey(self) -> Survey:
        """Scans everything, on any thread. Changes during the scan may be missed."""
        objects, jobs = {}, {}
        for user_dir in _entries(self.objects):
            for entry in _entries(user_dir):
                objects[f"{user_dir.name}/{entry.name}"] = _size_and_time(entry)
        for job in _entries(self._jobs):
            jobs[job.name] = sum(_size_and_time(entry)[0] for entry in _entries(job))
        parts = {entry.name: _size_and_time(entry) for entry in _entries(self._parts_folder)}
        return Survey(objects, parts, jobs, self.free_bytes())

    def job_folders(self) -> list[str]:
        """Returns the jobs with files."""
        return [entry.name for entry in _entries(self._jobs)]

    def hidden(self, text: str) -> str:
        """Removes the spool's path from a text, which clients must not see."""
        return text.replace(str(self.folder), "SPOOL")

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def _writable(self, file: UserFile, part: _Part | None) -> _Part:
        """Opens a partial upload, if it is not open, and closes the one that was written least recently."""
        part = part or _Part(Digest(), 0)
        if part.fd is None:
            part.fd = os.open(self.part_path(file), os.O_RDWR | os.O_CREAT, 0o600)
            self._go_on(part)
        for parts in (self._parts, self._open):
            parts[file] = part
            parts.move_to_end(file)
        if len(self._open) > MOST_OPEN:
            least = self._open.popitem(last=False)[1]
            least.close()
            least.digest.hexdigest()  # the pieces that wait for it would stay in memory
        if len(self._parts) > MOST_HASHED:
            self._parts.popitem(last=False)[1].digest.hexdigest()
        return part

    def _go_on(self, part: _Part) -> None:
        """Puts the position behind the received bytes, and hashes those that an earlier daemon received."""
        assert part.fd is not None
        if os.lseek(part.fd, 0, os.SEEK_END) < part.length:  # somebody cut the file
            part.digest, part.length = Digest(), 0
        os.lseek(part.fd, part.length, os.SEEK_SET)
        while block := os.read(part.fd, READ_SIZE):
            part.digest.update(block)
            part.length += len(block)

    def _dropped(self, file: UserFile, reason: str) -> TransferFailed:
        self.part_path(file).unlink(missing_ok=True)
        return TransferFailed(f"{file.sha256[:12]}: {reason}")


OWN = ("objects", "parts", "jobs", "work", "orders", "tmp", "trash", "jobs.db")
"""Names in a spool that are the daemon's."""


def _claim(folder: Path) -> None:
    """Marks a folder as a spool. Raises `RequestError` for a folder with such names and without the mark."""
    mark = folder / SPOOL_MARK
    if mark.is_file():
        return
    if taken := [name for name in OWN if os.path.lexists(folder / name)]:
        raise RequestError(
            f"{folder} has {taken[0]} in it and no {SPOOL_MARK}: those files may be somebody else's, "
            "and a daemon would delete them",
            f"Choose an empty folder with --spool. If it is a daemon's spool, put a file {SPOOL_MARK} into it.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_bytes(SPOOL_TEXT)


def _make_private(folder: Path) -> None:
    """Frames, prompts and results are private from other users of this machine."""
    try:
        folder.chmod(0o700)
    except PermissionError:
        log.warning("the spool %s belongs to another user, who decides who can read it", folder)


def _entries(folder: os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, float]:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0, 0.0
    return found.st_size, found.st_mtime


def _fsync_folder(folder: Path) -> None:
    """A rename is on disk only after its folder is synced; a system that cannot open folders orders it itself."""
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
        return SpoolFull(f"the daemon's spool is full: {free / 2**20:.0f} MB are free")
    log.error("the spool %s cannot be written: %s", folder, error)
    return SpoolFull(f"the daemon's spool cannot be written: {error.strerror}")
