"""Files that jobs still lack: which job which file, and how much room they will take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from voidbridge_backend.daemon.files.spool import Spool, UserFile
from voidbridge_protocol.errors import SpoolFull
from voidbridge_protocol.messages import FrameFile

MOST_PARTIAL = 1000
"""Unfinished files that are listed to a client; it begins any further one anew, which is only slower."""

Standing = tuple[list[int], list[tuple[int, int]]]
"""Which files of a list are to come, by their place in it, and how much is there of those that are not whole."""


class MissingFiles:
    """Grows with each job that is submitted, shrinks with each file that arrives. Asks the spool what is there."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lacks: dict[str, set[UserFile]] = {}
        self._by: dict[UserFile, set[str]] = {}
        self._sizes: dict[UserFile, int] = {}
        self._to_come = 0

    def __contains__(self, file: UserFile) -> bool:
        return file in self._by

    def add(
        self, job: str, files: Mapping[UserFile, int], there: Set[UserFile] | None = None
    ) -> None:
        """A job of these files, with their sizes. `there` are those in the spool, for who knows that already."""
        if there is None:
            there = {file for file in files if self._spool.has(file)}
        lacks = self._lacks[job] = files.keys() - there
        for file in lacks:
            if file not in self._by:
                self._by[file] = set()
                self._sizes[file] = files[file]
                self._to_come += files[file]
            self._by[file].add(job)

    def drop(self, job: str) -> None:
        """The job waits for nothing any more. Once more is harmless."""
        for file in self._lacks.pop(job, set()):
            others = self._by[file]
            others.discard(job)
            if not others:
                self._come(file)

    def arrived(self, file: UserFile) -> list[str]:
        """Jobs that waited for this file."""
        if file not in self._by:
            return []
        jobs = self._come(file)
        for job in jobs:
            self._lacks[job].discard(file)
        return sorted(jobs)

    def missing(self, job: str) -> set[UserFile]:
        """What the job still waits for."""
        return self._lacks.get(job, set())

    def room(self, user: str, files: Sequence[FrameFile]) -> int:
        """Bytes that are still to come: those promised already, and of these files what is new."""
        fresh = (
            size
            for file, size in sizes_of(user, files).items()
            if file not in self._by and not self._spool.has(file)
        )
        return self._to_come + sum(fresh)

    def require_room(self, user: str, files: Sequence[FrameFile], keep_free: int) -> None:
        """Raises `SpoolFull` when these files do not fit beside what is promised and what is to be kept free."""
        need, free = self.room(user, files) + keep_free, self._spool.free_bytes()
        if need > free:
            raise SpoolFull(
                f"the job needs {_shown(need)} in the daemon's spool, with what is promised to others "
                f"and kept free; {_shown(free)} are free"
            )

    def parts(self) -> set[str]:
        """Names in the folder of parts that some job waits for."""
        return {self._spool.part_path(file).name for file in self._by}

    def of_job(self, job: str, user: str, files: Sequence[FrameFile]) -> Standing:
        """What is to come of a job that waits."""
        lacks = self.missing(job)
        return self._standing((i, file) for i, file in _numbered(user, files) if file in lacks)

    def of_files(self, user: str, files: Sequence[FrameFile]) -> Standing:
        """What is to come of files that no job waits for yet."""
        return self._standing(
            (i, file) for i, file in _numbered(user, files) if not self._spool.has(file)
        )

    def _standing(self, lacks: Iterable[tuple[int, UserFile]]) -> Standing:
        partial = [(i, self._spool.partial(file)) for i, file in lacks]
        return [i for i, _ in partial], [part for part in partial if part[1]][:MOST_PARTIAL]

    def _come(self, file: UserFile) -> set[str]:
        """Nobody waits for this file any more. Who did."""
        self._to_come -= self._sizes.pop(file)
        return self._by.pop(file)


def sizes_of(user: str, files: Sequence[FrameFile]) -> dict[UserFile, int]:
    """The files of a request, each once, with their sizes."""
    return {UserFile(user, file.sha256): file.size for file in files}


def _shown(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 1 << 30 else f"{size / 2**20:.1f} MB"


def _numbered(user: str, files: Sequence[FrameFile]) -> Iterable[tuple[int, UserFile]]:
    return enumerate(UserFile(user, file.sha256) for file in files)
