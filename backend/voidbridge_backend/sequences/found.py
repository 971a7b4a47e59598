"""Finds sequences and clips by a name: a pattern, a file, a clip, or a folder with just one of them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from voidbridge_backend.formats.clip_length import frames_in
from voidbridge_backend.formats.kinds import STILLS, SUFFIXES, is_clip
from voidbridge_protocol.errors import BadPattern

from .patterns import Sequence, frames_for

_NUMBERED = re.compile(r"(.*?)(-?\d+)(\.\w+)$")
MOST_LISTED = 8


def find(text: str) -> Sequence:
    """The sequence, file or clip of this name; of a folder the only one in it.

    Raises `BadPattern`, which lists what a folder holds if that is not just one; a clip's `RequestError`;
    `MissingFrames` if nothing has this name, and no picture could get it later.
    """
    if text and os.path.isdir(text):
        return _only_one(Path(text), text)
    path = Path(text)
    if is_clip(path) and path.is_file():
        return clip(path)
    sequence = Sequence.parse(text)
    if sequence.single is not None and path.suffix.lower() not in SUFFIXES and not path.exists():
        frames_for(sequence, None)  # says what there is instead
    return sequence


def clip(path: Path) -> Sequence:
    """A clip's frames, numbered from 1."""
    return Sequence(path.parent, path.name, "", 0, clip=frames_in(path), offset=1)


def numbered_from(sequence: Sequence, first: int) -> Sequence:
    """The same files under other numbers: the first that is there becomes `first`."""
    there = sequence.scan()
    if not there:
        return sequence
    if sequence.single is not None:
        return replace(sequence, single=first)
    return replace(sequence, offset=sequence.offset + first - there[0])


def paired(sequence: Sequence, plate: Sequence) -> Sequence:
    """A matte's files under the plate's numbers where they have none of their own to go by.

    Two single files belong together, whatever numbers are in their names; a clip begins with the plate.
    """
    if plate.single is not None and sequence.single is not None:
        return replace(sequence, single=plate.single)
    frames = plate.scan()
    return replace(sequence, offset=frames[0]) if sequence.clip and frames else sequence


def _only_one(folder: Path, text: str) -> Sequence:
    found = sequences_in(folder)
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadPattern(
            f"the folder {text} holds no frames and no clip",
            f"It was looked for {', '.join(SUFFIXES)}; name the files themselves if they have another ending.",
        )
    names = [f"{Path(str(sequence)).name} ({len(sequence.scan())})" for sequence in found]
    listed = ", ".join(names[:MOST_LISTED])
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    raise BadPattern(
        f"the folder {text} holds {len(found)} sequences: {listed}{more}",
        "Name one of them.",
    )


def sequences_in(folder: Path | str) -> list[Sequence]:
    """Every sequence, single file and clip in a folder. Raises `BadPattern` if it cannot be read."""
    folder = Path(folder)
    numbers: dict[tuple[str, str], list[str]] = defaultdict(list)
    found: list[Sequence] = []
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise BadPattern(f"the folder {folder} cannot be read: {error.strerror}") from error
    for name in names:
        ending = Path(name).suffix.lower()
        if name.startswith(".") or not (folder / name).is_file():
            continue
        match = _NUMBERED.fullmatch(name)
        if is_clip(Path(name)):
            found.append(clip(folder / name))
        elif ending in STILLS and match:
            # A hyphen between words is no sign, as in shot-1001.
            sign = match[2].startswith("-") and match[1] and match[1][-1] not in "._"
            prefix, digits = (match[1] + "-", match[2][1:]) if sign else (match[1], match[2])
            numbers[prefix, match[3]].append(digits)
        elif ending in STILLS:
            found.append(Sequence(folder, name, "", 0, 1))
    for (prefix, suffix), digits in numbers.items():
        padded = {
            len(text) for text in digits if text.lstrip("-").startswith("0") and len(text) > 1
        }
        shortest = min(map(len, digits))
        width = min(padded) if padded else shortest if shortest > 3 else 0
        found.append(Sequence(folder, prefix, suffix, width))
    return found
