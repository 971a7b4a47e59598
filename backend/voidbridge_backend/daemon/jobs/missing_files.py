"""Tracks the files that each job still lacks, and the space that they will need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from voidbridge_backend.daemon.files.spool import Spool, UserFile
from voidbridge_protocol.errors import RequestError, SpoolFull

MOST_PARTIAL = 1000
"""Maximum number of partial files in a list for a client. It restarts all others, which is only slower."""

Standing = tuple[list[int], list[tuple[int, int]]]
"""Missing files of a list, by index, and received bytes of the partial ones."""


class MissingFiles:
    """Grows with each submitted job and shrinks with each received file. Looks up existing files in the spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lacks: dict[str, set[UserFile]] = {}
        self._by: dict[UserFile, tuple[str, ...]] = {}
        self._sizes: dict[UserFile, int] = {}
        self._to_come = 0

    def __contains__(self, file: UserFile) -> bool:
        return file in self._by

    def add(self, job: str, files: Mapping[UserFile, int], there: Set[UserFile]) -> None:
        """A job of these files, with their sizes. `there` are those that lie in the spool."""
        lacks = self._lacks[job] = files.keys() - there
        shared = lacks & self._by.keys()
        new = lacks - shared
        self._by.update(dict.fromkeys(new, (job,)))
        sizes = list(map(files.__getitem__, new))
        self._sizes.update(zip(new, sizes, strict=True))
        self._to_come += sum(sizes)
        for file in shared:
            self._by[file] += (job,)

    def size(self, file: UserFile) -> int | None:
        """Bytes with which a job announced this file, which is to come."""
        return self._sizes.get(file)

    def require_agreement(self, files: Mapping[UserFile, int]) -> None:
        """Raises `RequestError` for a file that another job announced with another size."""
        for file in files.keys() & self._sizes.keys():
            if files[file] != self._sizes[file]:
                raise RequestError(
                    f"the file {file.sha256[:12]} is announced with {files[file]} bytes; another job "
                    f"of {file.user} announced {self._sizes[file]}",
                    "Hash the files again: one of the two is wrong.",
                )

    def drop(self, job: str) -> None:
        """Removes the job. Calling it again is harmless."""
        for file in self._lacks.pop(job, set()):
            others = tuple(other for other in self._by[file] if other != job)
            if others:
                self._by[file] = others
            else:
                self._come(file)

    def arrived(self, file: UserFile) -> list[str]:
        """Returns the jobs that waited for this file."""
        if file not in self._by:
            return []
        jobs = self._come(file)
        for job in jobs:
            self._lacks[job].discard(file)
        return sorted(jobs)

    def missing(self, job: str) -> set[UserFile]:
        """Returns the files for which the job still waits."""
        return self._lacks.get(job, set())

    def room(self, files: Mapping[UserFile, int], there: Set[UserFile]) -> int:
        """Returns the bytes still to come: promised ones, and new ones among these files."""
        fresh = files.keys() - there - self._by.keys()
        return self._to_come + sum(map(files.__getitem__, fresh))

    def require_room(
        self, files: Mapping[UserFile, int], there: Set[UserFile], keep_free: int
    ) -> None:
        """Raises `SpoolFull` if these files do not fit beside the promised bytes and the reserve."""
        need, free = self.room(files, there) + keep_free, self._spool.free_bytes()
        if need > free:
            raise SpoolFull(
                f"the job needs {_shown(need)} in the daemon's spool, with what is promised to others "
                f"and kept free; {_shown(free)} are free"
            )

    def parts(self) -> set[str]:
        """Returns names in the folder of parts for which some job waits."""
        return {self._spool.part_path(file).name for file in self._by}

    def of_job(
        self, job: str, files: Sequence[UserFile], partial: Mapping[UserFile, int]
    ) -> Standing:
        """What is to come of a job that waits. `partial` has the bytes that are there of unfinished files."""
        lacks = self.missing(job)
        need = [index for index, file in enumerate(files) if file in lacks]
        parts = [(index, have) for index in need if (have := partial.get(files[index], 0))]
        return need, parts[:MOST_PARTIAL]

    def _come(self, file: UserFile) -> tuple[str, ...]:
        """Removes a file that nobody waits for any more. Returns the jobs that did."""
        self._to_come -= self._sizes.pop(file)
        return self._by.pop(file)


def _shown(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 1 << 30 else f"{size / 2**20:.1f} MB"
