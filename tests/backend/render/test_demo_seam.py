"""On the demo shot, the fill meets the plate as the true clean plate does that is composited the same way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from voidbridge_backend.engines.base import Clip, InputSpec, JobContext, Pixels
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.tools.demo.shot import DemoShot
from voidbridge_protocol.operations.remove import RemoveSettings

RunShot = Callable[..., Any]
SHOT = DemoShot(height=216, width=384, length=24)
MIDDLE = (1007, 1014)
"""The frames that are completed, and the others are handles. With --full the shot is made whole."""


@dataclass(frozen=True)
class TrueCleanPlate:
    """Knows what is behind the object."""

    truths: dict[int, Pixels]
    name: str = "truth"

    def input_spec(self, height: int, width: int, settings: RemoveSettings) -> InputSpec:
        return InputSpec("scene", joins=True, grained=True)

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name}

    def remove(
        self,
        clip: Clip,
        settings: RemoveSettings,
        watch: JobContext,
        wanted: Collection[int] | None = None,
    ) -> Iterator[tuple[int, Pixels]]:
        for frame in clip.frames:
            if clip.has_hole(frame):
                yield frame, self.truths[frame]


def rgb(light: Pixels) -> bytes:
    return new_file({name: light[..., i].astype(np.float16) for i, name in enumerate("RGB")})


def test_the_seam_of_cleanplate_is_that_of_the_true_clean_plate(
    run_shot: RunShot, full: bool
) -> None:
    wanted = None if full else MIDDLE
    drawn = {frame.frame: frame for frame in SHOT}
    plates = {number: rgb(frame.plate) for number, frame in drawn.items()}
    mattes, affected = (
        {n: new_file({"A": getattr(frame, role).astype(np.float16)}) for n, frame in drawn.items()}
        for role in ("primary", "affected")
    )
    truths = {number: frame.truth for number, frame in drawn.items()}
    best = run_shot(plates, mattes, TrueCleanPlate(truths), wanted, affected=affected)
    ours = run_shot(plates, mattes, None, wanted, affected=affected, engine="cleanplate")
    ideal, found = best.provenance["quality"], ours.provenance["quality"]
    assert found["seam_energy"] <= ideal["seam_energy"]
    assert found["grain_match"] == pytest.approx(ideal["grain_match"], rel=0.1)
    assert found["outside_differing"] == 0
    assert found["warnings"] == ideal["warnings"] == []
