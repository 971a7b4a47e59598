"""Finds out before any work whether results can be made where they would go. Standard library only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence as Files
from pathlib import Path

from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import OutputFormat, OutputUnwritable
from voidbridge_protocol.transfer.atomic_files import temporary

EXR_ENDINGS = (".exr", ".sxr")
"""As OpenEXR files are called; .sxr holds two views."""
NAME_BYTES = 255
"""Bytes of a file's name, as Linux, macOS and NTFS have it at most; used where a system does not say."""


def check_format(result: Sequence) -> None:
    """Raises `OutputFormat` if the result's name does not end as an OpenEXR file's."""
    name = result.prefix if result.single is not None else result.suffix
    if not name.lower().endswith(EXR_ENDINGS):
        ending = Path(result.prefix + result.suffix).suffix or "nothing"
        raise OutputFormat(f"{result} ends in {ending}, and a result is an OpenEXR file")


def check_places(targets: Files[Path]) -> None:
    """Raises `OutputUnwritable` if one of the files cannot be made, or its folder. Leaves nothing behind."""
    for folder in dict.fromkeys(target.parent for target in targets):
        _check_folder(folder)
    most = _longest_name(targets[0].parent) if targets else NAME_BYTES
    for target in targets:
        size = len(os.fsencode(temporary(target).name))
        if size > most:
            raise OutputUnwritable(
                f"the name {target.name} has {size} bytes while it is written, with .tmp; "
                f"the disk takes {most}",
                "Choose a shorter name with -o.",
            )
        if target.is_dir():
            raise OutputUnwritable(f"{target} is a folder")


def _check_folder(folder: Path) -> None:
    there = _nearest(folder)
    if not there.is_dir():
        raise OutputUnwritable(f"{there} is a file, and results would go below it")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputUnwritable(f"the folder {there} cannot be written")
    if there != folder.absolute():
        _check_new_folder(folder, there)


def _check_new_folder(folder: Path, there: Path) -> None:
    """Makes a folder beside the missing one and removes it: rights alone do not tell this of every disk."""
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".voidbridge-", dir=there))
    except OSError as error:
        raise OutputUnwritable(
            f"the folder {folder} cannot be made in {there}: {error.strerror}"
        ) from error


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    found = folder.absolute()
    while not os.path.lexists(found) and found != found.parent:
        found = found.parent
    return found


def _longest_name(folder: Path) -> int:
    if not hasattr(os, "pathconf"):
        return NAME_BYTES
    try:
        return os.pathconf(_nearest(folder), "PC_NAME_MAX")
    except (OSError, ValueError):
        return NAME_BYTES


def is_begun(path: Path, begin: bytes) -> bool:
    """Returns True if a killed command may have left the file: one that begins so, a part of that, or nothing."""
    try:
        with path.open("rb") as file:
            return begin.startswith(file.read(len(begin) or 1))
    except OSError:
        return False
