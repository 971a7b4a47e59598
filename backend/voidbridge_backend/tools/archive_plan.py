"""Decides which versions of a host's results can be archived whole, before anything is copied."""

from __future__ import annotations

import json
import os
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voidbridge_protocol.errors import NotArchived
from voidbridge_protocol.transfer.atomic_files import temporary

RECORD = "version.json"
"""Every version has it. A folder without it is no version, and is left alone."""
AT_WORK = "job.json"
"""A version of Nuke has it until the end of its job was seen."""
BEGUN = ("started.txt", "submitted.txt")
"""A version of Fusion has one of them since its child began, or since a farm has its job."""
ENDED = "ended.txt"
"""It has this one since the child ended."""
STATUS = "status.json"
MANIFEST = "manifest.json"
OURS = (MANIFEST, temporary(Path(MANIFEST)).name)
"""Names in the archive that no file of a version may have."""


@dataclass(frozen=True)
class ArchivePlan:
    folder: Path
    target: Path
    names: list[str]
    """Of the files that are left in the folder."""


def plans_of(folders: Sequence[Path], place: Path) -> list[ArchivePlan]:
    """Each version once. Raises `NotArchived` for the first that cannot be archived."""
    plans: dict[str, ArchivePlan] = {}
    targets: dict[str, Path] = {}
    for folder in folders:
        real = os.path.realpath(folder)
        if real in plans:
            continue
        try:
            plans[real] = _plan(folder, place)
        except OSError as error:
            raise NotArchived(f"{error.filename or folder}: {error.strerror}") from error
        target = plans[real].target
        other = targets.setdefault(_folded(str(target)), folder)
        if other is not folder:
            raise NotArchived(
                f"{other} and {folder} would both be {target}", "Choose another place for one."
            )
    return list(plans.values())


def _plan(folder: Path, place: Path) -> ArchivePlan:
    target = place / folder.absolute().parent.name / folder.name
    inside, outside = os.path.realpath(place), os.path.realpath(folder)
    if folder.is_symlink():
        raise NotArchived(f"{folder} is a link", f"Name the folder itself: {outside}")
    if (inside + os.sep).startswith(outside + os.sep):
        raise NotArchived(f"{place} lies inside of {folder}", "Choose a place outside.")
    if os.path.realpath(target) == outside:
        raise NotArchived(f"{folder} lies in {place} already", "Choose another place.")
    if not (folder / RECORD).is_file() and not _was_moved(folder, target):
        raise NotArchived(f"{folder} is not a version: it has no {RECORD}")
    if (folder / AT_WORK).exists() or _is_at_work(folder):
        raise NotArchived(f"{folder} is still at work", "Wait for its job, or cancel it.")
    names = files_of(folder) if exists(folder) else []
    for name in names:
        if _folded(name) in OURS:
            raise NotArchived(
                f"{folder / name} has the name of the archive's own list",
                "Delete it if this version was copied back from an archive. An archive itself is not archived.",
            )
    return ArchivePlan(folder, target, names)


def _was_moved(folder: Path, target: Path) -> bool:
    """Whether the archive was made from this folder, whose record a move has deleted already."""
    try:
        made_from = json.loads((target / MANIFEST).read_bytes())["from"]
        return os.path.realpath(str(made_from)) == os.path.realpath(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_at_work(folder: Path) -> bool:
    """A version of Fusion whose child has not ended, or has not begun on a farm."""
    started, submitted = ((folder / name).exists() for name in BEGUN)
    if not (started or submitted) or (folder / ENDED).exists():
        return False
    try:
        phase = json.loads((folder / STATUS).read_bytes())["phase"]
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return bool(phase == "working")


def files_of(folder: Path) -> list[str]:
    """Names of the files. Raises `NotArchived` for all that a copy of plain files would lose."""
    names, seen = [], dict[str, str]()
    for name in sorted(os.listdir(folder)):
        path = folder / name
        mode = path.lstat().st_mode
        advice = "Take it out of the folder."
        if stat.S_ISLNK(mode):
            raise NotArchived(f"{path} is a link", advice)
        if stat.S_ISDIR(mode):
            if os.listdir(path):
                raise NotArchived(f"{path} is a folder with files", advice)
            continue
        if not stat.S_ISREG(mode):
            raise NotArchived(f"{path} is not a plain file", advice)
        other = seen.setdefault(_folded(name), name)
        if other != name:
            raise NotArchived(f"{path} differs from {other} in case only", "Rename one of them.")
        names.append(name)
    return names


def _folded(name: str) -> str:
    """A name as file systems compare it that ignore case, or the form of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def exists(path: Path) -> bool:
    """Also if it is a link that leads nowhere."""
    return os.path.lexists(path)
