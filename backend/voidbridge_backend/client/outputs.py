"""Decides before any work which existing files a command may replace.

Sources of the job are never replaced. Any other file is replaced only if it is a result of this tool, or if the
artist gave --overwrite. Standard library only, as for `submission`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from voidbridge_backend.exr.header import read_header
from voidbridge_backend.exr.seal import is_sealed
from voidbridge_backend.formats.wav import is_own_wav
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_backend.sequences.patterns import FrameRange, Sequence, compact
from voidbridge_protocol.errors import BadPattern, OutputExists, VoidbridgeError
from voidbridge_protocol.transfer.atomic_files import temporary
from voidbridge_protocol.transfer.source_guard import SourceGuard
from voidbridge_protocol.wire.messages import Request

from .output_places import EXR_ENDINGS, check_format, check_places, is_begun
from .submission import Submission, sidecar, sound_file

RESULT_ATTRIBUTE = "voidbridge/version"
"""Every result has it in its header. `seal` tells whether the pixels are the result's too."""
EXR_BEGIN = b"v/1\x01"
RECORD_BEGIN = b'{\n "generator": "voidbridge"'
"""First bytes of every record, so that a half one is told from a file of somebody else."""
READERS = 4
"""Existing files that are read at once."""
Target = tuple[Path, Callable[[Path], bool]]
"""A file to write, and the predicate that recognizes an existing one as this tool's."""


def check_run(
    submission: Submission, result: Sequence, overwrite: bool, frames_from_stdin: bool = False
) -> None:
    """Before anything is read in full or sent.

    Raises `OutputFormat`, `OutputUnwritable`, `OverwritesSource`, `OutputExists`.

    Sources are recognized by their path; `check_sources` recognizes copies once they are hashed. With
    `frames_from_stdin` and no range, frames may come whose result file already exists.
    """
    frames = [frame for first in list(submission.files.values())[:1] for frame in first.scan()]
    if submission.frames:
        frames = list(range(submission.frames.first, submission.frames.last + 1))
    elif frames_from_stdin and result.folder.is_dir():
        frames = sorted({*frames, *result.scan()})
    if result.single is not None and set(frames) - {result.single} and submission.frames:
        raise BadPattern(
            f"{result} is one file, and the results are {compact(frames)}",
            "Give the result with a placeholder for the frame, as result.%04d.exr.",
        )
    sources = [
        sequence.path(frame) for sequence in submission.files.values() for frame in sequence.scan()
    ]
    _check(result, frames, SourceGuard(paths=sources), overwrite, submission.settings.has_sound)


def check_sources(request: Request, result: Sequence) -> None:
    """Raises `OverwritesSource` if a target, or the sidecar, has the content of a source of `request`."""
    pictures, records = _targets(result, request.pictures)
    sounds = _sounds(result, request.pictures) if request.sound is not None else []
    SourceGuard(request.files).check([*pictures, *records, *sounds])


def check_together(shots: Iterable[tuple[Submission, Sequence]]) -> None:
    """Raises `OverwritesSource` if the result of a shot would replace a source of another one.

    Raises `OutputExists` if two shots would write the same file, under any name.
    """
    sources, places = [], []
    for submission, result in shots:
        for files in submission.files.values():
            sources += [files.path(frame) for frame in files.scan()]
        _, frames = submission.ranges()
        pictures, records = _targets(result, range(frames.first, frames.last + 1))
        places += [*pictures, *records]
    SourceGuard(paths=sources).check(places)
    names = Counter(os.path.normcase(os.path.realpath(place)) for place in places)
    if twice := [place for place in places if names[os.path.normcase(os.path.realpath(place))] > 1]:
        raise OutputExists(
            f"{twice[0]} is written by more than one shot", "Give each shot results of its own."
        )


def check_fetch(request: Request, result: Sequence, overwrite: bool) -> None:
    """Before the first byte is written. Raises as `check_run`."""
    has_sound = request.sound is not None
    _check(result, request.pictures, SourceGuard(request.files), overwrite, has_sound)


def _check(
    result: Sequence,
    frames: Collection[int],
    sources: SourceGuard,
    overwrite: bool,
    has_sound: bool = False,
) -> None:
    check_format(result)
    pictures, records = _targets(result, frames)
    sounds = _sounds(result, frames) if has_sound else []
    check_places([*pictures, *records, *sounds])
    sources.check([*pictures, *records, *sounds])
    if not overwrite:
        check_foreign(
            [
                *((path, is_sealed) for path in pictures),
                *((path, is_sidecar) for path in records),
                *((path, is_own_wav) for path in sounds),
            ]
        )


def check_foreign(targets: Iterable[Target], hint: str | None = None) -> None:
    """Raises `OutputExists` if a target exists and its predicate returns False.

    The temporary file beside a target counts too, unless a killed command may have left it.
    """
    places = list(targets)
    _check_there(places, hint)
    _check_there([(temporary(path), _unfinished(path, is_ours)) for path, is_ours in places], hint)


def _unfinished(target: Path, is_ours: Callable[[Path], bool]) -> Callable[[Path], bool]:
    """The predicate of the temporary file of `target`."""
    ending = target.suffix.lower()
    if ending in EXR_ENDINGS:
        return _is_unfinished_result
    return lambda path: is_ours(path) or is_begun(path, RECORD_BEGIN if ending == ".json" else b"")


def _check_there(places: list[Target], hint: str | None) -> None:
    there = [(path, is_ours) for path, is_ours in places if os.path.lexists(path)]
    with ThreadPoolExecutor(READERS) as threads:
        ours = threads.map(lambda one: one[1](one[0]), there)
        foreign = [path for (path, _), is_ours in zip(there, ours, strict=True) if not is_ours]
    if foreign:
        count = f"; {len(foreign)} of {len(places)} files are in the way" if foreign[1:] else ""
        raise OutputExists(
            f"{foreign[0]} exists and is not an unchanged result of Voidbridge{count}", hint
        )


def check_picture(picture: Path, sequences: Iterable[Sequence], overwrite: bool) -> None:
    """Checks the PNG of a report on `sequences`. Raises `OverwritesSource`, `OutputExists`."""
    paths = [sequence.path(frame) for sequence in sequences for frame in sequence.scan()]
    check_files([(picture, is_marked)], paths, overwrite)


def check_files(
    targets: Iterable[Target], sources: Iterable[Path], overwrite: bool, hint: str | None = None
) -> None:
    """Checks files that no job writes. Raises `OverwritesSource` and, without `overwrite`, `OutputExists`."""
    places = list(targets)
    SourceGuard(paths=sources).check([path for path, _ in places])
    if not overwrite:
        check_foreign(places, hint)


def _targets(result: Sequence, frames: Collection[int]) -> tuple[list[Path], list[Path]]:
    """The results' files and the sidecar; both empty if no frame is known yet."""
    numbers = frames if result.single is None else [result.single]
    if not numbers:
        return [], []
    record = sidecar(result, FrameRange(min(numbers), max(numbers)))
    return [result.path(frame) for frame in numbers], [record]


def _sounds(result: Sequence, frames: Collection[int]) -> list[Path]:
    return [sound_file(result, FrameRange(min(frames), max(frames)))]


def _is_unfinished_result(path: Path) -> bool:
    """Returns True if a killed command may have left the file: the begin of a result, or nothing."""
    if not is_begun(path, EXR_BEGIN):
        return False
    try:
        read_header(path)
    except VoidbridgeError:
        return True
    return has_attribute(path, RESULT_ATTRIBUTE)


def record_bytes(record: Mapping[str, Any]) -> bytes:
    """Returns the content of a record. Its generator comes first, as `RECORD_BEGIN` has it."""
    return json.dumps({"generator": "voidbridge", **record}, indent=1).encode() + b"\n"


def has_attribute(path: Path, attribute: str) -> bool:
    """Returns True if a file's header has this attribute."""
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
