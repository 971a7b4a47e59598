"""Adds the areas that rules find around tracked objects, as objects with the role `affected`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voidbridge_backend.engines.affected import rules
from voidbridge_backend.engines.affected.background import Background, Mask
from voidbridge_backend.engines.base import JobContext
from voidbridge_backend.engines.mask_base import Pictures

from .object_mattes import ObjectMattes


@dataclass(frozen=True)
class Seen:
    """A shot in the engine's size (height, width)."""

    picture: Pictures
    frames: Sequence[int]
    size: tuple[int, int]


def offered(
    shot: Seen, tracked: Sequence[ObjectMattes], wanted: Sequence[str], watch: JobContext
) -> list[ObjectMattes]:
    """One object for each rule, named after it. A rule that finds nothing is told as a note."""
    removed = [mattes for mattes in tracked if mattes.role != "affected"]
    done, of = 0, 2 * len(shot.frames)

    def objects(frame: int) -> Mask:
        area = np.zeros(shot.size, bool)
        for mattes in removed:
            area |= mattes.area(frame)
        return area

    def heartbeat() -> None:
        nonlocal done
        watch.step(f"finding {', '.join(wanted)}", min(done, of), of)
        done += 1

    background = Background(shot.picture, objects, shot.frames, shot.size, heartbeat)
    found = {rule: ObjectMattes(rule, "affected", shot.size) for rule in wanted}
    for one in rules.apply(background, wanted, heartbeat):
        found[one.rule].add(one.frame, one.region.astype(np.float32), 1.0)
    for rule, mattes in found.items():
        if len(mattes.absent) == len(shot.frames):
            watch.warn(
                f"the rule {rule} found nothing; it needs an object that moves in front of its background"
            )
    return list(found.values())
