"""A rack focus: the background that is laid into a soft frame is as soft."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from cleanplate_shots import Shot, across, hole_psnr, removed, still, texture

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.texture.focus import softened
from voidbridge_backend.engines.cleanplate.tone import Tone

HEIGHT, WIDTH = 96, 160


class Racked(Shot):
    """Sharp at first, softer with every frame."""

    def truth(self, frame: int) -> Pixels:
        sharp = super().truth(frame)
        deviation = 0.35 * (frame - self.first)
        return np.asarray(cv2.GaussianBlur(sharp, (0, 0), deviation)) if deviation else sharp


def test_a_soft_frame_gets_a_soft_background(monkeypatch: pytest.MonkeyPatch) -> None:
    shot = Racked(9, still, across)
    with_focus = removed(shot)
    monkeypatch.setattr(
        "voidbridge_backend.engines.cleanplate.frame.softened", lambda light, *more: light
    )
    without = removed(shot)
    last = shot.frames[-1]
    gain = hole_psnr(shot, {last: with_focus[last]}) - hole_psnr(shot, {last: without[last]})
    assert gain > 3


@pytest.mark.parametrize("deviation", [0.0, 1.0, 2.8])
def test_sharpness_is_found_beside_the_hole(deviation: float) -> None:
    sharp = texture(3)[:HEIGHT, :WIDTH]
    soft = cv2.GaussianBlur(sharp, (0, 0), deviation) if deviation else sharp
    plate = np.array(soft, np.float32)
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[30:60, 50:100] = True
    plate[hole] = 9
    rng = np.random.default_rng(1)
    plate += rng.normal(0, 0.01, plate.shape).astype(np.float32)
    everywhere = np.ones_like(hole)
    beside = cv2.dilate(hole.astype(np.uint8), np.ones((13, 13))).astype(bool) & ~hole
    made = softened(sharp, plate, everywhere, beside, Tone())
    assert (made is sharp) == (deviation == 0)
    error, before = (np.square(one - soft)[hole].mean() for one in (made, sharp))
    assert error < 0.1 * before or error == before == 0


def test_too_little_beside_the_hole_changes_nothing() -> None:
    light = texture(3)[:HEIGHT, :WIDTH]
    nowhere = np.zeros((HEIGHT, WIDTH), bool)
    assert softened(light, light, ~nowhere, nowhere, Tone()) is light
