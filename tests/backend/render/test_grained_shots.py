"""Grain in whole jobs: on pictures that lack it, inside the matte only, and only when it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from voidbridge_backend.engines.base import Clip, InputSpec, JobContext, Pixels
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.operations.remove import RemoveSettings

RunShot = Callable[..., Any]
SIZE = 240
LEVEL = 0.01
HOLE = np.zeros((SIZE, SIZE), bool)
HOLE[90:150, 80:170] = True


@dataclass(frozen=True)
class Painter:
    """Paints the hole with an even tone, without any grain."""

    tone: float = 0.3
    name: str = "painter"

    def input_spec(self, height: int, width: int, settings: RemoveSettings) -> InputSpec:
        return InputSpec("scene", joins=True)

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
            yield frame, np.full((clip.height, clip.width, 3), self.tone, np.float32)


def plate(frame: int) -> dict[str, Any]:
    rng = np.random.default_rng(100 + frame)
    soft = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE, 3)), (0, 0), 0.6)
    light = 0.3 + LEVEL * soft / soft.std()
    return {name: light[..., i].astype(np.float16) for i, name in enumerate("RGB")}


def shot(frames: range) -> tuple[dict[int, bytes], dict[int, bytes]]:
    matte = new_file({"A": HOLE.astype(np.float16)})
    return {f: new_file(plate(f)) for f in frames}, dict.fromkeys(frames, matte)


def test_grain_inside_is_the_grain_outside(run_shot: RunShot) -> None:
    plates, mattes = shot(range(-1, 2))
    done = run_shot(plates, mattes, Painter(), grow=0, soften=0)
    pictures = {frame: reader.decode(data).rgb() for frame, data in done.results.items()}
    for frame, picture in pictures.items():
        for plane in range(3):
            inside, outside = picture[HOLE][:, plane].std(), picture[~HOLE][:, plane].std()
            assert inside / outside == pytest.approx(1, abs=0.1)
        assert picture[~HOLE].tobytes() == reader.decode(plates[frame]).rgb()[~HOLE].tobytes()
    one, next_ = (pictures[frame][HOLE] - 0.3 for frame in (0, 1))
    assert abs((one * next_).mean()) < 0.05 * LEVEL**2


def test_the_fade_at_the_edge_has_as_much_grain_as_both_sides(run_shot: RunShot) -> None:
    plates, mattes = shot(range(1, 4))
    done = run_shot(plates, mattes, Painter(), grow=0, soften=30)
    grown = cv2.distanceTransform((~HOLE).astype(np.uint8), cv2.DIST_L2, 5)
    fade = (grown > 8) & (grown < 22)
    for data in done.results.values():
        assert reader.decode(data).rgb()[fade].std() / LEVEL == pytest.approx(1, abs=0.1)


def test_the_same_job_gives_the_same_grain_and_another_seed_another(run_shot: RunShot) -> None:
    plates, mattes = shot(range(1, 3))
    one, again, other = (run_shot(plates, mattes, Painter(), seed=seed) for seed in (4, 4, 5))
    assert one.results == again.results
    assert one.results[1] != other.results[1]


@pytest.mark.parametrize("settings", [{"grain": "off"}, {"grain_amount": 0.0}], ids=str)
def test_no_grain_is_added_where_none_is_wanted(
    run_shot: RunShot, settings: dict[str, Any]
) -> None:
    plates, mattes = shot(range(1, 2))
    done = run_shot(plates, mattes, Painter(), grow=0, soften=0, **settings)
    assert np.unique(reader.decode(done.results[1]).rgb()[HOLE]).tolist() == [np.float16(0.3)]
    assert any("painted" in warning for warning in done.warnings)


def test_a_plate_that_shows_no_grain_is_said(run_shot: RunShot) -> None:
    even = {name: np.full((SIZE, SIZE), 0.3, np.float16) for name in "RGB"}
    matte = new_file({"A": HOLE.astype(np.float16)})
    done = run_shot({1: new_file(even)}, {1: matte}, Painter(0.2))
    assert any("shows no grain" in warning for warning in done.warnings)


def test_grain_without_room_to_measure_it_is_not_called_absent(run_shot: RunShot) -> None:
    markers = np.zeros((SIZE, SIZE), np.float16)
    markers[::20, ::20] = 1
    done = run_shot({1: new_file(plate(1))}, {1: new_file({"A": markers})}, Painter(), grow=2)
    assert any("to measure its grain" in warning for warning in done.warnings)
    assert not any("shows no grain" in warning for warning in done.warnings)


def test_missing_grain_is_no_news_of_an_engine_that_brings_its_own(run_shot: RunShot) -> None:
    """`echo` halves the plate, and half of its grain is left."""
    plates, mattes = shot(range(1, 2))
    for grain in ("auto", "off"):
        done = run_shot(plates, mattes, grain=grain)
        assert done.provenance["quality"]["grain_match"] < 0.6
        assert not any("painted" in warning for warning in done.warnings)
