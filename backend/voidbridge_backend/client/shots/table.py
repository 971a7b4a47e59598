"""A table of shots, as TOML. Standard library only.

name = "reel 1"
rate = 24

[references]                   # stills that shots name
hero = "stills/hero.1001.exr"

[[shot]]                       # a clip that is kept
name = "sh010"
clip = "plates/a.####.exr"
frames = "1001-1050"           # else all

[[shot]]                       # a shot to generate
name = "sh020"
mode = "bridge"
length = 12
takes = 3
prompt = "rain on a red car"   # and any other setting of the command

[[shot]]
name = "sh030"
mode = "from-frame"
reference = "hero"
length = 24
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voidbridge_backend.client.small_files import read_small
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import FrameRange, frames_for
from voidbridge_protocol.errors import BadTimeline, VoidbridgeError

from .cut import OWN_FRAMES, Cut, Item, KeptClip, NewShot

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HINT = "docs/generate.md describes the table."
ENDING = ".toml"
OWN = ("name", "mode", "clip", "frames", "length", "reference", "takes", "before")


def read_table(path: Path) -> Cut:
    """Reads the file. Raises `BadTimeline` with the entry that is wrong, and what a clip fails of."""
    try:
        found = tomllib.loads(read_small(path).decode())
    except OSError as error:
        raise BadTimeline(
            f"{path} cannot be read: {error.strerror or error}", "Check the name after --shots."
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadTimeline(f"{path} cannot be read as TOML: {error}", HINT) from error
    rate, rows = found.get("rate", 24), found.get("shot")
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1000:
        raise BadTimeline(f"{path} has rate = {rate!r}", HINT)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadTimeline(f"{path} has no list of shots", HINT)
    references = found.get("references", {})
    if not isinstance(references, dict):
        raise BadTimeline(f"{path} has references = {references!r}", HINT)
    items = tuple(_item(path, row, at, references) for at, row in enumerate(rows, 1))
    return Cut(str(found.get("name", path.stem)), float(rate), items)


def _item(path: Path, row: Mapping[str, Any], at: int, references: Mapping[str, Any]) -> Item:
    name = row.get("name", f"shot{at:03d}")
    kinds = {"name": str, "mode": str, "clip": str, "frames": str, "reference": str}
    for word, kind in {**kinds, "length": int, "takes": int, "before": bool}.items():
        if word in row and type(row[word]) is not kind:
            raise BadTimeline(f"{path}: the shot {name} has {word} = {row[word]!r}", HINT)
    try:
        return _made(path, row, name, references)
    except VoidbridgeError as error:
        if name in error.text:
            raise
        raise type(error)(f"the shot {name}: {error.text}", error.hint) from error


def _made(path: Path, row: Mapping[str, Any], name: str, references: Mapping[str, Any]) -> Item:
    if "mode" not in row:
        if "clip" not in row:
            raise BadTimeline(f"{path}: the shot {name} has neither a clip nor a mode", HINT)
        if lost := sorted({*row} - {"name", "clip", "frames"}):
            raise BadTimeline(
                f"{path}: the shot {name} has {', '.join(lost)} but no mode, so it would only be kept",
                "Give it a mode, or take these words away.",
            )
    clip = _clip(path, row.get("clip"), row, name)
    if "mode" not in row:
        assert clip is not None
        return clip
    reference = row.get("reference")
    if reference is not None:
        clip = _clip(path, references.get(reference, reference), {}, name)
    if row["mode"] in OWN_FRAMES:
        if clip is None:
            raise BadTimeline(f"{path}: the shot {name} has no clip", HINT)
        length = len(clip.frames)
    elif "length" in row:
        length = row["length"]
    else:
        raise BadTimeline(f"{path}: the shot {name} has no length", HINT)
    settings = {word: value for word, value in row.items() if word not in OWN}
    return NewShot(
        name, row["mode"], length, settings, clip, row.get("takes", 0), row.get("before", False)
    )


def _clip(path: Path, text: Any, row: Mapping[str, Any], name: str) -> KeptClip | None:
    if text is None:
        return None
    media = find(str(path.absolute().parent / Path(str(text)).expanduser()))
    if "frames" in row:
        return KeptClip(name, media, FrameRange.parse(row["frames"]))
    there = media.scan() or frames_for(media, None)
    return KeptClip(name, media, FrameRange(there[0], there[-1]))
