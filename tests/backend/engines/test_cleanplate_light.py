"""`cleanplate` where the light of a shot changes: fades, black frames, flashes, letterbox bars."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from cleanplate_shots import Shot, Watch, across, by_hand, hole_psnr, removed, still, texture

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.bars import picture_box
from voidbridge_backend.engines.cleanplate.motion.brightness import (
    ceiling,
    clipped,
    equally_bright,
)
from voidbridge_backend.engines.cleanplate.texture.fill import joined
from voidbridge_backend.engines.cleanplate.tone import Tone

BAR = 12


def fade(n: int) -> float:
    return max(0.0, 1 - n / 7)


def gamma_fade(n: int) -> float:
    """Most frames are black."""
    return max(0.0, 1 - n / 5) ** 2.2


def black_fifth(n: int) -> float:
    return 0.0 if n == 4 else 1.0


def flash(n: int) -> float:
    return 6.0 if n in (3, 4) else 1.0


@dataclass
class Lit(Shot):
    """The disc fades with the picture."""

    def plate(self, frame: int) -> Pixels:
        light = self.truth(frame)
        inside, _ = self._disc(frame)
        light[inside] = 9 * self.exposure(frame - self.first)
        return light


@pytest.mark.parametrize("camera", [still, by_hand])
@pytest.mark.parametrize("exposure", [fade, gamma_fade, black_fifth, flash])
def test_a_change_of_light_is_followed_in_every_frame(
    exposure: Callable[[int], float], camera: Callable[[int], tuple[float, float]]
) -> None:
    shot = Lit(10, camera, across, exposure=exposure)
    for frame, light in removed(shot).items():
        assert hole_psnr(shot, {frame: light}) > 33, frame
        if exposure(frame - shot.first) == 0:
            assert not light[shot.quadmask(frame) != 255].any()


@pytest.mark.parametrize(
    "change",
    [
        lambda light: 0.65 * light,
        lambda light: 1.35 * light + 0.2,
        lambda light: light + 3,
        lambda light: 0.8 * light**1.4,
        lambda light: np.minimum(3 * light, 3 * np.quantile(light, 0.9)),
    ],
    ids=["gain", "gain and offset", "added light", "gamma", "clipped"],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_the_picture_with_less_contrast_is_made_as_bright_as_the_other(
    change: Callable[[Pixels], Pixels], swapped: bool
) -> None:
    tone, light = Tone(), cv2.GaussianBlur(texture(3), (0, 0), 4)
    there, here = (tone.grey8(one) for one in (light, change(light)))
    if swapped:
        there, here = here, there
    source, target = equally_bright(there, here, there, np.full_like(here, 255))
    off = np.abs(source.astype(int) - target)
    # A step of the picture with less contrast is several steps of the other one.
    ranges = [int(np.ptp(one)) for one in (there, here)]
    assert np.median(off) <= max(ranges) / min(ranges)
    assert (source is there) != (target is here)


def test_equally_bright_pictures_stay_as_they_are() -> None:
    grey = Tone().grey8(texture(3))
    everywhere = np.full_like(grey, 255)
    source, target = equally_bright(grey, grey, grey, everywhere)
    assert source is target is grey


@pytest.mark.parametrize(
    "change",
    [lambda n: 1 + 0.35 * math.sin(2.3 * n), lambda n: 4.0 if n == 2 else 1.0],
    ids=["flicker", "flash"],
)
def test_a_soft_picture_is_followed_through_a_change_of_light(
    change: Callable[[int], float],
) -> None:
    soft = cv2.GaussianBlur(texture(3), (0, 0), 4)
    shot = Lit(7, lambda n: (2.0 * n - 7, 0.0), across, background=soft, exposure=change)
    (light,) = removed(shot, [1003]).values()
    assert hole_psnr(shot, {1003: light}) > 50


def test_the_gain_of_clipped_light_is_told_by_what_is_not_clipped() -> None:
    there = texture(3).reshape(-1, 3)[::7]
    here = np.minimum(4 * there, np.array([0.9, 100, 0.9], np.float32))
    wrong = np.median(here / there, axis=0)
    gain, top = clipped(here, there, wrong)
    assert gain == pytest.approx(4, rel=1e-3)
    assert top == pytest.approx([0.9, np.inf, 0.9])
    same, none = clipped(here, here, wrong)
    assert same.tolist() == wrong.tolist()
    assert np.isinf(none).all()
    assert ceiling(here, 4 * there) == pytest.approx([0.9, np.inf, 0.9])
    assert np.isinf(ceiling(here, here)).all()
    assert np.isinf(ceiling(here[:0], here[:0])).all()


class Clipped(Lit):
    def truth(self, frame: int) -> Pixels:
        return np.minimum(super().truth(frame), np.float32(0.8))


def test_what_a_flash_clips_is_clipped_behind_the_object_too() -> None:
    shot = Clipped(7, still, across, exposure=lambda n: 5.0 if n == 2 else 1.0)
    (light,) = removed(shot, [1003]).values()
    hole = shot.quadmask(1003) != 255
    assert light[hole].max() == pytest.approx(0.8)
    assert hole_psnr(shot, {1003: light}) > 40


def test_what_only_faint_frames_show_is_taken_from_them() -> None:
    shot = Lit(7, still, lambda n: (50.0 + 7 * n, 48.0), exposure=lambda n: 0.06 if n > 4 else 1.0)
    assert hole_psnr(shot, removed(shot, [1002])) > 40


@dataclass
class Barred(Shot):
    """Bars above and below, over everything or with the disc before them."""

    over: bool = False

    def truth(self, frame: int) -> Pixels:
        light = super().truth(frame)
        light[:BAR] = light[-BAR:] = 0
        return light

    def plate(self, frame: int) -> Pixels:
        light = super().plate(frame)
        if not self.over:
            light[:BAR] = light[-BAR:] = 0
        return light


@pytest.mark.parametrize("over", [False, True], ids=["behind the bar", "before the bar"])
def test_letterbox_bars_stay_black(over: bool) -> None:
    shot = Barred(8, by_hand, lambda n: (25.0 + 14 * n, 80.0), over=over)
    results = removed(shot)
    for frame, light in results.items():
        bars = shot.quadmask(frame) != 255
        bars[BAR:-BAR] = False
        assert bars.any()
        assert not light[bars].any()
    assert hole_psnr(shot, results) > 33


def test_a_picture_without_bars_is_told_from_one_frame() -> None:
    shot = Shot(8, still, across)
    watch = Watch()
    assert picture_box(shot, watch) == (0, 0, shot.width, shot.height)
    assert len(watch.steps) == 1


def test_a_black_shot_has_no_bars() -> None:
    shot = Shot(3, still, across, exposure=lambda n: 0.0)
    assert picture_box(shot, Watch()) == (0, 0, shot.width, shot.height)
    results = removed(shot)
    assert all(math.isfinite(float(light.sum())) for light in results.values())
    assert np.isfinite(hole_psnr(shot, results))


def test_grain_below_black_makes_no_seam_brighter() -> None:
    rng = np.random.default_rng(4)
    plate = rng.normal(0, 0.0014, (96, 120, 3)).astype(np.float32)
    hole = np.zeros(plate.shape[:2], bool)
    hole[30:70, 40:80] = True
    made = joined(np.zeros_like(plate), np.ones_like(hole), plate, hole, 2, Tone())
    assert abs(made[hole].mean()) < 0.00007
