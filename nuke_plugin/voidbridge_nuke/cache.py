"""Plates and results on disk: the folders of a node, its versions, what is complete and what is stale.

    CACHE/NODE-ID/v003/plate.main.1001.exr matte.main.1001.exr result.main.1001.exr
                       result.main.1001-1100.voidbridge.json   the command's own record, written last
                       version.json                     what was asked for, written before
                       job.json                         commands, until the end of the job was seen
                       status.main.json output.main.txt the child's state and output

A version is never written twice. Only `delete` ends one that holds a result, and only if the artist says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import re
from dataclasses import dataclass
from typing import Callable, Sequence

from .knobs import Value
from .operations import ROLES
from .request import NodeError, NodeRequest, described, files

RECORD = "version.json"
JOB = "job.json"
"""The commands of an unfinished job, so that another session continues it."""

Mapped = Callable[[str], str]
"""Turns a path of the script into that of this machine, as a host's filename filters do."""


def _same(path: str) -> str:
    return path


@dataclass(frozen=True)
class Version:
    """One result, or an attempt at one. Folders have forward slashes."""

    number: int
    folder: str
    """As the script spells it."""
    place: str
    """As this machine opens it."""
    frames: tuple[int, int]
    views: tuple[str, ...]
    made_with: dict[str, Value]

    @property
    def name(self) -> str:
        return name_of(self.number)

    @property
    def called(self) -> str:
        """Its name for the artist. It marks previews, which must not be delivered."""
        made_with = self.made_with
        is_preview = made_with.get("engine") == "void" and made_with.get("quality") == "preview"
        return self.name + " (preview)" if is_preview else self.name


def name_of(number: int) -> str:
    """Formats a version number as v003."""
    return f"v{number:03d}"


def home(cache: str, script: str, temporary: str, node_id: str) -> str:
    """Returns the folder of a node's versions. `script` is empty until it is saved.

    A relative cache folder is beside the script, because Nuke's own current folder depends on how it was started.
    """
    beside = (
        posixpath.dirname(script.replace("\\", "/")) if script else temporary.replace("\\", "/")
    )
    base = cache.replace("\\", "/") or "voidbridge"
    if not re.match(r"/|[A-Za-z]:", base):
        base = posixpath.join(beside, base)
    return posixpath.join(base.rstrip("/"), node_id)


def begin(
    folder: str, homes: Sequence[str], request: NodeRequest, mapped: Mapped = _same, last: int = 0
) -> Version:
    """Creates a version in the home `folder`, numbered after all versions in `homes`. Raises `NodeError`.

    It is also numbered after `last`, so that no number of a deleted or archived version comes back.
    """
    known = [version.number for version in versions(homes, mapped)]
    number = max([*known, *_numbers(mapped(folder)), last]) + 1
    while True:
        made = posixpath.join(folder, name_of(number))
        version = Version(
            number,
            made,
            mapped(made),
            request.wanted,
            request.views,
            described(request),
        )
        try:
            os.makedirs(version.place)
        except FileExistsError:  # another Nuke has the same script open
            number += 1
            continue
        except OSError as error:
            raise _refusal(version.place, error) from error
        try:
            _write_record(version)
        except OSError as error:
            raise _refusal(version.place, error) from error
        return version


def versions(homes: Sequence[str], mapped: Mapped = _same) -> list[Version]:
    """Returns every version with a record in any of the homes, by number."""
    found: dict[int, Version] = {}
    for folder in homes:
        for number in _numbers(mapped(folder)):
            version = read(posixpath.join(folder, name_of(number)), mapped)
            if version is not None:
                found[number] = version
    return [found[number] for number in sorted(found)]


def read(folder: str, mapped: Mapped = _same) -> Version | None:
    """Reads the version in a folder, or None if it has no readable record."""
    place = mapped(folder)
    number = re.match(r"^v(\d+)$", posixpath.basename(folder))
    try:
        with open(os.path.join(place, RECORD), encoding="utf-8") as file:
            record = json.load(file)
        if number is None:
            return None
        first, last = record["frames"]
        return Version(
            int(number.group(1)),
            folder,
            place,
            (int(first), int(last)),
            tuple(record["views"]),
            record["made_with"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def missing_frames(version: Version) -> list[str]:
    """Returns the names of missing result frames."""
    wanted = []
    for view in version.views:
        pattern = posixpath.basename(files(version.folder, "result", view))
        wanted += [pattern % frame for frame in range(version.frames[0], version.frames[1] + 1)]
    return _absent(version.place, wanted)


def missing(version: Version) -> list[str]:
    """Returns the names of missing result files, the command's records included."""
    records = [result_record(version, view) for view in version.views]
    return missing_frames(version) + _absent(version.place, records)


def result_record(version: Version, view: str = "%V") -> str:
    """Returns the name of the record that the command writes last."""
    return f"result.{view}.{_spelled(version.frames)}.voidbridge.json"


def _absent(folder: str, names: Sequence[str]) -> list[str]:
    try:
        there = set(os.listdir(folder))
    except OSError:
        there = set()
    return [name for name in names if name not in there]


def is_complete(version: Version) -> bool:
    return not missing(version)


def size(version: Version) -> int:
    """Returns the bytes of a version's files."""
    total = 0
    for name in os.listdir(version.place):
        with contextlib.suppress(OSError):
            total += os.path.getsize(os.path.join(version.place, name))
    return total


def spelled_size(size: int) -> str:
    """As 3 MB or 1.2 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(round(size / 1e6), 1)} MB"


def delete(version: Version) -> bool:
    """Deletes a version's own files, results included. Returns False if the folder holds others, or is in use."""
    views = "|".join(map(re.escape, version.views))
    result = re.compile(rf"^result\.(?:{views})\.(?:-?\d+\.exr|[\d-]+\.voidbridge\.json)$")
    try:
        for name in os.listdir(version.place):
            if result.match(name):
                os.unlink(os.path.join(version.place, name))
    except OSError:
        return False
    return discard(version)


def discard(version: Version) -> bool:
    """Deletes an attempt without any result frame. Returns True if it did."""
    try:
        names = os.listdir(version.place)
        views, roles = "|".join(map(re.escape, version.views)), "|".join(ROLES)
        ours = re.compile(
            rf"^(?:(?:{roles})\.(?:{views})\.-?\d+\.exr(?:\.tmp)?"
            rf"|result\.(?:{views})\..+\.tmp|status\.(?:{views})\.json(?:\.cancel|\.tmp)?"
            rf"|output\.(?:{views})\.txt|(?:{re.escape(RECORD)}|{re.escape(JOB)})(?:\.tmp)?)$"
        )
        if not all(ours.match(name) for name in names):
            return False
        for name in names:
            os.unlink(os.path.join(version.place, name))
        os.rmdir(version.place)
    except OSError:
        return False
    return True


def status_file(view: str) -> str:
    """Returns the name of the file in which the child of a view keeps its state."""
    return f"status.{view}.json"


def output_file(view: str) -> str:
    """Returns the name of the file with the output of a view's child."""
    return f"output.{view}.txt"


def keep_job(version: Version, commands: Sequence[Sequence[str]]) -> None:
    """Records the commands of a version's views. Raises `NodeError`."""
    try:
        _write(os.path.join(version.place, JOB), [list(words) for words in commands])
    except OSError as error:
        raise _refusal(version.place, error) from error


def unfinished_job(version: Version) -> list[list[str]]:
    """Returns the commands of a job that nobody has seen the end of; empty if there is none."""
    try:
        with open(os.path.join(version.place, JOB), encoding="utf-8") as file:
            return [[str(word) for word in words] for words in json.load(file)]
    except (OSError, ValueError, TypeError):
        return []


def is_at_work(version: Version) -> bool:
    """Whether nobody has seen the end of its job. A damaged file of the job says so too."""
    return os.path.lexists(os.path.join(version.place, JOB))


def forget_job(version: Version) -> None:
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(version.place, JOB))


def _spelled(frames: tuple[int, int]) -> str:
    """As the command names its record: 1001-1100, or 1001 for one frame."""
    first, last = frames
    return f"{first}-{last}" if last > first else str(first)


def _write_record(version: Version) -> None:
    record = {"frames": version.frames, "views": version.views, "made_with": version.made_with}
    _write(os.path.join(version.place, RECORD), record)


def _write(path: str, value: object) -> None:
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=1, sort_keys=True))
    os.replace(path + ".tmp", path)


def _numbers(folder: str) -> list[int]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [int(name[1:]) for name in names if re.match(r"^v\d{3,}$", name)]


def _refusal(folder: str, error: OSError) -> NodeError:
    return NodeError(
        f"The folder {folder} cannot be written: {error.strerror or error}.",
        "Choose another cache folder on the tab Setup.",
    )
