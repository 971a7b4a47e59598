"""`chroma` on a drawn shot with truth: hair, motion blur, glass, an uneven screen, spill, grain and highlights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from voidbridge_screen_scene import HIGHLIGHT, SCREENS, ScreenFrame, ScreenScene

from voidbridge_backend.engines.chroma import laplacian, unmix
from voidbridge_backend.engines.chroma.alpha import estimate, limits_of
from voidbridge_backend.engines.chroma.screen import (
    ScreenColor,
    clean_screen,
    given_color,
    measured_color,
    seen_screen,
)
from voidbridge_backend.quality.matte_scores import (
    alpha_scores,
    flicker,
    recomposite_error,
    spill_left,
)
from voidbridge_protocol.errors import BadSetting, NoScreen

Array = NDArray[np.float32]


def difference_key(plate: Array, color: tuple[float, float, float], full: float) -> Array:
    """Alpha grows with the distance from one screen color, to 1 at a distance of `full`."""
    distance = np.linalg.norm(plate - np.float32(color), axis=-1)
    return np.clip(distance / full, 0, 1).astype(np.float32)


def in_range_key(
    plate: Array, color: tuple[float, float, float], hue: int, saturation: int
) -> Array:
    """OpenCV's in-range mask in HSV around the screen color, blurred by 5x5."""
    values = _hsv(plate)
    middle = int(_hsv(np.float32([[color]]))[0, 0, 0])
    inside = cv2.inRange(values, (middle - hue, saturation, 30), (middle + hue, 255, 255))
    return 1 - cv2.GaussianBlur(inside, (5, 5), 0).astype(np.float32) / 255


def best_difference_key(plate: Array, color: tuple[float, float, float], truth: Array) -> float:
    """The least sum of absolute differences to the truth over a range of distances."""
    keys = (difference_key(plate, color, full) for full in (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5))
    return min(float(np.abs(alpha - truth).sum()) for alpha in keys)


def best_in_range_key(plate: Array, color: tuple[float, float, float], truth: Array) -> float:
    """The same over a range of hues and saturations."""
    keys = (
        in_range_key(plate, color, hue, saturation)
        for hue in (5, 10, 15, 20)
        for saturation in (40, 60, 80, 100, 120)
    )
    return min(float(np.abs(alpha - truth).sum()) for alpha in keys)


def _hsv(plate: Array) -> NDArray[np.uint8]:
    encoded = (np.clip(plate, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
    out: NDArray[np.uint8] = cv2.cvtColor(encoded, cv2.COLOR_RGB2HSV)
    return out


@dataclass(frozen=True)
class Keyed:
    color: ScreenColor
    truths: list[ScreenFrame]
    alphas: list[Array]
    foregrounds: list[Array]
    screens: list[Array]


@cache
def keyed(name: Literal["green", "blue"], hinted: bool = False) -> Keyed:
    """Two frames, keyed as the engine does it."""
    truths = drawn(name)
    color = measured_color([truth.plate for truth in truths])
    seen = [seen_screen(truth.plate, color) for truth in truths]
    found = Keyed(color, truths, [], [], [])
    for number, truth in enumerate(truths):
        height, width = truth.alpha.shape
        others = [one for at, one in enumerate(seen) if at != number]
        clean = clean_screen(seen[number], others, height, width, number)
        limits = limits_of(truth.hint if hinted else None, (height, width), core=4, garbage=40)
        alpha = estimate(truth.plate, clean, color, limits)
        smooth = unmix.foreground(truth.plate, alpha, clean)
        foreground, screen = unmix.recombined(truth.plate, alpha, smooth, clean)
        found.alphas.append(alpha)
        found.foregrounds.append(foreground)
        found.screens.append(screen)
    return found


@cache
def drawn(name: Literal["green", "blue"]) -> list[ScreenFrame]:
    scene = ScreenScene(color=name)
    return [scene.frame(number) for number in range(2)]


both = pytest.mark.parametrize("name", ["green", "blue"])


@both
@pytest.mark.parametrize("hinted", [False, True], ids=["without-hint", "with-hint"])
def test_alpha_is_at_most_half_as_wrong_as_that_of_plain_keyers(
    name: Literal["green", "blue"], hinted: bool
) -> None:
    found = keyed(name, hinted)
    for alpha, truth in zip(found.alphas, found.truths, strict=True):
        ours = alpha_scores(alpha, truth.alpha).sad
        assert ours <= 0.5 * best_difference_key(truth.plate, found.color.rgb, truth.alpha)
        assert ours <= 0.5 * best_in_range_key(truth.plate, found.color.rgb, truth.alpha)


@both
def test_alpha_flickers_hardly_more_than_the_truth(name: Literal["green", "blue"]) -> None:
    found = keyed(name)
    truth = flicker([truth.alpha for truth in found.truths])
    assert flicker(found.alphas) <= 1.15 * truth


@both
def test_the_foreground_over_the_screen_is_the_plate(name: Literal["green", "blue"]) -> None:
    found = keyed(name)
    for number, truth in enumerate(found.truths):
        parts = found.alphas[number], found.foregrounds[number], found.screens[number]
        assert recomposite_error(truth.plate, *parts) <= 1e-5


@both
def test_the_clean_screen_is_the_true_one(name: Literal["green", "blue"]) -> None:
    found = keyed(name)
    for screen, alpha, truth in zip(found.screens, found.alphas, found.truths, strict=True):
        behind = alpha > 0.5
        error = np.abs(screen - truth.screen)[behind] / truth.screen[behind]
        assert float(np.median(error)) < 0.05


@both
def test_screen_colors_are_measured(name: Literal["green", "blue"]) -> None:
    found = measured_color([truth.plate for truth in drawn(name)])
    ratio = np.array(found.rgb) / SCREENS[name]
    assert ratio.std() / ratio.mean() < 0.05


def test_highlights_keep_their_light() -> None:
    found = keyed("green")
    spot = found.truths[0].foreground.min(axis=-1) > HIGHLIGHT * 0.99
    assert np.count_nonzero(spot) > 20
    assert np.all(found.alphas[0][spot] == 1)
    assert np.array_equal(found.foregrounds[0][spot], found.truths[0].plate[spot])


def test_despill_removes_the_screen_and_keeps_the_luminance() -> None:
    found = keyed("green")
    before, alpha, screen = found.foregrounds[0], found.alphas[0], found.truths[0].screen
    after = unmix.despilled(before, found.color, 1.0)
    weights = np.float32([0.2126, 0.7152, 0.0722])
    assert np.abs(after @ weights - before @ weights).max() < 1e-5
    assert spill_left(after, alpha, screen) <= 0.5 * spill_left(before, alpha, screen)
    assert np.array_equal(unmix.despilled(before, found.color, 0.0), before)


def test_a_hint_decides_what_colors_cannot() -> None:
    """A prop in the color of the screen stays if the hint covers it; a lamp beside the screen goes."""
    truth = drawn("green")[0]
    plate = truth.plate.copy()
    prop, lamp = np.s_[140:160, 110:150], np.s_[5:20, 300:315]
    plate[prop] = truth.screen[prop]
    plate[lamp] = 0.5
    hint = truth.hint.copy()
    hint[130:170, 100:160] = 1
    color = measured_color([plate])
    limits = limits_of(hint, hint.shape, core=4, garbage=40)
    seen = seen_screen(plate, color, limits.core)
    alpha = estimate(plate, clean_screen(seen, [], *hint.shape, 1), color, limits)
    assert np.all(alpha[prop] == 1)
    assert np.all(alpha[lamp] == 0)


@pytest.mark.parametrize("rgb", [(0.5, 0.5, 0.5), (0.6, 0.2, 0.1), (0.3, 0.34, 0.3)])
def test_a_color_that_is_no_screen_is_refused(rgb: tuple[float, float, float]) -> None:
    with pytest.raises(BadSetting, match="neither green nor blue"):
        given_color(rgb)


def test_a_plate_without_a_screen_is_refused() -> None:
    plate = np.random.default_rng(1).random((40, 60, 1)).astype(np.float32).repeat(3, axis=-1)
    with pytest.raises(NoScreen, match="no green or blue screen was found"):
        measured_color([plate])


def test_a_frame_that_is_all_foreground_is_refused() -> None:
    plate = np.full((40, 60, 3), 0.4, np.float32)
    seen = seen_screen(plate, given_color((0.06, 0.42, 0.1)))
    with pytest.raises(NoScreen, match="frame 1007 shows no screen"):
        clean_screen(seen, [], 40, 60, 1007)


def test_the_laplacian_is_the_published_one() -> None:
    """Against equation 12 of the paper, written out pixel by pixel."""
    rng = np.random.default_rng(4)
    picture = rng.random((7, 8, 3)).astype(np.float32)
    unknown = np.zeros((7, 8), bool)
    unknown[2:5, 1:6] = True
    places = np.flatnonzero(unknown)
    values = laplacian._matrix(picture, unknown, places)
    rows = np.zeros((places.size, unknown.size))
    for (dy, dx), plane in zip(laplacian.NEIGHBORS, values, strict=True):
        rows[np.arange(places.size), places + dy * 8 + dx] += plane[:-1]
    assert np.abs(rows - levin(picture)[places]).max() < 1e-9


def levin(picture: Array) -> NDArray[np.float64]:
    height, width, _ = picture.shape
    out = np.zeros((height * width, height * width))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            window = [(y + dy) * width + x + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            colors = picture.reshape(-1, 3)[window].astype(np.float64)
            mean = colors.mean(axis=0)
            covariance = np.cov(colors.T, bias=True) + np.eye(3) * laplacian.REGULARIZATION / 9
            inverse = np.linalg.inv(covariance)
            for i, a in enumerate(window):
                for j, b in enumerate(window):
                    affinity = (1 + (colors[i] - mean) @ inverse @ (colors[j] - mean)) / 9
                    out[a, b] += (i == j) - affinity
    return out
