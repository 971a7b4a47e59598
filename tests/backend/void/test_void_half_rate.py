"""At half the rate the model makes every second frame, and the others lie between their neighbors."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_void_engine import PASS, SMALL, Watcher

from voidbridge_backend.engines.base import Clip, Pixels, Quadmask
from voidbridge_backend.engines.void import half_rate
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.half_rate import HalfClip
from voidbridge_protocol.operations.remove import RemoveSettings


class Pan:
    """A smooth texture under a camera at `places`, with a hole in its middle that covers a gray object."""

    height, width = 96, 128

    def __init__(self, places: list[float]) -> None:
        noise = np.random.default_rng(5).random((160, 260, 3)).astype(np.float32)
        texture = cv2.GaussianBlur(noise, (0, 0), 2)
        self._texture = (texture - texture.min()) / np.ptp(texture)
        self._places = places
        self.frames = range(1001, 1001 + len(places))
        self.lit: list[int] = []

    def background(self, frame: int) -> Pixels:
        x = self._places[frame - 1001]
        shift = np.array([[1, 0, -30 - x], [0, 1, -20 - x / 3]], np.float32)
        size = (self.width, self.height)
        return np.asarray(cv2.warpAffine(self._texture, shift, size, flags=cv2.INTER_CUBIC))

    def plate(self, frame: int) -> Pixels:
        picture = self.background(frame)
        picture[self.quadmask(frame) == 0] = 0.5
        return picture

    def quadmask(self, frame: int) -> Quadmask:
        mask = np.full((self.height, self.width), 255, np.uint8)
        mask[30:62, 40:72] = 0
        return mask

    def has_hole(self, frame: int) -> bool:
        return True


def perfect(pan: Pan, asked: list[int]) -> half_rate.Remove:
    """A model that knows the background."""

    def remove(clip: Clip, wanted: Collection[int]) -> Iterator[tuple[int, Pixels]]:
        for frame in clip.frames:
            if frame in wanted:
                asked.append(frame)
                yield frame, pan.background(frame)

    return remove


def error(pan: Pan, frame: int, found: Pixels) -> float:
    """Mean difference from the background under the hole."""
    hole = pan.quadmask(frame) == 0
    return float(np.abs(found - pan.background(frame))[hole].mean())


def test_an_in_between_is_the_background_of_its_own_moment() -> None:
    pan, asked = Pan([2.0 * frame for frame in range(7)]), list[int]()
    found = dict(half_rate.removed(pan, None, perfect(pan, asked)))
    assert asked == [1001, 1003, 1005, 1007]
    assert list(found) == list(pan.frames)
    mixed = (pan.background(1001) + pan.background(1003)) / 2
    for frame in (1002, 1004, 1006):
        assert error(pan, frame, found[frame]) < 0.01
    assert error(pan, 1002, mixed) > 0.03


def test_an_in_between_follows_a_shaking_camera() -> None:
    """The middle frame is not halfway; only its own plate tells where it is."""
    pan = Pan([0, 4, 4])
    found = dict(half_rate.removed(pan, None, perfect(pan, [])))
    assert error(pan, 1002, found[1002]) < 0.01
    halfway = Pan([0, 2, 4]).background(1002)
    assert error(pan, 1002, halfway) > 0.04


def test_only_neighbors_of_wanted_frames_are_made() -> None:
    pan, asked = Pan([0.0] * 9), list[int]()
    found = dict(half_rate.removed(pan, {1004, 1007}, perfect(pan, asked)))
    assert list(found) == [1004, 1007]
    assert asked == [1003, 1005, 1007]


@pytest.mark.parametrize("count", [3, 4, 5, 22])
def test_the_model_sees_every_second_frame_and_the_last(small_clip: type, count: int) -> None:
    frames = HalfClip(small_clip(count)).frames
    assert (frames[0], frames[-1]) == (1001, 1000 + count)
    assert all(1 <= later - one <= 2 for one, later in pairwise(frames))
    assert len(frames) == count // 2 + 1


@pytest.mark.parametrize("hole", [range(5), range(1, 2), range(2, 5)])
def test_a_job_returns_every_frame_with_a_hole_and_says_how(
    tiny: Path, small_clip: type, hole: range
) -> None:
    watch = Watcher()
    void, settings = Void(tiny, "cpu", SMALL), replace(PASS[1], half_rate=True)
    clip = small_clip(5, hole=hole)
    found = dict(void.remove(clip, settings, watch))
    assert list(found) == [1001 + index for index in hole]
    assert all(pixels.shape == (32, 48, 3) for pixels in found.values())
    assert all(np.isfinite(pixels).all() for pixels in found.values())
    assert half_rate.NOTE in watch.warnings
    one = dict(void.remove(clip, settings, Watcher(), {1003}))
    assert all(np.array_equal(one[frame], found[frame]) for frame in one)


def test_the_rate_is_full_unless_a_job_asks_for_half(tiny: Path, small_clip: type) -> None:
    assert not RemoveSettings().half_rate
    clip, watch = small_clip(5), Watcher()
    full = dict(Void(tiny, "cpu", SMALL).remove(clip, PASS[1], watch))
    half = dict(Void(tiny, "cpu", SMALL).remove(clip, replace(PASS[1], half_rate=True), Watcher()))
    assert half_rate.NOTE not in watch.warnings
    assert list(full) == list(half)
    assert not np.array_equal(full[1002], half[1002])
