"""Painted clean frames as they are typed: --clean FRAME=FILE, or the pattern of a sequence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import ListedFiles, Sequence, frames_for
from voidbridge_protocol.errors import BadSetting

FRAME_FILE = re.compile(r"(-?\d+)=(.+)")


def clean_files(words: Iterable[str]) -> dict[str, Sequence]:
    """The files of the role `clean`; nothing without any words.

    Raises `BadSetting` for two files of one frame, and `RequestError` for a pattern without files.
    """
    files: dict[int, Path] = {}
    for frame, path in (pair for word in words for pair in _pairs(word)):
        if frame in files:
            raise BadSetting(
                f"--clean names two files for frame {frame}: {files[frame]} and {path}",
                "Merge the paint of a frame into one file.",
            )
        files[frame] = path
    return {"clean": ListedFiles.of(files)} if files else {}


def absolute_words(words: Iterable[str]) -> Iterator[str]:
    """The words of --clean with absolute paths."""
    for word in words:
        match = FRAME_FILE.fullmatch(word)
        yield f"{match[1]}={os.path.abspath(match[2])}" if match else os.path.abspath(word)


def _pairs(word: str) -> list[tuple[int, Path]]:
    match = FRAME_FILE.fullmatch(word)
    if match:
        return [(int(match[1]), Path(match[2]))]
    if word.startswith("=") or word.endswith("=") or not word.strip():
        raise BadSetting(
            f"--clean {word!r} names no frame and file",
            "Write it as --clean 1050=patch.exr, or name a sequence: --clean paint.####.exr.",
        )
    found = find(word)
    if found.clip:
        raise BadSetting(
            f"--clean {word} is a clip, which does not say which frames are painted",
            "Write the painted frames as files: --clean 1050=patch.exr.",
        )
    return [(frame, found.path(frame)) for frame in _there(found)]


def _there(sequence: Sequence) -> list[int]:
    """The frames that are there, gaps or not. Raises `MissingFrames` without any."""
    return sequence.scan() or frames_for(sequence, None)
