"""Prompts for the operation `mask` as they are typed: clicks, boxes, key mattes, nouns and roles. Pure.

--point FRAME:X,Y[:OBJECT]   --box FRAME:X0,Y0,X1,Y1[:OBJECT]   --key FRAME=MATTE.exr[:OBJECT]
--noun TEXT[:OBJECT]         --role OBJECT=ROLE
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.mask import Box, MaskObject, Point

OBJECT = "object"
"""The name of an object that nobody named."""
NUMBER = r"-?\d+(?:\.\d+)?"
CLICK = re.compile(rf"(-?\d+):({NUMBER}),({NUMBER})(?::([\w-]+))?")
BOX = re.compile(rf"(-?\d+):({NUMBER}),({NUMBER}),({NUMBER}),({NUMBER})(?::([\w-]+))?")
KEY = re.compile(r"(-?\d+)=(.+?)(?::([\w-]+))?")
NOUN = re.compile(r"([^:]+)(?::([\w-]+))?")
ROLE = re.compile(r"([\w-]+)=([\w-]+)")


@dataclass(frozen=True)
class TypedPrompts:
    """The words of the options, in the order in which they were typed."""

    points: Sequence[str] = ()
    negatives: Sequence[str] = ()
    boxes: Sequence[str] = ()
    keys: Sequence[str] = ()
    roles: Sequence[str] = ()
    nouns: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        words = self.points, self.negatives, self.boxes, self.keys, self.roles, self.nouns
        return not any(words)


@dataclass
class _Gathered:
    points: list[Point] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    keys: dict[int, Path] = field(default_factory=dict)
    role: str = "primary"
    noun: str = ""


def objects_of(typed: TypedPrompts) -> list[tuple[MaskObject, dict[int, Path]]]:
    """Each object with the files of its key mattes by frame, in the order of first mention. Raises `BadSetting`."""
    found: dict[str, _Gathered] = {}

    def of(name: str | None) -> _Gathered:
        return found.setdefault(name or OBJECT, _Gathered())

    for frame, x, y, name in _matches("--point", CLICK, typed.points, "FRAME:X,Y[:OBJECT]"):
        of(name).points.append(Point(int(frame), float(x), float(y)))
    for frame, x, y, name in _matches("--not", CLICK, typed.negatives, "FRAME:X,Y[:OBJECT]"):
        of(name).points.append(Point(int(frame), float(x), float(y), 0))
    for frame, *edges, name in _matches("--box", BOX, typed.boxes, "FRAME:X0,Y0,X1,Y1[:OBJECT]"):
        of(name).boxes.append(Box(int(frame), *map(float, edges)))
    for frame, path, name in _matches("--key", KEY, typed.keys, "FRAME=MATTE.exr[:OBJECT]"):
        of(name).keys[int(frame)] = Path(path)
    for noun, name in _matches("--noun", NOUN, typed.nouns, "TEXT[:OBJECT]"):
        if of(name).noun:
            raise BadSetting(
                f"the object {name or OBJECT} has two nouns, {of(name).noun!r} and {noun!r}",
                "Name another object behind a colon, as --noun 'the dog:dog'.",
            )
        of(name).noun = noun.strip()
    for name, role in _matches("--role", ROLE, typed.roles, "OBJECT=primary|belonging|affected"):
        if name not in found:
            raise BadSetting(
                f"--role {name}={role}: no prompt names the object {name}",
                f"The objects are: {', '.join(found) or 'none'}.",
            )
        found[name].role = role
    return [
        (
            MaskObject(
                name, g.role, tuple(g.points), tuple(g.boxes), tuple(sorted(g.keys)), g.noun
            ),
            g.keys,
        )
        for name, g in found.items()
    ]


def _matches(
    option: str, pattern: re.Pattern[str], words: Iterable[str], form: str
) -> Iterable[tuple[str, ...]]:
    for word in words:
        found = pattern.fullmatch(word)
        if found is None:
            raise BadSetting(
                f"{option} {word!r} cannot be read",
                f"Write it as {form}; pixels count from the top left corner.",
            )
        yield found.groups()
