"""Received frames on a node's own disk, by user and hash, bounded; the least recently used go first.

    CACHE/objects/USER/SHA256        a frame, whole
    CACHE/objects/.runs/RUN/SHA256   the frames of a running job: hard links, so that cleaning cannot take them
    CACHE/work/UNIT/RUN/             results and scratch of a running job; the only folder that its worker writes
    CACHE/work/UNIT/tmp/             temporary files of the worker
    CACHE/tmp/                       frames that are arriving

Several workers of a node share it. Files appear by a rename, and a lock on a file admits one that cleans.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

RUNS = ".runs"
PIECE = 8 << 20
"""Bytes read or sent at once."""
LEFT_OVER_S = 7 * 24 * 3600.0
"""Seconds after which the folders of a run that nobody ended are removed."""


class NodeCache:
    """The cache below `folder` with at most `capacity` bytes, the frames of running jobs not counted.

    `unit` is the card, counting from 0, whose worker this cache serves.
    """

    def __init__(self, folder: Path, capacity: int, unit: int = 0) -> None:
        self.folder, self._capacity = folder, capacity
        self._objects, self._tmp = folder / "objects", folder / "tmp"
        self.work = folder / "work" / str(unit)
        for path in (folder, self._objects, self._objects / RUNS, self.work, self._tmp):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def missing(self, user: str, names: Iterable[str]) -> list[str]:
        """Returns those hashes that the cache lacks, and marks the others as used now."""
        lacking = []
        for name in names:
            try:
                os.utime(self._path(user, name))
            except FileNotFoundError:
                lacking.append(name)
        return lacking

    def keep(self, user: str, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Keeps an arriving file, whole. Its worker checks the hash whenever it uses it.

        A file whose pieces end with an error leaves nothing.
        """
        target, part = self._path(user, name), self._part(uuid.uuid4().hex)
        try:
            with open(part, "wb", buffering=0, opener=_private) as file:
                for piece in pieces:
                    _write(file, piece)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)

    def import_file(self, user: str, name: str, source: Path) -> bool:
        """Copies a file of a shared disk. Returns False if it cannot be read, or there is no room for it."""
        try:
            with source.open("rb") as file:
                self.keep(user, name, iter(lambda: file.read(PIECE), b""))
        except OSError:
            return False
        return True

    def begin(self, run: str, user: str, names: Iterable[str]) -> list[str]:
        """Links the frames of a job and makes its folder. Returns the hashes that are missing, if any."""
        links = self.inputs(run)
        links.mkdir(mode=0o700, exist_ok=True)
        self.results(run).mkdir(mode=0o700, exist_ok=True)
        lacking = []
        for name in dict.fromkeys(names):
            try:
                os.link(self._path(user, name), links / name)
            except FileExistsError:
                pass
            except FileNotFoundError:
                lacking.append(name)
        return lacking

    def end(self, run: str) -> None:
        """Removes what belongs to a run."""
        shutil.rmtree(self.inputs(run), ignore_errors=True)
        shutil.rmtree(self.results(run), ignore_errors=True)

    def forget(self, user: str, names: Iterable[str]) -> None:
        """Drops frames that were found damaged."""
        for name in names:
            self._path(user, name).unlink(missing_ok=True)

    def inputs(self, run: str) -> Path:
        """Returns the folder with the links to a running job's frames."""
        return self._objects / RUNS / run

    def results(self, run: str) -> Path:
        """Returns the folder of a running job's results."""
        return self.work / _plain(run)

    def clean(self, now: float | None = None) -> int:
        """Removes the least recently used frames above the capacity, and what dead workers left.

        `now` is in seconds since the epoch. Returns the bytes that remain; 0 if another worker cleans already.
        """
        now = time.time() if now is None else now
        with _lock(self.folder / "lock") as is_ours:
            if not is_ours:
                return 0
            frames = sorted(
                (
                    (found.stat().st_mtime, found.stat().st_size, Path(found.path))
                    for user in _entries(self._objects)
                    if user.name != RUNS
                    for found in _entries(user)
                ),
                key=lambda frame: frame[0],
            )
            kept = sum(size for _, size, _ in frames)
            for _, size, path in frames:
                if kept <= self._capacity:
                    break
                path.unlink(missing_ok=True)
                kept -= size
            # A worker's own folder stays, because its sandbox would not know another of that name.
            units = [Path(unit.path) for unit in _entries(self.folder / "work")]
            temporary = [unit / "tmp" for unit in units]
            for folder in (self._objects / RUNS, self._tmp, *units, *temporary):
                _remove_older(folder, now - LEFT_OVER_S)
        return kept

    def _path(self, user: str, name: str) -> Path:
        return self._objects / _plain(user) / _plain(name)

    def _part(self, transfer: str) -> Path:
        return self._tmp / _plain(transfer)


def _plain(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is not a name of a file")
    return name


def _write(file: FileIO, data: bytes | memoryview) -> None:
    """Writes all of it; one call may write a part."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _entries(folder: os.PathLike[str]) -> list[os.DirEntry[str]]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        return list(found)
    return []


def _remove_older(folder: Path, before: float) -> None:
    for entry in _entries(folder):
        if entry.name == "tmp":
            continue
        with suppress(FileNotFoundError):
            if entry.stat(follow_symlinks=False).st_mtime >= before:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Yields True if this process holds the lock, False if another one does."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
