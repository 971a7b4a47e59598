"""Handles, long shots, and frame numbers as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from voidbridge_backend.engines.base import Clip, InputSpec, JobContext, Pixels
from voidbridge_backend.engines.echo.engine import echo
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.render.inputs import LruCache
from voidbridge_protocol.operations.remove import RemoveSettings

RunShot = Callable[..., Any]
MATTE = np.zeros((6, 8), np.float16)
MATTE[2:4, 2:5] = 1


@dataclass
class Witness:
    """Echoes, and remembers which frames it was shown."""

    seen: list[int] = field(default_factory=list)
    name: str = "witness"

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
            self.seen.append(frame)
            yield frame, echo(clip.plate(frame), clip.quadmask(frame), 0)


def files(frames: range) -> tuple[dict[int, bytes], dict[int, bytes]]:
    plates = {
        frame: new_file({name: np.full((6, 8), frame % 7 / 8, np.float16) for name in "RGB"})
        for frame in frames
    }
    return plates, dict.fromkeys(frames, new_file({"A": MATTE}))


def holds(data: bytes, frame: int) -> bool:
    result = reader.decode(data).channels["R"]
    tone = frame % 7 / 8
    inside, outside = np.unique(result[MATTE > 0]), np.unique(result[MATTE == 0])
    return inside.tolist() == [tone / 2 + 0.25] and outside.tolist() == [tone]


def test_handles_are_seen_and_not_returned(run_shot: RunShot) -> None:
    witness = Witness()
    plates, mattes = files(range(1001, 1009))
    done = run_shot(plates, mattes, witness, wanted=(1003, 1006), grow=0, soften=0)
    assert witness.seen == list(range(1001, 1009))
    assert list(done.results) == [1003, 1004, 1005, 1006]
    assert done.provenance["frames"] == [1003, 1006]
    assert done.provenance["quality"]["frames"] == 4


@pytest.mark.parametrize("first", [-3, 0, 998, 9998, 99998, 1234567])
def test_frames_keep_their_numbers_whatever_those_are(run_shot: RunShot, first: int) -> None:
    frames = range(first, first + 4)
    plates, mattes = files(frames)
    done = run_shot(plates, mattes, grow=0, soften=0)
    assert list(done.results) == list(frames)
    assert all(holds(done.results[frame], frame) for frame in frames)


def test_hundreds_of_frames_are_as_right_as_one(run_shot: RunShot) -> None:
    frames = range(1001, 1301)
    plates, mattes = files(frames)
    done = run_shot(plates, mattes, grow=0, soften=0)
    assert all(holds(done.results[frame], frame) for frame in frames)


def test_what_is_kept_of_a_long_shot_is_bounded() -> None:
    made: list[int] = []

    def make(frame: int) -> bytes:
        made.append(frame)
        return bytes(1000)

    recent: LruCache[bytes] = LruCache(10_000, len)
    for frame in range(500):
        recent.get(frame, make)
    for frame in range(490, 500):
        recent.get(frame, make)
    assert made == list(range(500))
    recent.get(489, make)
    assert made[-1] == 489


@pytest.mark.parametrize("size", [(1, 4000), (11000, 4), (1, 1)], ids=str)
def test_a_strip_is_worked_on_though_its_seam_cannot_be_measured(
    run_shot: RunShot, size: tuple[int, int]
) -> None:
    """The reduced picture of the seam had no lines left, and OpenCV failed the job."""
    plate = np.random.default_rng(0).random(size).astype(np.float16)
    matte = np.zeros(size, np.float16)
    matte[: max(1, size[0] // 3), : max(1, size[1] // 3)] = 1
    files = new_file(dict.fromkeys("RGB", plate)), new_file({"A": matte})
    done = run_shot({1: files[0]}, {1: files[1]}, engine="cleanplate", allow_full_matte=True)
    assert done.provenance["quality"]["hole_pixels"] > 0
    assert done.provenance["quality"]["outside_differing"] == 0
    json.dumps(done.provenance["quality"], allow_nan=False)


@pytest.mark.parametrize("value", [1e30, -3e38])
def test_light_beyond_every_lamp_makes_no_hole_in_the_result(
    run_shot: RunShot, value: float
) -> None:
    high, wide = 64, 96
    noise = np.random.default_rng(5).random((high, wide + 16, 3), np.float32)
    matte = np.zeros((high, wide), np.float16)
    matte[20:40, 30:60] = 1
    plates, words = {}, {}
    for number in range(4):
        seen = noise[:, 4 * number :][:, :wide].copy()
        seen[18:30, 25:45] = seen[50:, 70:] = value
        plates[1001 + number] = new_file({n: seen[..., i].copy() for i, n in enumerate("RGB")})
        words[1001 + number] = seen
    mattes = dict.fromkeys(plates, new_file({"A": matte}))
    done = run_shot(plates, mattes, engine="cleanplate", grow=0, soften=0)
    for frame, data in done.results.items():
        result = reader.decode(data).rgb()
        assert np.isfinite(result).all()
        assert result[matte == 0].tobytes() == words[frame][matte == 0].tobytes()
