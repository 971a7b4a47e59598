"""Rules for affected areas on drawn shots, with a truth for shadow and reflection."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.engines.affected.background import Background
from voidbridge_backend.engines.affected.rules import RULES, apply

HEIGHT, WIDTH, FRAMES = 108, 192, range(1001, 1017)
Mask = NDArray[np.bool_]


def disk(x: float, y: float, radius: int) -> Mask:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(drawn, (round(x), round(y)), radius, (1,), -1)
    return drawn.astype(bool)


def wall() -> NDArray[np.float32]:
    random = np.random.default_rng(4)
    noise = random.random((HEIGHT + 40, WIDTH + 80, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray(0.15 + 0.5 * (blurred - blurred.min()) / np.ptp(blurred), np.float32)


WALL = wall()


def place(frame: int) -> tuple[float, float]:
    return 30 + 8 * (frame - 1001), 40


def pan(frame: int) -> int:
    return 2 * (frame - 1001)


Draw = Callable[[NDArray[np.float32], int, NDArray[np.float32]], Mask]


class Drawn:
    """A striped ball crosses a wall that the camera pans over; `draw` adds what the ball causes to the light."""

    def __init__(self, draw: Draw) -> None:
        self.pictures, self.objects, self.truth = {}, {}, {}
        random = np.random.default_rng(9)
        for frame in FRAMES:
            light = WALL[20 : 20 + HEIGHT, 20 + pan(frame) : 20 + pan(frame) + WIDTH].copy()
            ball = disk(*place(frame), 14)
            ball_light = light.copy()
            ball_light[ball] = (0.7, 0.1, 0.05)
            y = place(frame)[1]
            ball_light[ball & (np.mgrid[:HEIGHT, :WIDTH][0] > y + 3)] = (0.05, 0.15, 0.6)
            truth = draw(light, frame, ball_light) & ~ball
            light[ball] = ball_light[ball]
            grain = random.normal(0, 0.004, light.shape)
            code = np.clip(light + grain, 0, 1) ** (1 / 2.2)
            self.pictures[frame] = np.round(255 * code).astype(np.uint8)
            self.objects[frame] = ball
            self.truth[frame] = truth


@cache
def found(draw: Draw) -> tuple[Drawn, dict[str, dict[int, Mask]]]:
    """The shot, and the regions of every rule by frame."""
    shot, size = Drawn(draw), (HEIGHT, WIDTH)
    background = Background(
        shot.pictures.__getitem__, shot.objects.__getitem__, list(FRAMES), size, lambda: None
    )
    regions: dict[str, dict[int, Mask]] = {rule: {} for rule in RULES}
    for one in apply(background, RULES, lambda: None):
        regions[one.rule][one.frame] = one.region
    assert all(list(by_frame) == list(FRAMES) for by_frame in regions.values())
    return shot, regions


def overlap(one: Mask, two: Mask) -> float:
    return float((one & two).sum() / max((one | two).sum(), 1))


def cast(light: NDArray[np.float32], frame: int, ball: NDArray[np.float32]) -> Mask:
    x, y = place(frame)
    shade = disk(x + 12, y + 18, 12)
    light[shade] *= 0.45
    return shade


def thrown_far(light: NDArray[np.float32], frame: int, ball: NDArray[np.float32]) -> Mask:
    x, y = place(frame)
    shade = disk(x - 4, y + 50, 9)
    light[shade] *= 0.5
    light[disk(160 - pan(frame), 16, 8)] *= 0.5 if frame == 1008 else 1.0
    return shade


def mirrored(light: NDArray[np.float32], frame: int, ball: NDArray[np.float32]) -> Mask:
    x, y = place(frame)
    seen = disk(x, y + 34, 14)
    flipped = cv2.warpAffine(ball, np.array([[1, 0, 0], [0, -1, 2 * y + 34.0]]), (WIDTH, HEIGHT))
    light[seen] = 0.6 * light[seen] + 0.4 * flipped[seen]
    return seen


def nothing(light: NDArray[np.float32], frame: int, ball: NDArray[np.float32]) -> Mask:
    return np.zeros((HEIGHT, WIDTH), bool)


def test_a_shadow_that_moves_with_the_object_is_found_under_a_moving_camera() -> None:
    shot, regions = found(cast)
    shadow = regions["shadow"]
    assert np.mean([overlap(shadow[frame], shot.truth[frame]) for frame in FRAMES]) > 0.7


def test_a_shadow_far_from_the_object_is_found_by_its_motion_and_another_change_is_not() -> None:
    shot, regions = found(thrown_far)
    shadow = regions["shadow"]
    inner = [frame for frame in FRAMES if 1003 <= frame <= 1014]
    assert np.mean([overlap(shadow[frame], shot.truth[frame]) for frame in inner]) > 0.6
    assert not (shadow[1008] & disk(160 - pan(1008), 16, 8)).any()


def test_a_reflection_is_found_as_the_mirrored_object() -> None:
    shot, regions = found(mirrored)
    reflection = regions["reflection"]
    assert np.mean([overlap(reflection[frame], shot.truth[frame]) for frame in FRAMES]) > 0.6


def test_a_shadow_is_no_reflection() -> None:
    reflection = found(cast)[1]["reflection"]
    assert np.mean([reflection[frame].any() for frame in FRAMES]) < 0.2


def test_contact_is_what_changes_close_to_the_object() -> None:
    shot, regions = found(cast)
    contact = regions["contact"]
    for frame in FRAMES:
        close = cv2.dilate(shot.objects[frame].astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
        assert not (contact[frame] & ~close).any()
        assert not (contact[frame] & shot.objects[frame]).any()
    assert np.mean([contact[frame].any() for frame in FRAMES]) > 0.9


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_found_where_the_object_causes_nothing(rule: str) -> None:
    regions = found(nothing)[1][rule]
    assert max(regions[frame].mean() for frame in FRAMES) < 0.002
