"""Files that jobs still lack: which job which file, and how much room they will take."""

from __future__ import annotations

from collections.abc import Mapping

from .spool import Owned, Spool


class Wanted:
    """Grows with each job that is submitted, shrinks with each file that arrives. Asks the spool what is there."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lacks: dict[str, set[Owned]] = {}
        self._by: dict[Owned, set[str]] = {}
        self._sizes: dict[Owned, int] = {}

    def __contains__(self, file: Owned) -> bool:
        return file in self._by

    def add(self, job: str, files: Mapping[Owned, int]) -> None:
        """A job of these files, with their sizes."""
        lacks = self._lacks[job] = {file for file in files if not self._spool.has(file)}
        for file in lacks:
            self._by.setdefault(file, set()).add(job)
            self._sizes[file] = files[file]

    def drop(self, job: str) -> None:
        """The job waits for nothing any more. Once more is harmless."""
        for file in self._lacks.pop(job, set()):
            others = self._by[file]
            others.discard(job)
            if not others:
                del self._by[file], self._sizes[file]

    def arrived(self, file: Owned) -> list[str]:
        """Jobs that waited for this file."""
        jobs = self._by.pop(file, set())
        self._sizes.pop(file, None)
        for job in jobs:
            self._lacks[job].discard(file)
        return sorted(jobs)

    def lacks(self, job: str) -> set[Owned]:
        """What the job still waits for."""
        return self._lacks.get(job, set())

    def room(self, files: Mapping[Owned, int]) -> int:
        """Bytes that are still to come: those promised already, and of these files what is new."""
        fresh = (
            size
            for file, size in files.items()
            if file not in self._by and not self._spool.has(file)
        )
        return sum(self._sizes.values()) + sum(fresh)

    def parts(self) -> set[str]:
        """Names in the folder of parts that some job waits for."""
        return {self._spool.part_path(file).name for file in self._by}
