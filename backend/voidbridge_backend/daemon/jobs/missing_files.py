"""Tracks the files that each job still lacks, and the space that they will need."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from voidbridge_backend.daemon.store.spool import Spool, UserFile
from voidbridge_protocol.errors import RequestError, SpoolFull

log = logging.getLogger(__name__)

MOST_PARTIAL = 1000
"""Maximum number of partial files in a list for a client. It restarts all others, which is only slower."""

MissingIndices = tuple[list[int], list[tuple[int, int]]]
"""Missing files of a list, by index, and received bytes of the partial ones."""


class MissingFiles:
    """Grows with each submitted job and shrinks with each received file. Looks up existing files in the spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lacks: dict[str, set[UserFile]] = {}
        self._by: dict[UserFile, tuple[str, ...]] = {}
        self._shared: set[UserFile] = set()
        """Files for which more than one job waits."""
        self._sizes: dict[UserFile, int] = {}
        self._to_come: Counter[str] = Counter()
        """Promised bytes of each user."""
        self._released: set[str] = set()
        """Jobs that wait without a promise of room, as their clients are gone."""
        self._unpromised: set[UserFile] = set()
        """Files for which only such jobs wait."""

    def __contains__(self, file: UserFile) -> bool:
        return file in self._by

    def add(self, job: str, lacking: Mapping[UserFile, int]) -> None:
        """A job that lacks these files of one user, with their sizes.

        A job may have 60,000 of them, and others wait meanwhile: whole tables are merged, not file by file.
        """
        self._lacks[job] = set(lacking)
        shared = lacking.keys() & self._by.keys()
        new = lacking
        if shared:
            new = {file: size for file, size in lacking.items() if file not in shared}
        self._by.update(dict.fromkeys(new, (job,)))
        self._sizes.update(new)
        if new:
            self._to_come[next(iter(new)).user] += sum(new.values())
        for file in shared:
            self._by[file] += (job,)
        self._shared |= shared
        self._promise(shared)

    def is_promised(self, job: str) -> bool:
        """Returns False for a job whose room was given to others."""
        return job not in self._released

    def promise(self, job: str) -> None:
        """Keeps room for the missing files of the job again."""
        self._released.discard(job)
        self._promise(self.missing(job))

    def release(self, job: str) -> None:
        """Keeps no room for the missing files of the job any more; it waits for them all the same."""
        self._released.add(job)
        self._unpromise(self.missing(job))

    def _promise(self, files: Iterable[UserFile]) -> None:
        for file in self._unpromised.intersection(files):
            self._unpromised.discard(file)
            self._to_come[file.user] += self._sizes[file]

    def _unpromise(self, files: Iterable[UserFile]) -> None:
        for file in files:
            if file not in self._unpromised and self._released.issuperset(self._by[file]):
                self._unpromised.add(file)
                self._to_come[file.user] -= self._sizes[file]

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
        lacks = self._lacks.pop(job, set())
        shared = lacks & self._shared
        for file in shared:
            others = self._by[file] = tuple(other for other in self._by[file] if other != job)
            if len(others) == 1:
                self._shared.discard(file)
            self._unpromise([file])
        self._drop(lacks - shared if shared else lacks)
        self._released.discard(job)

    def _drop(self, files: set[UserFile]) -> None:
        """Removes files of one user for which nobody waits any more: a job may have 60,000 of them."""
        promised = files - self._unpromised if self._unpromised else files
        if promised:
            user = next(iter(promised)).user
            self._to_come[user] -= sum(map(self._sizes.__getitem__, promised))
        self._unpromised -= files
        for table in (self._sizes, self._by):
            if len(files) == len(table):
                table.clear()
            else:
                deque(map(table.__delitem__, files), maxlen=0)

    def arrived(self, file: UserFile) -> list[str]:
        """Returns the jobs that waited for this file."""
        if file not in self._by:
            return []
        jobs = self._come(file)
        for job in jobs:
            self._lacks[job].discard(file)
        return sorted(jobs)

    def jobs(self) -> list[str]:
        """Returns the jobs that wait for files."""
        return [job for job, lacks in self._lacks.items() if lacks]

    def missing(self, job: str) -> set[UserFile]:
        """Returns the files for which the job still waits."""
        return self._lacks.get(job, set())

    def room(self, user: str, lacking: Mapping[UserFile, int], share: int = 100) -> int:
        """Returns the free bytes with which `require_room` lets these files in."""
        fresh = self._fresh(lacking)
        own = self._to_come[user] + fresh
        return max(sum(self._to_come.values()) + fresh, own * 100 // share + 1)

    def _fresh(self, lacking: Mapping[UserFile, int]) -> int:
        """Returns the bytes of those files for which no room is promised yet."""
        promised = (lacking.keys() & self._by.keys()) - self._unpromised
        return sum(lacking.values()) - sum(map(lacking.__getitem__, promised))

    def require_room(
        self,
        user: str,
        lacking: Mapping[UserFile, int],
        keep_free: int,
        share: int = 100,
    ) -> None:
        """Raises `SpoolFull` if these files of `user` do not fit beside the promised bytes and the reserve.

        One user's promised bytes may take `share` percent of what is free.
        """
        free, fresh = self._spool.free_bytes(), self._fresh(lacking)
        own, room = self._to_come[user], max(free - keep_free, 0)
        others = sum(self._to_come.values()) - own
        held = f"your other jobs hold {_shown(own)} of that, other users {_shown(others)}"
        if own + others + fresh > room:
            largest = ", ".join(f"{who}: {_shown(n)}" for who, n in self._to_come.most_common(5))
            log.warning("no room for a job of %s; promised are %s", user, largest or "none")
            raise SpoolFull(
                f"the job needs {_shown(fresh)} in the daemon's spool, and {_shown(room)} are there: {held}",
                "The space for a job is freed five minutes after its client has left. "
                "Or free space on the daemon's disk.",
            )
        if fresh and own + fresh > room * share // 100:
            raise SpoolFull(
                f"the job needs {_shown(fresh)} in the daemon's spool; one user may hold {share} % "
                f"of {_shown(room)}: {held}",
                "Wait until frames of your other jobs have arrived, or raise the daemon's setting user_share.",
            )

    def parts(self) -> set[str]:
        """Returns names in the folder of parts for which some job waits."""
        return {self._spool.part_path(file).name for file in self._by}

    def of_job(
        self, job: str, files: Sequence[UserFile], partial: Mapping[UserFile, int]
    ) -> MissingIndices:
        """Returns the files to come of a job that waits. `partial` has the received bytes of unfinished files."""
        lacks = self.missing(job)
        if len(lacks) == len(files):
            need = list(range(len(files)))
        else:
            need = [index for index, file in enumerate(files) if file in lacks]
        if not partial:
            return need, []
        parts = [(index, have) for index in need if (have := partial.get(files[index], 0))]
        return need, parts[:MOST_PARTIAL]

    def _come(self, file: UserFile) -> tuple[str, ...]:
        """Removes a file that nobody waits for any more. Returns the jobs that did."""
        size = self._sizes.pop(file)
        self._shared.discard(file)
        if file in self._unpromised:
            self._unpromised.discard(file)
        else:
            self._to_come[file.user] -= size
        return self._by.pop(file)


def _shown(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 1 << 30 else f"{size / 2**20:.1f} MB"
