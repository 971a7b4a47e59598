"""An answer in pixels: affected areas by frame, and prompts for things that can be tracked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .answer import Answer, Cell, Place, Thing

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class GridLayout:
    """The pictures' frames, and the grid over a plate of `height` x `width` pixels."""

    frames: Sequence[int]
    rows: int
    columns: int
    height: int
    width: int

    def mask(self, cells: Sequence[Cell]) -> Mask:
        """The pixels of these cells [height, width]."""
        found = np.zeros((self.height, self.width), bool)
        for row, column in cells:
            left, top, right, bottom = self.box([(row, column)])
            found[top:bottom, left:right] = True
        return found

    def box(self, cells: Sequence[Cell]) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) around the cells in pixels, the last two excluded."""
        rows, columns = [row for row, _ in cells], [column for _, column in cells]
        return (
            min(columns) * self.width // self.columns,
            min(rows) * self.height // self.rows,
            (max(columns) + 1) * self.width // self.columns,
            (max(rows) + 1) * self.height // self.rows,
        )


def affected(answer: Answer, layout: GridLayout, frame: int) -> Mask:
    """The affected area of one frame.

    Artefacts and objects that stay keep their cells from one picture to the next. A box that moves is
    interpolated in frame time, with a cell more on each side. One that should have stayed covers where it is
    and where it was.
    """
    cells: list[Cell] = []
    for thing in (*answer.artefacts, *answer.objects):
        cells += _held(thing.places, layout, frame)
        cells += thing.original if thing.fate == "should_have_stayed" else ()
        if thing.fate == "moves":
            cells += _swept(thing, layout, frame)
    return layout.mask(cells)


def prompts(answer: Answer, layout: GridLayout) -> dict[str, Any]:
    """Boxes for `mask --prompts`: belongings, and objects that are to be tracked, each where it is first seen."""
    objects = []
    roles = [(thing, "belonging") for thing in answer.belongings]
    roles += [(thing, "affected") for thing in answer.objects]
    for number, (thing, role) in enumerate(roles):
        seen = [place for place in thing.places if place.cells]
        if not seen:
            continue
        edges = dict(
            zip(("left", "top", "right", "bottom"), layout.box(seen[0].cells), strict=True)
        )
        box = {"frame": layout.frames[seen[0].picture], **edges}
        objects.append({"name": _name(thing.noun, number), "role": role, "boxes": [box]})
    return {"objects": objects}


def described(answer: Answer) -> Mapping[str, Any]:
    """The answer for its file and for programs."""

    def thing(one: Thing) -> dict[str, Any]:
        places = [{"picture": p.picture, "cells": list(map(list, p.cells))} for p in one.places]
        path = [{"picture": p.picture, "cells": list(map(list, p.cells))} for p in one.path]
        found: dict[str, Any] = {"noun": one.noun, "places": places}
        if one.fate:
            found |= {"fate": one.fate, "path": path, "original_cells": [*map(list, one.original)]}
        return found

    return {
        "belongings": [thing(one) for one in answer.belongings],
        "artefacts": [thing(one) for one in answer.artefacts],
        "objects": [thing(one) for one in answer.objects],
        "scene_without": answer.scene,
        "confidence": answer.confidence,
        "corrections": list(answer.corrections),
    }


def _held(places: Sequence[Place], layout: GridLayout, frame: int) -> list[Cell]:
    """The cells of the latest picture up to this frame; of the first picture before it."""
    past = [place for place in places if layout.frames[place.picture] <= frame]
    chosen = past[-1:] or list(places[:1])
    return [cell for place in chosen for cell in place.cells]


def _swept(thing: Thing, layout: GridLayout, frame: int) -> list[Cell]:
    """The cells of the box on its way, interpolated between the pictures of the path."""
    keys = [place for place in (*thing.places[:1], *thing.path) if place.cells]
    if not keys:
        return []
    times = [layout.frames[place.picture] for place in keys]
    order = np.argsort(times, kind="stable")
    boxes = np.array([_extent(keys[index].cells) for index in order], np.float64)
    moments = [times[index] for index in order]
    middle = [float(np.interp(frame, moments, boxes[:, side])) for side in range(4)]
    top, left = int(np.floor(middle[0])) - 1, int(np.floor(middle[1])) - 1
    bottom, right = int(np.ceil(middle[2])) + 1, int(np.ceil(middle[3])) + 1
    return [
        (row, column)
        for row in range(max(top, 0), min(bottom, layout.rows - 1) + 1)
        for column in range(max(left, 0), min(right, layout.columns - 1) + 1)
    ]


def _extent(cells: Sequence[Cell]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right), all included."""
    rows, columns = [row for row, _ in cells], [column for _, column in cells]
    return min(rows), min(columns), max(rows), max(columns)


def _name(noun: str, number: int) -> str:
    """A name that an object of `mask` may have."""
    word = re.sub(r"[^A-Za-z0-9]+", "-", noun).strip("-")[:24]
    return f"{word if word[:1].isalpha() else 'object'}-{number + 1}"
