"""`cleanplate` invents pixels if no frame shows the background."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from cleanplate_shots import texture

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.texture.bands import membrane
from voidbridge_backend.engines.cleanplate.texture.fringe import background, passing
from voidbridge_backend.engines.cleanplate.texture.synthesize import synthesized
from voidbridge_backend.engines.cleanplate.tone import exposed

INSIDE = np.s_[50:90, 80:130]


def gap() -> Mask:
    hidden = np.zeros((140, 220), bool)
    hidden[INSIDE] = True
    return hidden


FINE = ((4, 0.15), (16, 0.3), (40, 0.45))
BROADER = ((3, 0.1), (20, 0.3), (50, 0.45))


def noise(seed: int, octaves: tuple[tuple[int, float], ...] = FINE) -> Pixels:
    """Random texture without any structure to continue, in octaves of (pixels, strength)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((140, 220, 3), np.float32)
    for side, strength in octaves:
        small = rng.random((140 // side + 2, 220 // side + 2, 3)).astype(np.float32)
        total += strength * cv2.resize(small, (220, 140), interpolation=cv2.INTER_CUBIC)
    return np.maximum(total, 0)


def stripes() -> Pixels:
    """Slanted lines, which only a continuation brings back."""
    y, x = np.mgrid[:140, :220]
    wave = 0.3 + 0.2 * np.sign(np.sin((x + 0.5 * y) / 3))
    return np.repeat(wave[..., None], 3, 2).astype(np.float32)


def filled(picture: Pixels) -> Pixels:
    plate = picture.copy()
    plate[gap()] = 9
    return synthesized(plate, gap(), exposed([picture]), lambda: None)


def telea(picture: Pixels) -> Pixels:
    display = (np.clip(picture, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
    painted = cv2.inpaint(display, gap().astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return np.asarray((painted / 255.0) ** 2.2, np.float32)


def psnr(one: Pixels, other: Pixels) -> float:
    return float(-10 * np.log10(np.square(one - other)[INSIDE].mean()))


def energy(picture: Pixels, where: Mask) -> float:
    across, down = np.diff(picture, axis=1)[:-1], np.diff(picture, axis=0)[:, :-1]
    both = (np.square(across) + np.square(down)).sum(-1)
    return float(both[where[:-1, :-1] & where[1:, :-1] & where[:-1, 1:]].mean())


@pytest.mark.parametrize(
    ("seed", "octaves"), [(1, FINE), (2, FINE), (3, FINE), (5, BROADER), (6, BROADER)]
)
def test_random_texture_has_its_surroundings_detail_and_errs_no_more_than_a_blur(
    seed: int, octaves: tuple[tuple[int, float], ...]
) -> None:
    picture = noise(seed, octaves)
    result = filled(picture)
    ring = (cv2.dilate(gap().astype(np.uint8), np.ones((41, 41))) > 0) & ~gap()
    assert 0.75 < energy(result, gap()) / energy(picture, ring) < 1.25
    assert psnr(result, picture) > psnr(telea(picture), picture) - 1


def test_structure_is_continued_and_not_blurred() -> None:
    assert psnr(filled(stripes()), stripes()) > psnr(telea(stripes()), stripes()) + 6


def test_a_membrane_is_the_mean_of_its_neighbors() -> None:
    y, x = np.mgrid[:140, :220].astype(np.float32)
    saddle = np.repeat(((x - 110) * (y - 70) / 5000 + x / 300)[..., None], 3, 2)
    light = saddle.copy()
    light[gap()] = 9
    assert np.abs(membrane(light, gap()) - saddle).max() < 0.01


def fringed(spill: float) -> tuple[Pixels, Mask, Mask, Pixels]:
    """A disc whose edge is `spill` pixels outside its matte: (light, hole, growth of 8 pixels, depth)."""
    y, x = np.mgrid[:140, :220]
    away = np.hypot(x - 110, y - 70).astype(np.float32)
    share = np.clip(28 + spill - away, 0, 1)[..., None]
    light = texture()[:140, :220] * (1 - share) + np.float32([6, 1, 1]) * share
    return light.astype(np.float32), away < 36, (away < 36) & (away >= 28), 28 - away


def test_a_growth_without_the_object_is_background() -> None:
    light, hole, growth, depth = fringed(0)
    assert background(light, hole, growth, depth, 1.0)[growth].mean() > 0.9


def test_a_growth_that_the_object_spills_into_is_none() -> None:
    light, hole, growth, depth = fringed(5)
    clean = background(light, hole, growth, depth, 1.0)
    assert not clean[growth & (depth > -5)].any()


def test_what_passes_over_a_growth_is_no_background_also_where_no_other_frame_shows_it() -> None:
    lasting, (_, hole, growth, _) = texture()[:140, :220], fringed(0)
    grain = np.random.default_rng(5).normal(1, 0.02, lasting.shape).astype(np.float32)
    light = lasting * grain
    light[60:80, 70:85] *= 0.3
    outer = hole & ~growth | (growth & (cv2.blur(hole.astype(np.float32), (9, 9)) < 1))
    known = outer & hole
    passes = passing(light, lasting, known, exposed([lasting]), 8)
    assert passes[60:80, 70:85][growth[60:80, 70:85]].all()
    assert not passes[:, 110:][hole[:, 110:]].any()
