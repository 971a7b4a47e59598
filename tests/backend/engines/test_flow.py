"""The engine `flow` on drawn shots: a disk over texture, with a truth for every frame."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.engines.flow.engine import Flow
from voidbridge_backend.engines.flow.segment import segment
from voidbridge_backend.engines.mask_base import Clicks, Matte, Picture, Prompts

HEIGHT, WIDTH, RADIUS, FRAMES = 135, 240, 22, range(1001, 1013)


def center(frame: int) -> tuple[int, int]:
    return 60 + 7 * (frame - 1001), 70 - 2 * (frame - 1001)


def truth(frame: int) -> NDArray[np.bool_]:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(drawn, center(frame), RADIUS, (1,), -1)
    return drawn.astype(bool)


def shot() -> dict[int, Picture]:
    """A textured disk moves one way over a textured wall that moves the other."""
    random = np.random.default_rng(5)
    wall = random.integers(40, 160, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    wall = cv2.GaussianBlur(wall, (0, 0), 2)
    skin = cv2.GaussianBlur(random.integers(0, 90, (HEIGHT, WIDTH, 3)).astype(np.uint8), (0, 0), 2)
    skin[..., 0] += 150
    found = {}
    for frame in FRAMES:
        picture = np.roll(wall, -(frame - 1001), axis=1)
        moved = np.roll(skin, (center(frame)[0] - 60, center(frame)[1] - 70), axis=(1, 0))
        found[frame] = np.where(truth(frame)[..., None], moved, picture)
    return found


PICTURES = shot()


def overlap(matte: Matte, frame: int) -> float:
    inside, real = matte > 0.5, truth(frame)
    return float((inside & real).sum() / (inside | real).sum())


def tracked(
    clicks: Mapping[int, Clicks] | None = None, keys: Mapping[int, Matte] | None = None
) -> dict[int, Matte]:
    prompts = Prompts(clicks or {}, keys or {})
    found = list(Flow().track(PICTURES.__getitem__, list(FRAMES), prompts, lambda: None))
    assert sorted(item.frame for item in found) == list(FRAMES)
    assert all(0 <= item.score <= 1 for item in found)
    return {item.frame: item.matte for item in found}


def on(frame: int) -> Clicks:
    x, y = center(frame)
    return Clicks(((x, y), (x - 12, y), (x + 10, y + 8)), ((x + 40, y), (x - 40, y + 10)))


@pytest.mark.parametrize("frame", [1001, 1006, 1012])
def test_clicks_on_any_frame_make_every_frames_matte(frame: int) -> None:
    found = tracked({frame: on(frame)})
    assert min(overlap(found[f], f) for f in FRAMES) > 0.9


def test_a_box_is_enough() -> None:
    x, y = center(1001)
    box = (x - 27.0, y - 27.0, x + 28.0, y + 28.0)
    assert overlap(segment(PICTURES[1001], Clicks(box=box)), 1001) > 0.9


def test_a_click_beside_the_object_is_never_in_the_matte() -> None:
    clicks = on(1001)
    matte = segment(PICTURES[1001], clicks)
    assert all(matte[int(y), int(x)] == 0 for x, y in clicks.negative)
    assert all(matte[int(y), int(x)] == 1 for x, y in clicks.positive)


def test_key_mattes_stay_as_they_are_and_draw_the_frames_between_them() -> None:
    keys = {frame: truth(frame).astype(np.float32) for frame in (1001, 1012)}
    found = tracked(keys=keys)
    for frame, key in keys.items():
        np.testing.assert_array_equal(found[frame], key)
    assert min(overlap(found[f], f) for f in FRAMES) > 0.93


def test_a_correction_changes_only_frames_up_to_the_next_key() -> None:
    first = {1001: truth(1001).astype(np.float32), 1006: truth(1006).astype(np.float32)}
    before = tracked(keys=first)
    after = tracked(keys={**first, 1012: truth(1012).astype(np.float32)})
    for frame in range(1001, 1007):
        np.testing.assert_array_equal(after[frame], before[frame])


def test_an_object_that_is_not_there_has_an_empty_matte() -> None:
    empty = {1001: np.zeros((HEIGHT, WIDTH), np.float32)}
    assert not any(matte.any() for matte in tracked(keys=empty).values())


def test_the_same_input_gives_the_same_bits() -> None:
    one, two = tracked({1001: on(1001)}), tracked({1001: on(1001)})
    assert all(np.array_equal(one[frame], two[frame]) for frame in FRAMES)


def test_what_stops_the_job_stops_the_track() -> None:
    class Stopped(Exception):
        pass

    def heartbeat() -> None:
        raise Stopped

    prompts = Prompts({}, {1001: truth(1001).astype(np.float32)})
    with pytest.raises(Stopped):
        list(Flow().track(PICTURES.__getitem__, list(FRAMES), prompts, heartbeat))


def test_several_key_mattes_that_are_looser_than_the_colors_stay_loose_between_them() -> None:
    def loose(frame: int) -> NDArray[np.bool_]:
        return cv2.dilate(truth(frame).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0

    keys = {frame: loose(frame).astype(np.float32) for frame in (1001, 1006, 1012)}
    found = tracked(keys=keys)
    overlaps = [
        ((found[f] > 0.5) & loose(f)).sum() / ((found[f] > 0.5) | loose(f)).sum() for f in FRAMES
    ]
    assert np.mean(overlaps) > 0.87, "the colors alone would give 0.85"


def test_a_box_around_burnt_in_text_makes_a_matte_of_the_letters_that_stands_still() -> None:
    letters = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.putText(letters, "TEXT 42", (40, 110), cv2.FONT_HERSHEY_SIMPLEX, 1, (1,), 2)
    wall = np.random.default_rng(7).integers(40, 160, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    wall = cv2.GaussianBlur(wall, (0, 0), 2)
    pictures = {
        frame: np.where(letters[..., None] > 0, 235, np.roll(wall, 4 * frame, axis=1)).astype("u1")
        for frame in FRAMES
    }
    prompts = Prompts({1001: Clicks(box=(30.0, 80.0, 190.0, 118.0))}, {})
    found = list(Flow().track(pictures.__getitem__, list(FRAMES), prompts, lambda: None))
    assert len(found) == len(FRAMES)
    for item in found:
        inside = item.matte > 0.5
        assert (inside & (letters > 0)).sum() > 0.95 * letters.sum(), item.frame
        assert (inside & (letters == 0)).sum() < 0.2 * letters.sum(), item.frame


def glass() -> tuple[Picture, NDArray[np.bool_]]:
    """A drink in a clear glass: dark in the middle, pale at its foot, and like the wall at its rim."""
    random = np.random.default_rng(9)
    wall = cv2.GaussianBlur(
        random.integers(70, 110, (HEIGHT, WIDTH, 3)).astype(np.uint8), (0, 0), 3
    )
    whole = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.rectangle(whole, (89, 24), (140, 105), (1,), -1)
    picture = wall.copy()
    cv2.rectangle(picture, (90, 25), (139, 104), (190, 195, 195), 2)  # clear glass shows at its lip
    picture[40:90, 91:139] = (70, 25, 15)
    picture[90:105, 91:139] = (185, 190, 190)
    return cv2.GaussianBlur(picture, (0, 0), 0.7), whole.astype(bool)


def test_parts_of_another_color_within_a_stronger_outline_belong_to_the_object() -> None:
    picture, whole = glass()
    clicks = Clicks(((115.0, 65.0), (120.0, 98.0), (98.0, 80.0)), ((160.0, 40.0), (70.0, 90.0)))
    inside = segment(picture, clicks) > 0.5
    assert (inside & whole).sum() / (inside | whole).sum() > 0.9, "by colors alone at most 0.85"
    assert inside[25:40, 90:140].mean() > 0.85, "between its lips the rim has the color of the wall"


def test_a_hole_of_the_object_stays_a_hole() -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 160, np.uint8)
    cv2.ellipse(picture, (120, 70), (45, 40), 0, 0, 360, (20, 30, 60), 14)
    picture = cv2.GaussianBlur(picture, (0, 0), 0.7)
    clicks = Clicks(((75.0, 70.0), (165.0, 70.0), (120.0, 110.0)), ((200.0, 60.0), (30.0, 100.0)))
    inside = segment(picture, clicks) > 0.5
    assert all(inside[row, column] for row, column in ((70, 75), (70, 165), (30, 120)))
    assert not inside[55:85, 95:145].any()


@pytest.mark.parametrize("at", [(1.0, 1.0), (238.0, 133.0)])
def test_clicks_in_a_corner_of_the_picture_are_enough(at: tuple[float, float]) -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 160, np.uint8)
    cv2.circle(picture, (int(at[0]), int(at[1])), 20, (20, 30, 60), -1)
    inside = segment(picture, Clicks((at,), ((120.0, 66.0),))) > 0.5
    real = np.all(picture < 90, axis=-1)
    assert (inside & real).sum() / (inside | real).sum() > 0.9
