"""Archives versions of a host's results: copies them to another place, verifies every copy, and only then deletes.

PLACE/NODE-ID/v003/...              the files of the version
                   manifest.json    their sizes and SHA-256, written last

The same call again finishes what was stopped at any moment.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from voidbridge_backend.tools.archive_plan import (
    BEGUN,
    ENDED,
    MANIFEST,
    RECORD,
    STATUS,
    ArchivePlan,
    exists,
    files_of,
    plans_of,
)
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import DiskFull, NotArchived, VoidbridgeError
from voidbridge_protocol.transfer.atomic_files import disk_error, write_whole

PIECE = 1 << 20
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""Errors of file systems that cannot sync a folder."""


@dataclass(frozen=True)
class ArchivedFile:
    """One file, as it was read."""

    sha256: str
    size: int
    state: tuple[int, ...] = ()
    """Size, both times of change in nanoseconds, and the inode. Empty if the file is known from a manifest."""


Files = dict[str, ArchivedFile]


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
) -> Iterator[ArchivedVersion]:
    """Copies each version to `place`, and yields it; with `move` deletes it there where it was.

    `on_file` may raise to stop. Raises `NotArchived` before anything is copied for what is no version or cannot be
    archived whole, and later for a copy that differs. An error after the first version tells what was done before.
    """
    plans = plans_of(folders, place)
    total = sum(len(plan.names) for plan in plans)
    before = 0
    finished: list[ArchivedVersion] = []
    for plan in plans:

        def on_next(number: int, before: int = before) -> None:
            on_file(before + number, total)

        try:
            one = _archived(plan, place, move, on_next)
        except (OSError, VoidbridgeError) as error:
            raise _told(_refusal(plan, error), finished, len(plans)) from error
        before += len(plan.names)
        finished.append(one)
        yield one


def _archived(
    plan: ArchivePlan, place: Path, move: bool, on_file: Callable[[int], None]
) -> ArchivedVersion:
    if exists(plan.target):
        whole = _manifest(plan.target)
        read = _again(plan, whole, on_file)
    else:
        whole = read = _copied(plan, on_file)
    deleted = not exists(plan.folder)
    if move and not deleted:
        _sync(plan.target, place)
        deleted = _deleted(plan, read)
    size = sum(file.size for file in whole.values())
    return ArchivedVersion(str(plan.folder), str(plan.target), len(whole), size, deleted)


# -- the copy -----------------------------------------------------------------------------------


def _copied(plan: ArchivePlan, on_file: Callable[[int], None]) -> Files:
    part = _part(plan.target)
    part.mkdir(parents=True)
    try:
        read = {}
        for done, name in enumerate(plan.names):
            on_file(done)
            read[name] = _copy(plan.folder / name, part / name)
        _verify(part, read)
        told = {name: {"sha256": f.sha256, "size": f.size} for name, f in read.items()}
        manifest = {
            "generator": "voidbridge archive",
            "version": __version__,
            "from": str(plan.folder.absolute()),
            "files": told,
        }
        write_whole(part / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
        _sync_folder(part)
        os.rename(part, plan.target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return read


def _part(target: Path) -> Path:
    """A new name for the folder of an unfinished copy. Removes those of processes that are gone.

    The name has the machine, because a process of another one may be at work in the same place. A folder is renamed
    before it is removed: if its process runs after all, its own rename fails, and it deletes nothing.
    """
    machine = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
    begin = f".{target.name}.{machine}."

    def made() -> Path:
        return target.with_name(f"{begin}{os.getpid()}-{secrets.token_hex(4)}.part")

    if target.parent.is_dir():
        for path in target.parent.iterdir():
            found = re.fullmatch(re.escape(begin) + r"(\d+)-[0-9a-f]{8}\.part", path.name)
            if found and not _runs(int(found[1])):
                stale = made()
                with suppress(OSError):
                    path.rename(stale)
                    shutil.rmtree(stale)
    return made()


def _runs(pid: int) -> bool:
    """Whether another process has this number. On Windows nobody can tell without harm."""
    if pid == os.getpid():
        return False
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _copy(source: Path, target: Path) -> ArchivedFile:
    with source.open("rb") as read, target.open("xb") as write:
        file = _read(read, write)
        write.flush()
        os.fsync(write.fileno())
    with suppress(OSError):
        shutil.copystat(source, target)
    return file


def _read(file: BinaryIO, write: BinaryIO | None = None) -> ArchivedFile:
    state = _state(os.fstat(file.fileno()))
    digest, size = hashlib.sha256(), 0
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
        if write is not None:
            write.write(piece)
    return ArchivedFile(digest.hexdigest(), size, state)


def _state(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _verify(place: Path, read: Mapping[str, ArchivedFile]) -> None:
    """Reads every copy again. Raises `NotArchived` for one that differs from its source."""
    for name, file in read.items():
        if not stat.S_ISREG((place / name).lstat().st_mode):
            raise NotArchived(f"{place / name} is a link, or no plain file")
        with (place / name).open("rb") as copy:
            if _read(copy).sha256 != file.sha256:
                raise NotArchived(f"the copy of {name} differs from it")


# -- the same version again ---------------------------------------------------------------------


def _manifest(target: Path) -> Files:
    """Returns the files that the archive should hold. Raises `NotArchived` without a valid manifest."""
    try:
        listed = json.loads((target / MANIFEST).read_bytes())["files"]
        known = {
            str(name): ArchivedFile(str(file["sha256"]), int(file["size"]))
            for name, file in listed.items()
        }
        if any(os.path.basename(name) != name for name in known):
            raise ValueError("a name with a folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotArchived(
            f"{target} exists, and its {MANIFEST} cannot be read", "Choose another place."
        ) from error
    return known


def _again(plan: ArchivePlan, known: Files, on_file: Callable[[int], None]) -> Files:
    """The files that are left of a version that is archived already.

    Raises `NotArchived` if one of them is not in the archive, or the archive is not whole.
    """
    if plan.target.is_symlink():
        raise NotArchived(f"{plan.target} is a link", "Choose another place.")
    read = {}
    for done, name in enumerate(plan.names):
        on_file(done)
        with (plan.folder / name).open("rb") as file:
            read[name] = _read(file)
        if name not in known or read[name].sha256 != known[name].sha256:
            raise NotArchived(
                f"{plan.target} exists and holds other files", "Choose another place."
            )
        if os.path.samefile(plan.folder / name, plan.target / name):
            raise NotArchived(
                f"{plan.target / name} is not a copy: it is the file of the version itself",
                "Choose another place.",
            )
    _verify(plan.target, known)
    return read


# -- the end of the source ----------------------------------------------------------------------


def _sync(target: Path, place: Path) -> None:
    """Brings the folders of the archive to the disk. Raises `OSError`."""
    for folder in (target, target.parent, place):
        _sync_folder(folder)
    for folder in place.parents:  # this run may have made some of them
        with suppress(OSError):
            _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # it opens no folders
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(opened)


def _deleted(plan: ArchivePlan, read: Files) -> bool:
    """Deletes the files that are archived, if none has changed since. Returns whether the folder is gone."""
    folder = plan.folder
    for name in files_of(folder):
        if name not in read:
            raise NotArchived(f"{folder / name} came while it was archived")
    for name, file in read.items():
        state = _state((folder / name).lstat())
        if state != file.state or file.size != state[0]:
            raise NotArchived(f"{folder / name} changed while it was archived")
    for done, name in enumerate(sorted(read, key=_turn)):
        try:
            os.unlink(folder / name)
        except OSError as error:
            raise NotArchived(
                f"{folder / name} cannot be deleted: {error.strerror}",
                f"{done} of {len(read)} files were deleted. {plan.target} holds them all, verified. "
                "Repeat the command.",
            ) from error
    with suppress(OSError):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                entry.rmdir()
    with suppress(OSError):
        folder.rmdir()
    return not exists(folder)


def _turn(name: str) -> int:
    """The order of deletion: what is left of a version must never look as if it were at work."""
    if name in BEGUN:
        return 0
    return {ENDED: 2, STATUS: 2, RECORD: 3}.get(name, 1)


# -- errors -------------------------------------------------------------------------------------


def _refusal(plan: ArchivePlan, error: OSError | VoidbridgeError) -> VoidbridgeError:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = plan.target
        while not place.parent.exists():
            place = place.parent
        error = disk_error(place, error)
    if isinstance(error, DiskFull):
        return DiskFull(
            error.text,
            "Nothing of this version was deleted. Free space on that disk, or choose another place. "
            "Then repeat the command.",
        )
    if isinstance(error, OSError):
        return NotArchived(f"{error.filename or plan.target}: {error.strerror or error}")
    return type(error)(error.text, error.hint)


def _told(
    error: VoidbridgeError, finished: Sequence[ArchivedVersion], total: int
) -> VoidbridgeError:
    """The error with what was done before it."""
    if not finished:
        return error
    names = ", ".join(Path(one.source).name for one in finished)
    moved = sum(one.deleted for one in finished)
    text = f"{error.text}; {len(finished)} of {total} versions are in the archive, {moved} of them moved: {names}"
    return type(error)(text, error.hint)
