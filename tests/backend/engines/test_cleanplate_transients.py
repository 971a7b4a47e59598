"""`cleanplate` synthesizes from lasting surroundings, and never from passing objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from voidbridge_backend.engines.base import Pixels, Quadmask
from voidbridge_backend.engines.cleanplate.geometry import FrameBox
from voidbridge_backend.engines.cleanplate.motion.camera import Camera
from voidbridge_backend.engines.cleanplate.tone import Tone
from voidbridge_backend.engines.cleanplate.transient_removal import LOOK_PIXELS, TransientRemoval
from voidbridge_backend.parallel import Pool

PASSER = 1003


@dataclass
class Square:
    """A locked camera on a square with a thing at rest in it; on one frame somebody walks past."""

    height: int
    width: int
    passers: Sequence[int] = (PASSER,)
    frames: Sequence[int] = range(1001, 1006)

    def __post_init__(self) -> None:
        rough = np.random.default_rng(5).random((self.height, self.width, 3), np.float32)
        self.ground = cv2.GaussianBlur(rough, (0, 0), self.height / 60) + np.float32(0.1)

    @property
    def passing(self) -> FrameBox:
        return FrameBox(self.width // 8, self.height // 4, self.width // 4, self.height * 3 // 4)

    def plate(self, frame: int) -> Pixels:
        light = self.ground.copy()
        if frame in self.passers:
            light[self.passing.slices] = 3
        light[self.quadmask(frame) == 0] = 9
        return light

    def quadmask(self, frame: int) -> Quadmask:
        codes = np.full((self.height, self.width), 255, np.uint8)
        codes[self.height // 3 : self.height * 2 // 3, self.width // 2 : self.width * 2 // 3] = 0
        return codes

    def has_hole(self, frame: int) -> bool:
        return True


def lasting(clip: Square) -> Pixels:
    tone = Tone()
    camera = Camera(clip.height, clip.width)
    whole = FrameBox(0, 0, clip.width, clip.height)
    light, hidden = clip.plate(PASSER), clip.quadmask(PASSER) != 255
    for frame in clip.frames:
        small = cv2.resize(clip.plate(frame), camera.size, interpolation=cv2.INTER_AREA)
        free = cv2.resize((~hidden).view(np.uint8) * np.uint8(255), camera.size)
        camera.add(frame, tone.grey8(small), free)
    with Pool() as pool:
        return TransientRemoval(PASSER, clip, camera, tone, pool).seen(whole, light, hidden, 32)


SIZES = [(96, 160), (560, 900)]


@pytest.mark.parametrize("size", SIZES, ids=["looked at as it is", "looked at reduced"])
def test_who_passes_through_is_replaced_by_what_other_frames_show(size: tuple[int, int]) -> None:
    clip = Square(*size)
    seen = lasting(clip)
    np.testing.assert_allclose(
        seen[clip.passing.slices], clip.ground[clip.passing.slices], atol=0.02
    )
    box = clip.passing.grown(size[0] // 10, *size)
    far = np.ones(size, bool)
    far[box.slices] = False
    np.testing.assert_array_equal(seen[far], clip.plate(PASSER)[far])


@pytest.mark.parametrize("size", SIZES, ids=["looked at as it is", "looked at reduced"])
def test_what_stands_there_on_every_frame_stays_to_the_bit(size: tuple[int, int]) -> None:
    clip = Square(*size, passers=range(1001, 1006))
    np.testing.assert_array_equal(lasting(clip), clip.plate(PASSER))


def test_one_of_the_sizes_is_looked_at_reduced_and_one_is_not() -> None:
    small, large = (height * width for height, width in SIZES)
    assert small < LOOK_PIXELS < large


def test_the_only_frame_is_taken_as_it_is() -> None:
    clip = Square(96, 160, frames=[PASSER])
    np.testing.assert_array_equal(lasting(clip), clip.plate(PASSER))
