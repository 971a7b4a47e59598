"""The form of a model's answer: its JSON schema, and the check of everything that comes back. Pure.

Pictures are counted from 0 in the order in which they were sent. Cells are (row, column) of the grid, from 0.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

Cell = tuple[int, int]

MOST_BELONGINGS, MOST_ARTEFACTS, MOST_OBJECTS = 3, 5, 5
MOST_PLACES = 32
"""Places or points of a path that one entry may have."""
MOST_TEXT = 2000
FATES = ("stays", "moves", "should_have_stayed")


class WrongForm(ValueError):
    """The answer has another form than the schema. Its text goes back to the model once."""


@dataclass(frozen=True)
class Place:
    """Where something is in one picture."""

    picture: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Thing:
    """Something with a noun: a belonging, a visual artefact or a physical object.

    `path` and `original` are for physical objects: where one that moves will be once the primary object is gone,
    and where one should have stayed.
    """

    noun: str
    places: tuple[Place, ...]
    fate: str = ""
    path: tuple[Place, ...] = ()
    original: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Answer:
    belongings: tuple[Thing, ...]
    artefacts: tuple[Thing, ...]
    objects: tuple[Thing, ...]
    scene: str
    """The scene without the object: the prompt of the engine `void`."""
    confidence: float
    corrections: tuple[str, ...] = ()
    """Values that lay outside of the pictures or of the grid and were moved inside."""


@dataclass
class Grid:
    """Brings values into the range that exists, and keeps a note of each that did not."""

    pictures: int
    rows: int
    columns: int
    corrections: list[str] = field(default_factory=list)

    def picture(self, value: Any) -> int:
        return self._inside("picture", value, self.pictures)

    def cells(self, value: Any) -> tuple[Cell, ...]:
        found = []
        for pair in _list("cells", value, self.rows * self.columns):
            if not isinstance(pair, list) or len(pair) != 2:
                raise WrongForm("a cell is not [row, column]")
            row, column = pair
            found.append(
                (self._inside("row", row, self.rows), self._inside("column", column, self.columns))
            )
        return tuple(dict.fromkeys(found))

    def _inside(self, name: str, value: Any, size: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongForm(f"{name} is {value!r:.40} and no whole number")
        clamped = min(max(value, 0), size - 1)
        if clamped != value:
            self.corrections.append(f"{name} {value!r:.40} became {clamped}")
        return clamped


def schema() -> dict[str, Any]:
    """The strict JSON schema that is sent with the question."""
    cells = {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}
    place = _object({"picture": {"type": "integer"}, "cells": cells})
    places = {"type": "array", "items": place}
    noun = {"type": "string"}
    thing = _object({"noun": noun, "places": places})
    physical = _object(
        {
            "noun": noun,
            "places": places,
            "fate": {"type": "string", "enum": list(FATES)},
            "path": places,
            "original_cells": cells,
        }
    )
    return _object(
        {
            "belongings": {"type": "array", "items": thing},
            "artefacts": {"type": "array", "items": thing},
            "objects": {"type": "array", "items": physical},
            "scene_without": {"type": "string"},
            "confidence": {"type": "number"},
        }
    )


def parsed(text: str, grid: Grid) -> Answer:
    """The answer in this text. Cells and pictures that do not exist are moved inside. Raises `WrongForm`."""
    try:
        found = json.loads(unfenced(text))
    except (ValueError, RecursionError) as error:
        raise WrongForm(f"this is not JSON: {str(error)[:120]}") from error
    if not isinstance(found, dict):
        raise WrongForm("the answer is not a JSON object")
    confidence = _of(found, "confidence")
    if isinstance(confidence, bool) or not isinstance(confidence, int | float):
        raise WrongForm("confidence is not a number")
    if isinstance(confidence, int):
        confidence = min(max(confidence, 0), 1)  # an integer may be too large for a float
    return Answer(
        _things(found, "belongings", grid, MOST_BELONGINGS),
        _things(found, "artefacts", grid, MOST_ARTEFACTS),
        _things(found, "objects", grid, MOST_OBJECTS),
        _text(found, "scene_without"),
        min(max(float(confidence), 0.0), 1.0) if math.isfinite(confidence) else 0.0,
        tuple(grid.corrections),
    )


def _things(found: dict[str, Any], name: str, grid: Grid, most: int) -> tuple[Thing, ...]:
    things = []
    for entry in _list(name, _of(found, name), most):
        if not isinstance(entry, dict):
            raise WrongForm(f"an entry of {name} is not an object")
        noun, places = _text(entry, "noun"), _places(entry, "places", grid)
        if name != "objects":
            things.append(Thing(noun, places))
            continue
        fate = _of(entry, "fate")
        if fate not in FATES:
            raise WrongForm(f"fate is {fate!r:.40} and not one of {', '.join(FATES)}")
        path = _places(entry, "path", grid)
        original = grid.cells(_of(entry, "original_cells"))
        things.append(Thing(noun, places, fate, path, original))
    return tuple(things)


def _places(entry: dict[str, Any], name: str, grid: Grid) -> tuple[Place, ...]:
    found = []
    for place in _list(name, _of(entry, name), MOST_PLACES):
        if not isinstance(place, dict):
            raise WrongForm(f"an entry of {name} is not an object")
        cells = grid.cells(_of(place, "cells"))
        found.append(Place(grid.picture(_of(place, "picture")), cells))
    return tuple(sorted(found, key=lambda one: one.picture))


def _of(entry: dict[str, Any], name: str) -> Any:
    if name not in entry:
        raise WrongForm(f"{name} is missing")
    return entry[name]


def _list(name: str, value: Any, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise WrongForm(f"{name} is not a list")
    if len(value) > most:
        raise WrongForm(f"{name} has {len(value)} entries; {most} at most")
    return value


def _text(entry: dict[str, Any], name: str) -> str:
    value = _of(entry, name)
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise WrongForm(f"{name} is not text of up to {MOST_TEXT} letters")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", value).strip()


def unfenced(text: str) -> str:
    """Without the fence ```json ... ``` that some models put around JSON."""
    found = re.fullmatch(r"\s*```(?:json)?\s*(.*?)\s*```\s*", text, re.DOTALL)
    return found[1] if found else text


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
