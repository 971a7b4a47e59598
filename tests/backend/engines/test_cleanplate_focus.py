"""A rack focus: the background that is laid into a soft frame is as soft."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from cleanplate_shots import Shot, Watch, across, hole_psnr, removed, still, texture

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_backend.engines.cleanplate.motion.sharpness import sharpness, worth
from voidbridge_backend.engines.cleanplate.texture.focus import softened
from voidbridge_backend.engines.cleanplate.tone import Tone
from voidbridge_protocol.operations.remove import RemoveSettings

HEIGHT, WIDTH = 96, 160


class Racked(Shot):
    """Sharp at first, softer with every frame."""

    def truth(self, frame: int) -> Pixels:
        sharp = super().truth(frame)
        deviation = 0.35 * (frame - self.first)
        return np.asarray(cv2.GaussianBlur(sharp, (0, 0), deviation)) if deviation else sharp


def test_a_soft_frame_gets_a_soft_background(monkeypatch: pytest.MonkeyPatch) -> None:
    shot = Racked(9, still, across)
    last = shot.frames[-1]
    with_focus = removed(shot, [last])
    monkeypatch.setattr(
        "voidbridge_backend.engines.cleanplate.frame.softened", lambda light, *more: light
    )
    without = removed(shot, [last])
    assert hole_psnr(shot, with_focus) - hole_psnr(shot, without) > 3


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


class Passing(Shot):
    """In focus at the first frames, far out of focus from the sixth on, where all of the background is seen."""

    def truth(self, frame: int) -> Pixels:
        sharp = super().truth(frame)
        deviation = max(0.0, 0.8 * (frame - self.first - 4))
        return np.asarray(cv2.GaussianBlur(sharp, (0, 0), deviation)) if deviation else sharp


def test_a_sharp_frame_takes_its_background_from_sharp_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shot = Passing(16, still, lambda n: (30.0 + 7 * n, 48.0))

    def made() -> dict[int, Pixels]:
        return dict(Cleanplate().remove(shot, RemoveSettings(grow=0, soften=0), Watch(), [1003]))

    chosen = made()
    monkeypatch.setattr(
        "voidbridge_backend.engines.cleanplate.motion.plan.worth", lambda source, frame: 1.0
    )
    anyhow = made()
    assert hole_psnr(shot, chosen) > hole_psnr(shot, anyhow) + 3


def test_sharpness_falls_with_focus_and_stays_with_light_and_camera() -> None:
    picture = np.clip(texture(3) * 60, 0, 255).astype(np.uint8)
    free = np.full(picture.shape[:2], 255, np.uint8)
    free[40:80, 40:90] = 0
    grey = picture[..., 1].copy()
    sharp = sharpness(grey, free)
    soft = sharpness(np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.5)), free)
    assert worth(soft, sharp) < 0.5
    assert worth(sharp, soft) == 1
    assert worth(sharpness(grey // 2, free), sharp) == 1
    assert worth(sharpness(np.roll(grey, 40, 1), free), sharp) == 1


def test_an_even_or_hidden_picture_has_no_sharpness_and_counts_in_full() -> None:
    even = np.full((60, 80), 90, np.uint8)
    everywhere = np.full_like(even, 255)
    assert np.isnan(sharpness(even, everywhere))
    assert np.isnan(sharpness(even, 0 * everywhere))
    assert worth(float("nan"), 1.0) == worth(1.0, float("nan")) == 1
