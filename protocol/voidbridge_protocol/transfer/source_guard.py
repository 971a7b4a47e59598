"""Recognizes the source files of a job by their content, so that no result is written over one."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from voidbridge_protocol.errors import OverwritesSource
from voidbridge_protocol.request import FrameFile

from .atomic_files import temporary
from .hashing import sha256_of

HASHERS = 4
"""Files that are hashed at once."""


class SourceGuard:
    """The sources of one job: plates, mattes, affected mattes and painted frames.

    A file counts as a source if it has the content of one, or if it is one of `paths` under any name. The name may
    be a symbolic link, a hard link, or other letter case on a file system that ignores case.
    """

    def __init__(self, files: Iterable[FrameFile] = (), paths: Iterable[Path] = ()) -> None:
        """`files` name sources by content, `paths` by where they lie. Paths without a file are skipped.

        Without `files`, `check` hashes the paths that have the size of a target.
        """
        self._hashes: dict[int, set[str]] = {}
        for file in files:
            self._hashes.setdefault(file.size, set()).add(file.sha256)
        self._identities: set[tuple[int, int]] = set()
        self._unhashed: dict[int, list[Path]] = {}
        for path in paths:
            with suppress(OSError, ValueError):
                found = path.stat()
                self._identities.add((found.st_dev, found.st_ino))
                self._unhashed.setdefault(found.st_size, []).append(path)
        if self._hashes:
            self._unhashed = {}

    def is_source(self, path: Path) -> bool:
        """Reads the file only if its size is the size of a source. A path without a file is no source."""
        identity = _identity(path)
        if identity is None:
            return False
        if identity in self._identities:
            return True
        try:
            hashes = self._hashes.get(path.stat().st_size)
            return bool(hashes) and sha256_of(path)[0] in (hashes or ())
        except OSError:
            return False

    def check(self, targets: Iterable[Path]) -> None:
        """Raises `OverwritesSource` if writing one of `targets` would replace a source.

        The temporary file beside a target counts too: it is written first.
        """
        places = list(targets)
        suspects = [place for place in places if any(map(self._may_be_source, _written(place)))]
        if not suspects:
            return
        with ThreadPoolExecutor(HASHERS, "source-guard") as threads:
            self._hash_sources(suspects, threads)
            found = list(
                threads.map(lambda place: any(map(self.is_source, _written(place))), suspects)
            )
        hits = [place for place, is_hit in zip(suspects, found, strict=True) if is_hit]
        if hits:
            count = (
                f"; {len(hits)} of {len(places)} results would hit a source"
                if len(places) > 1
                else ""
            )
            raise OverwritesSource(
                f"{hits[0]} is a source of this job and would be overwritten{count}"
            )

    def _hash_sources(self, suspects: list[Path], threads: ThreadPoolExecutor) -> None:
        """Hashes the sources of `paths` that have the size of a file which one of `suspects` replaces."""
        sizes = set()
        for place in suspects:
            for path in _written(place):
                with suppress(OSError):
                    sizes.add(path.stat().st_size)
        alike = [path for size in sizes for path in self._unhashed.pop(size, [])]
        for found in threads.map(_digest, alike):
            if found:
                self._hashes.setdefault(found[1], set()).add(found[0])

    def _may_be_source(self, path: Path) -> bool:
        """By identity and size only."""
        try:
            found = path.stat()
        except (OSError, ValueError):
            return False
        sizes = self._hashes.keys() | self._unhashed.keys()
        return (found.st_dev, found.st_ino) in self._identities or found.st_size in sizes


def _written(target: Path) -> tuple[Path, Path]:
    """The files that writing `target` replaces."""
    return target, temporary(target)


def _digest(path: Path) -> tuple[str, int] | None:
    """None for a file that cannot be read: the one who sends it says so."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode behind every link; None if there is no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
