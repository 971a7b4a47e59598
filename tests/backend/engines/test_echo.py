from collections.abc import Sequence

import numpy as np
import pytest

from voidbridge_backend.engines import registry
from voidbridge_backend.engines.base import Pixels, Quadmask
from voidbridge_backend.engines.echo.engine import Echo
from voidbridge_protocol.errors import JobCancelled
from voidbridge_protocol.operations.remove import RemoveSettings


class Shot:
    """Three frames of 4x2 pixels; the middle one has no hole."""

    frames: Sequence[int] = range(1001, 1004)
    height, width = 2, 4

    def plate(self, frame: int) -> Pixels:
        ramp = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
        return ramp * np.float32(frame - 1000)

    def quadmask(self, frame: int) -> Quadmask:
        codes = np.full((2, 4), 255, np.uint8)
        if frame != 1002:
            codes[0, :3] = 0, 63, 127
        return codes

    def has_hole(self, frame: int) -> bool:
        return frame != 1002


class Log:
    def __init__(self, stop_after: int = 1000) -> None:
        self.steps: list[tuple[str, int, int]] = []
        self.stop_after = stop_after

    def step(self, stage: str, done: int, of: int) -> None:
        if len(self.steps) == self.stop_after:
            raise JobCancelled("stopped by the artist")
        self.steps.append((stage, done, of))

    def warn(self, text: str) -> None:
        raise AssertionError(text)


def test_only_the_hole_changes_and_it_changes_as_promised() -> None:
    shot = Shot()
    frames = dict(Echo().remove(shot, RemoveSettings(seed=3), Log()))

    assert list(frames) == [1001, 1003]
    for frame, result in frames.items():
        plate, hole = shot.plate(frame), shot.quadmask(frame) != 255
        np.testing.assert_array_equal(result[~hole], plate[~hole])
        np.testing.assert_array_equal(result[hole], plate[hole] / 2 + 0.25 + 3 / 64)
        assert result.dtype == np.float32


def test_another_seed_is_another_picture() -> None:
    first, second = (
        dict(Echo().remove(Shot(), RemoveSettings(seed=seed), Log()))[1001] for seed in (0, 1)
    )
    assert not np.array_equal(first, second)


def test_steps_are_counted_over_all_frames_with_a_hole() -> None:
    log = Log()
    list(Echo().remove(Shot(), RemoveSettings(steps=2), log))
    assert log.steps == [("removing", done, 4) for done in range(5)]


def test_a_cancelled_watch_ends_the_job_before_the_next_frame() -> None:
    frames = Echo().remove(Shot(), RemoveSettings(steps=2), Log(stop_after=3))
    assert next(frames)[0] == 1001
    with pytest.raises(JobCancelled):
        next(frames)


@pytest.mark.parametrize("name", ["echo", "cleanplate"])
def test_an_engine_goes_by_the_name_it_was_asked_for(name: str) -> None:
    made = registry.make("remove", name)
    assert made.name == name == made.describe()["engine"]
    assert made.input_spec(1080, 1920, RemoveSettings()).space == "scene"
