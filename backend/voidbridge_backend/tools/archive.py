"""Archives versions of a host's results: copies them to another place, verifies every copy, and only then deletes.

PLACE/NODE-ID/v003/...              the files of the version
                   manifest.json    their sizes and SHA-256, written last
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from voidbridge_protocol import __version__
from voidbridge_protocol.errors import NotArchived, VoidbridgeError
from voidbridge_protocol.transfer.atomic_files import disk_error, write_whole

RECORD = "version.json"
"""Every version has it. A folder without it is no version, and is left alone."""
AT_WORK = "job.json"
"""A version of Nuke has it until the end of its job was seen."""
MANIFEST = "manifest.json"
PIECE = 1 << 20


@dataclass(frozen=True)
class ArchivedFile:
    """One file, as it was read."""

    sha256: str
    size: int
    changed: int
    """Time of its last change, in nanoseconds."""


@dataclass(frozen=True)
class ArchivedVersion:
    """One version in the archive."""

    source: str
    place: str
    files: int
    bytes: int
    deleted: bool
    """False after a copy, and if the source holds files that came meanwhile."""


def archive(
    folders: Sequence[Path], place: Path, move: bool, on_file: Callable[[int, int], None]
) -> list[ArchivedVersion]:
    """Copies each version to `place`; with `move` deletes it there where it was. `on_file` may raise to stop.

    Raises `NotArchived` before anything is copied for what is no version, and for a copy that differs.
    """
    plans = [(folder, _target(folder, place)) for folder in folders]
    total = sum(len(_files(folder)) for folder, _ in plans)
    done, found = 0, []
    for folder, target in plans:
        names = _files(folder)

        def on_next(number: int, before: int = done) -> None:
            on_file(before + number, total)

        try:
            if target.exists():
                read = _again(folder, target, names)
            else:
                read = _copied(folder, target, names, on_next)
        except OSError as error:
            raise _refusal(target, error) from error
        done += len(names)
        deleted = move and _deleted(folder, read)
        size = sum(file.size for file in read.values())
        found.append(ArchivedVersion(str(folder), str(target), len(read), size, deleted))
    return found


def _target(folder: Path, place: Path) -> Path:
    if not (folder / RECORD).is_file():
        raise NotArchived(f"{folder} is no version: it has no {RECORD}")
    if (folder / AT_WORK).exists() or _is_at_work(folder):
        raise NotArchived(f"{folder} is still at work", "Wait for its job, or cancel it.")
    inside, outside = os.path.realpath(place), os.path.realpath(folder)
    if (inside + os.sep).startswith(outside + os.sep):
        raise NotArchived(f"{place} lies inside of {folder}", "Choose a place outside.")
    target = place / folder.absolute().parent.name / folder.name
    if os.path.realpath(target) == outside:
        raise NotArchived(f"{folder} lies in {place} already", "Choose another place.")
    return target


def _is_at_work(folder: Path) -> bool:
    """A version of Fusion whose child has not ended."""
    if not (folder / "started.txt").exists() or (folder / "ended.txt").exists():
        return False
    try:
        return bool(json.loads((folder / "status.json").read_bytes())["phase"] == "working")
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _files(folder: Path) -> list[str]:
    """Names of the plain files. Raises `NotArchived` for a link, whose file may be of somebody else."""
    names = sorted(os.listdir(folder))
    for name in names:
        if (folder / name).is_symlink():
            raise NotArchived(f"{folder / name} is a link", "Take it out of the folder.")
    return [name for name in names if (folder / name).is_file()]


def _copied(
    folder: Path, target: Path, names: list[str], on_file: Callable[[int], None]
) -> dict[str, ArchivedFile]:
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        read = {}
        for done, name in enumerate(names):
            on_file(done)
            read[name] = _copy(folder / name, part / name)
        _verify(part, read)
        told = {name: {"sha256": f.sha256, "size": f.size} for name, f in read.items()}
        manifest = {
            "generator": "voidbridge archive",
            "version": __version__,
            "from": str(folder.absolute()),
            "files": told,
        }
        write_whole(part / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
        os.rename(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return read


def _copy(source: Path, target: Path) -> ArchivedFile:
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("xb") as write:
        changed = os.fstat(read.fileno()).st_mtime_ns
        while piece := read.read(PIECE):
            digest.update(piece)
            write.write(piece)
        write.flush()
        os.fsync(write.fileno())
        size = write.tell()
    with suppress(OSError):
        shutil.copystat(source, target)
    return ArchivedFile(digest.hexdigest(), size, changed)


def _verify(place: Path, read: dict[str, ArchivedFile]) -> None:
    """Reads every copy again. Raises `NotArchived` for one that differs from its source."""
    for name, file in read.items():
        if _hash(place / name) != file.sha256:
            raise NotArchived(f"the copy of {name} differs from it")


def _again(folder: Path, target: Path, names: list[str]) -> dict[str, ArchivedFile]:
    """The files of a version that is archived already. Raises `NotArchived` if the archive holds other files."""
    try:
        listed = json.loads((target / MANIFEST).read_bytes())["files"]
        known = {str(name): str(file["sha256"]) for name, file in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotArchived(
            f"{target} exists, and its {MANIFEST} cannot be read", "Choose another place."
        ) from error
    read = {}
    for name in names:
        state = (folder / name).stat()
        read[name] = ArchivedFile(_hash(folder / name), state.st_size, state.st_mtime_ns)
    if {name: file.sha256 for name, file in read.items()} != known:
        raise NotArchived(f"{target} exists and holds other files", "Choose another place.")
    _verify(target, read)
    return read


def _deleted(folder: Path, read: dict[str, ArchivedFile]) -> bool:
    """Deletes the files that are archived, if none has changed since. Returns whether the folder is gone."""
    for name, file in read.items():
        state = (folder / name).stat()
        if (state.st_size, state.st_mtime_ns) != (file.size, file.changed):
            raise NotArchived(f"{folder / name} changed while it was archived")
    for name in read:
        (folder / name).unlink()
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            with suppress(OSError):
                entry.rmdir()
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _refusal(target: Path, error: OSError) -> VoidbridgeError:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return NotArchived(f"{error.filename or target}: {error.strerror}")
    place = target
    while not place.parent.exists():
        place = place.parent
    return disk_error(place, error)
