"""`cleanplate` continues structure into a gap that no frame shows."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.texture.evenness import energy
from voidbridge_backend.engines.cleanplate.texture.seams import healed
from voidbridge_backend.engines.cleanplate.texture.shifts import believed, repeating
from voidbridge_backend.engines.cleanplate.texture.synthesize import synthesized
from voidbridge_backend.engines.cleanplate.tone import exposed

HEIGHT, WIDTH = 140, 220
Y, X = np.mgrid[:HEIGHT, :WIDTH]


def gap() -> Mask:
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    hidden[48:88, 82:130] = True
    return hidden


def colored(grey: np.ndarray) -> Pixels:
    """`grey` [height, width] in color, under a light that falls off to one side."""
    light = grey[..., None] * np.array([1.0, 0.8, 0.6]) * (1 - X[..., None] / 1000)
    return light.astype(np.float32)


def bricks() -> Pixels:
    joint = (Y % 16 < 2) | ((X + Y // 16 % 2 * 16) % 32 < 2)
    return colored(np.where(joint, 0.6, 0.2))


def checks() -> Pixels:
    return colored(np.where((Y // 9 + X // 9) % 2, 0.15, 0.6))


def wire() -> Pixels:
    return colored(np.where(np.abs(Y - 67 - 0.25 * (X - 105)) < 1.5, 0.03, 0.5))


def horizon() -> Pixels:
    return colored(np.where(Y < 70, 0.8, 0.2))


def fence() -> Pixels:
    return colored(np.where((X % 27 < 6) | (np.abs(Y - 70) < 4), 0.6, 0.1))


def filled(picture: Pixels) -> Pixels:
    light = picture.copy()
    light[gap()] = 9
    return synthesized(light, gap(), exposed([picture]), lambda: None)


def telea(picture: Pixels) -> Pixels:
    display = (np.clip(picture, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
    painted = cv2.inpaint(display, gap().astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return np.asarray((painted / 255.0) ** 2.2, np.float32)


def psnr(one: Pixels, other: Pixels) -> float:
    return float(-10 * np.log10(np.square(one - other)[gap()].mean()))


@pytest.mark.parametrize("structure", [bricks, checks, wire, horizon, fence])
def test_structure_goes_on_behind_what_is_removed(structure: Callable[[], Pixels]) -> None:
    truth = structure()
    result = filled(truth)
    assert psnr(result, truth) > psnr(telea(truth), truth) + 10
    assert 0.75 < energy(result, gap()) / energy(truth, gap()) < 1.25
    assert (result[~gap()] == truth[~gap()]).all()


def test_random_texture_repeats_nowhere() -> None:
    rng = np.random.default_rng(1)
    small = rng.random((HEIGHT // 4, WIDTH // 4, 3)).astype(np.float32)
    texture = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    assert repeating(texture, gap()) is None
    assert repeating(bricks(), gap()) is not None


def test_copies_of_other_brightness_meet_without_a_seam() -> None:
    ramp = np.repeat((0.3 + Y / 900 + X / 4000)[..., None], 3, 2).astype(np.float32)
    left = (X < 106) & gap()
    offset = np.zeros((HEIGHT, WIDTH, 2), np.intp)
    offset[left], offset[gap() & ~left] = (0, -50), (0, 50)
    light = ramp.copy()
    light[gap()] = 9
    result, step = healed(light, gap(), offset)
    assert np.abs(result - ramp).max() < 0.01
    assert step < 0.001


def test_a_gap_at_the_edge_of_the_picture_keeps_its_color() -> None:
    ramp = np.repeat((0.3 + Y / 900 + X / 4000)[..., None], 3, 2).astype(np.float32)
    beside = np.zeros((HEIGHT, WIDTH), bool)
    beside[40:90, :30] = True
    offset = np.where(beside[..., None], (0, 35), 0)
    light = np.where(beside[..., None], np.float32(9), ramp)
    result, _ = healed(light, beside, offset)
    assert np.abs(result - ramp).max() < 0.01


def test_belief_finds_the_cheapest_labels_of_a_row() -> None:
    rng = np.random.default_rng(2)
    cost = rng.random((6, 3)).astype(np.float32)
    seam = (0.4 * (1 - np.eye(3))[None] * rng.random((6, 1, 1))).astype(np.float32)

    def price(labels: tuple[int, ...]) -> float:
        total = sum(float(cost[node, label]) for node, label in enumerate(labels))
        for node, (one, other) in enumerate(itertools.pairwise(labels)):
            total += float(seam[node, one, other] + seam[node + 1, one, other])
        return total

    best = min(itertools.product(range(3), repeat=6), key=price)
    assert tuple(believed(cost, seam, np.arange(6)[None], 2)) == best
