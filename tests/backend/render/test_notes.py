"""The notes for the artist are in the record of the result, and not in its pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from voidbridge_backend.engines.base import Clip, JobContext, Pixels
from voidbridge_backend.engines.echo.engine import Echo
from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.operations.remove import RemoveSettings


class Talkative(Echo):
    """Says in the middle of its work what it did with the memory."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def remove(
        self,
        clip: Clip,
        settings: RemoveSettings,
        watch: JobContext,
        wanted: Collection[int] | None = None,
    ) -> Iterator[tuple[int, Pixels]]:
        for found in super().remove(clip, settings, watch, wanted):
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


def shot(frames: range, alpha: float | None = None) -> dict[int, bytes]:
    planes = {"RGB"[i]: np.full((8, 12), 0.2 * i, np.float16) for i in range(3)}
    if alpha is not None:
        planes["A"] = np.full((8, 12), alpha, np.float16)
    return {frame: new_file(planes) for frame in frames}


def mattes(frames: range, empty: tuple[int, ...] = ()) -> dict[int, bytes]:
    found = {}
    for frame in frames:
        matte = np.zeros((8, 12), np.float16)
        matte[2:5, 3:7] = frame not in empty
        found[frame] = new_file({"A": matte})
    return found


def test_a_roto_that_is_empty_in_the_middle_is_named(run_shot: Callable[..., Any]) -> None:
    frames = range(1001, 1007)
    done = run_shot(shot(frames), mattes(frames, empty=(1001, 1003, 1004, 1006)))
    (note,) = [text for text in done.warnings if "empty in" in text]
    assert "1003-1004" in note
    assert "1001" not in note
    assert "1006" not in note


def test_an_alpha_that_does_not_fit_what_was_made_is_named(run_shot: Callable[..., Any]) -> None:
    frames = range(1001, 1003)
    soft = run_shot(shot(frames, alpha=0.5), mattes(frames))
    assert [text for text in soft.warnings if "alpha is not 1 in the hole of 1001-1002" in text]
    opaque = run_shot(shot(frames, alpha=1), mattes(frames))
    assert not [text for text in opaque.warnings if "alpha" in text]


def test_an_assumed_color_space_is_noted_once(run_shot: Callable[..., Any]) -> None:
    frames = range(1001, 1003)
    done = run_shot(shot(frames), mattes(frames), color_space="")
    assert [note for note in done.warnings if "ACEScg" in note] == [
        "the plate's color space is unknown; ACEScg is assumed. Name it with --color-space"
    ]
