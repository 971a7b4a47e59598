"""The mattes of one object over a shot, and the file of one frame with the mattes of all of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.mask_base import Matte
from voidbridge_backend.exr.header import Window
from voidbridge_backend.exr.new.parts import new_parts
from voidbridge_backend.exr.part import Part
from voidbridge_backend.imaging.grid import combined
from voidbridge_backend.sequences.patterns import compact

JUMP = 1.6
"""A matte whose area changes by more than this factor from one frame to the next is worth a look."""
SURE = 0.5
"""Frames with a lower score are named in a note."""


@dataclass
class ObjectMattes:
    """One object's mattes in the engine's size, compressed, with the engine's scores."""

    name: str
    role: str
    size: tuple[int, int]
    scores: dict[int, float] = field(default_factory=dict)
    areas: dict[int, float] = field(default_factory=dict)
    _packed: dict[int, bytes] = field(default_factory=dict)

    def add(self, frame: int, matte: Matte, score: float) -> None:
        self._packed[frame] = zlib.compress(np.round(matte * 255).astype(np.uint8).tobytes(), 1)
        self.areas[frame] = float((matte > 0.5).mean())
        self.scores[frame] = score if self.areas[frame] else 0.0

    def area(self, frame: int) -> NDArray[np.bool_]:
        """The pixels of the object in the engine's size."""
        return self._small(frame) > 0.5

    def matte(self, frame: int, size: tuple[int, int]) -> Matte:
        """The matte enlarged to (height, width), 0 to 1."""
        large = cv2.resize(self._small(frame), size[::-1], interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.clip(large, 0, 1), np.float32)

    def _small(self, frame: int) -> Matte:
        codes = np.frombuffer(zlib.decompress(self._packed[frame]), np.uint8).reshape(self.size)
        return codes.astype(np.float32) / np.float32(255)

    @property
    def absent(self) -> list[int]:
        return sorted(frame for frame, area in self.areas.items() if not area)

    def notes(self) -> list[str]:
        """Returns warnings about results that an artist should check."""
        name, order = self.name, sorted(self.areas)
        found = []
        jumps = [
            now for before, now in pairwise(order) if _jumps(self.areas[before], self.areas[now])
        ]
        unsure = [f for f in order if self.scores[f] < SURE and self.areas[f]]
        if self.absent:
            found.append(f"{name} is not there in frames {compact(self.absent)}")
        if jumps:
            found.append(f"the area of {name} jumps at frames {compact(jumps)}: correct it there")
        if unsure:
            found.append(f"the track of {name} is uncertain in frames {compact(unsure)}")
        return found


def _jumps(before: float, now: float) -> bool:
    return bool(before and now) and not 1 / JUMP <= now / before <= JUMP


def encoded(
    mattes: Mapping[str, tuple[str, Matte]],
    like: Part,
    canvas: Window,
    attributes: Mapping[str, str],
    *,
    is_first: bool,
    grid: bool,
    alone: bool = False,
    layered: bool = False,
) -> bytes:
    """A file with the part `quadmask` and, unless it is to be `alone`, one part for each matte.

    `layered` replaces the quadmask by the part `rgba`: A and B are removed, R is affected, G the quadmask.
    `mattes` are (role, [height, width] of the canvas) by name. Windows are those of `canvas` and `like`.
    """
    size = canvas.height, canvas.width
    remove = union(size, [m for role, m in mattes.values() if role != "affected"])
    affected = union(size, [m for role, m in mattes.values() if role == "affected"])
    codes = combined(remove, affected, is_first=is_first, grid=grid)
    code = (codes / np.float32(255)).astype(np.float16)
    parts = {"quadmask": {"Y": code}}
    if layered:
        red, alpha = (
            soft_union(size, [m for role, m in mattes.values() if (role == "affected") == wanted])
            for wanted in (True, False)
        )
        parts = {"rgba": {"R": red, "G": code, "B": alpha, "A": alpha}}
    if not alone:
        parts |= {name: {"A": matte.astype(np.float16)} for name, (_, matte) in mattes.items()}
    return new_parts(parts, like, canvas, attributes)


def union(size: tuple[int, int], mattes: Sequence[Matte]) -> NDArray[np.bool_]:
    """Pixels of (height, width) that any of the mattes covers by more than half."""
    found = np.zeros(size, bool)
    for matte in mattes:
        found |= matte > 0.5
    return found


def soft_union(size: tuple[int, int], mattes: Sequence[Matte]) -> NDArray[np.float16]:
    """The largest of the mattes at each pixel of (height, width), 0 to 1."""
    found = np.zeros(size, np.float32)
    for matte in mattes:
        found = np.maximum(found, matte)
    return found.astype(np.float16)
