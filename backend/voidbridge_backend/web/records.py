"""Finds the files of a job on this machine, from the records that lie beside results."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from voidbridge_backend.client.submission import SIDECAR
from voidbridge_protocol.errors import VoidbridgeError

from .folders import Folders

MAX_FOLDERS = 5000
"""Folders that are looked through for records."""
MAX_DEPTH = 8
CLEAN = "clean"
"""Role of painted frames, of which a record names each file: 1050=/a/patch.exr, 1060=/a/other.exr."""
MAX_RECORD = 16 * 1024 * 1024
"""Bytes of a record, which names every source frame."""


def files_of(folders: Folders, job: str) -> dict[str, str]:
    """Patterns by role, and that of the result; empty if no named folder has a record of this job."""
    for path in _records(folders):
        record = _read(path)
        if record.get("job") != job:
            continue
        files = record.get("files")
        found = {str(role): str(name) for role, name in files.items()} if files else {}
        role, stem = ("matte", "quadmask") if record.get("operation") == "mask" else ("result", "")
        result = _result_beside(path, record, stem)
        return {**_allowed(folders, found), **({role: result} if result else {})}
    return {}


def _records(folders: Folders) -> Iterator[Path]:
    """Every record below the named folders, those of the newest folders first."""
    seen = 0
    waiting = [(folder, 0) for folder in folders.named]
    while waiting and seen < MAX_FOLDERS:
        folder, depth = waiting.pop(0)
        seen += 1
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                if depth < MAX_DEPTH:
                    waiting.append((Path(entry.path), depth + 1))
            elif entry.name.endswith(SIDECAR) and entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_RECORD:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _allowed(folders: Folders, files: dict[str, str]) -> dict[str, str]:
    """A record is a file like any other: it may name anything."""
    kept = {}
    for role, name in files.items():
        names = re.split(r", (?=-?\d+=)", name) if role == CLEAN else [name]
        try:
            for one in names:
                folders.allowed(painted_file(one) if role == CLEAN else one)
        except VoidbridgeError:
            continue
        kept[role] = "\n".join(names)
    return kept


def painted_file(word: str) -> str:
    """The path in a word of --clean: FRAME=FILE, or a pattern."""
    return re.sub(r"^-?\d+=", "", word)


def _result_beside(path: Path, record: dict[str, Any], stem: str = "") -> str:
    """The pattern of the results that this record describes; empty if they are not there.

    They have the record's own name if `stem` is empty.
    """
    frames = record.get("frames") or [0]
    first = frames[0] if isinstance(frames[0], int) else 0
    stem = stem or re.sub(r"\.-?\d+(--?\d+)?$", "", path.name.removesuffix(SIDECAR))
    shape = re.compile(re.escape(stem) + r"([._\-%# ]*)(-?0*" + str(abs(first)) + r")(\D*\.[es]xr)")
    for name in sorted(os.listdir(path.parent)):
        if match := shape.fullmatch(name):
            number = f"%0{len(match[2])}d"
            return str(path.parent / f"{stem}{match[1]}{number}{match[3]}")
    single = path.parent / f"{stem}.exr"
    return str(single) if single.is_file() else ""
