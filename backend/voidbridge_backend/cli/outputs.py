"""Decides before any work which existing files a command may replace.

Sources of the job are never replaced. Any other file is replaced only if it is a result of this tool, or if the
artist gave --overwrite. Standard library only, as for `submission`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from voidbridge_backend.exr.header import read_header
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_backend.sequences.patterns import FrameRange, Sequence
from voidbridge_protocol.errors import OutputExists, VoidbridgeError
from voidbridge_protocol.messages import Request
from voidbridge_protocol.source_guard import SourceGuard

from .output_places import check_format, check_places
from .submission import Submission, sidecar

RESULT_ATTRIBUTE = "voidbridge/version"
"""Every result has it in its header."""


def check_run(
    submission: Submission, result: Sequence, overwrite: bool, growing: bool = False
) -> None:
    """Before anything is read in full or sent.

    Raises `OutputFormat`, `OutputUnwritable`, `OverwritesSource`, `OutputExists`.

    Sources are recognized by their path; `check_sources` recognizes copies once they are hashed. With `growing`
    and no range, frames may come whose result file already exists.
    """
    frames = [frame for first in list(submission.files.values())[:1] for frame in first.scan()]
    if submission.frames:
        frames = list(range(submission.frames.first, submission.frames.last + 1))
    elif growing and result.folder.is_dir():
        frames = sorted({*frames, *result.scan()})
    sources = [
        sequence.path(frame) for sequence in submission.files.values() for frame in sequence.scan()
    ]
    _check(result, frames, SourceGuard(paths=sources), overwrite)


def check_sources(request: Request, result: Sequence) -> None:
    """Raises `OverwritesSource` if a target, or the sidecar, has the content of a source of `request`."""
    pictures, records = _targets(result, range(request.first, request.last + 1))
    SourceGuard(request.files).check([*pictures, *records])


def check_fetch(request: Request, result: Sequence, overwrite: bool) -> None:
    """Before the first byte is written. Raises as `check_run`."""
    frames = range(request.first, request.last + 1)
    _check(result, frames, SourceGuard(request.files), overwrite)


def _check(
    result: Sequence, frames: Collection[int], sources: SourceGuard, overwrite: bool
) -> None:
    check_format(result)
    pictures, records = _targets(result, frames)
    check_places([*pictures, *records])
    sources.check([*pictures, *records])
    if not overwrite:
        questions = [(path, is_result) for path in pictures]
        check_foreign([*questions, *((path, is_sidecar) for path in records)])


def check_foreign(
    targets: Iterable[tuple[Path, Callable[[Path], bool]]], hint: str | None = None
) -> None:
    """Raises `OutputExists` if a target exists and its predicate returns False."""
    places = list(targets)
    foreign = [path for path, is_ours in places if os.path.lexists(path) and not is_ours(path)]
    if foreign:
        count = f"; {len(foreign)} of {len(places)} files are in the way" if foreign[1:] else ""
        raise OutputExists(f"{foreign[0]} exists and is not a result of Voidbridge{count}", hint)


def check_picture(picture: Path, sequences: Iterable[Sequence], overwrite: bool) -> None:
    """Checks the PNG of a report on `sequences`. Raises `OverwritesSource`, `OutputExists`."""
    paths = [sequence.path(frame) for sequence in sequences for frame in sequence.scan()]
    SourceGuard(paths=paths).check([picture])
    if not overwrite:
        check_foreign([(picture, is_marked)])


def _targets(result: Sequence, frames: Collection[int]) -> tuple[list[Path], list[Path]]:
    """The results' files and the sidecar; both empty if no frame is known yet."""
    numbers = frames if result.single is None else [result.single]
    if not numbers:
        return [], []
    record = sidecar(result, FrameRange(min(numbers), max(numbers)))
    return [result.path(frame) for frame in numbers], [record]


def is_result(path: Path, attribute: str = RESULT_ATTRIBUTE) -> bool:
    """Returns True if a file's header shows that this tool made it."""
    try:
        header = read_header(path)
    except VoidbridgeError:
        return False
    names = {attribute.name for part in header.parts for attribute in part.attributes}
    return attribute in names


def is_sidecar(path: Path) -> bool:
    """Returns True if a file is the record that `run` and `fetch` write beside their results."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("generator") == "voidbridge"
