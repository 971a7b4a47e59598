"""What the artist was told is in the record of the result, and not in its pixels' files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from voidbridge_backend.engines.base import Clip, JobContext, Pixels
from voidbridge_backend.engines.echo.engine import Echo
from voidbridge_backend.exr.new_file import new_file
from voidbridge_protocol.operations.remove import RemoveSettings


class Talkative(Echo):
    """Says in the middle of its work what it did with the memory."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def remove(
        self, clip: Clip, settings: RemoveSettings, watch: JobContext
    ) -> Iterator[tuple[int, Pixels]]:
        for found in super().remove(clip, settings, watch):
            watch.warn(self.text)
            yield found


def test_notes_are_recorded_and_do_not_change_the_frames(run_shot: Callable[..., Any]) -> None:
    plate = {"RGB"[i]: np.full((8, 12), 0.2 * i, np.float16) for i in range(3)}
    matte = np.zeros((8, 12), np.float16)
    matte[2:5, 3:7] = 1
    files = {1001: new_file(plate)}, {1001: new_file({"A": matte})}
    found = [run_shot(*files, engine_=Talkative(text)) for text in ("resident", "tiles")]
    for done, text in zip(found, ("resident", "tiles"), strict=True):
        assert done.provenance["notes"] == done.warnings
        assert text in done.warnings
    assert found[0].results == found[1].results
