"""`cleanplate` with painted clean frames: the artist's paint of some frames is carried to all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
from cleanplate_shots import HEIGHT, WIDTH, Shot, Watch, by_hand, hole_psnr, pan, still

from voidbridge_backend.engines.base import Paint, Pixels
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_protocol.operations.remove import RemoveSettings

FIRST, PAINTED = 1001, 1004

MakePaint = Callable[[Shot, int], Paint]


@dataclass
class PaintedShot(Shot):
    """The disc stays before the same spot of the background, which no frame shows."""

    paints: Mapping[int, MakePaint] = field(default_factory=dict)

    @property
    def painted(self) -> Sequence[int]:
        return sorted(self.paints)

    def paint(self, frame: int) -> Paint:
        return self.paints[frame](self, frame)


def patch(shot: Shot, frame: int, times: float = 1.0) -> Paint:
    """The background behind the disc, and not a pixel more."""
    weight = (shot.quadmask(frame) != 255).astype(np.float32)
    return Paint(shot.truth(frame) * np.float32(times) * weight[..., None], weight)


def brighter(shot: Shot, frame: int) -> Paint:
    return patch(shot, frame, 1.2)


def whole(shot: Shot, frame: int) -> Paint:
    return Paint(shot.truth(frame), np.ones((HEIGHT, WIDTH), np.float32), is_whole=True)


def soft(shot: Shot, frame: int) -> Paint:
    """A patch with a soft edge, larger than the hole."""
    hole = (shot.quadmask(frame) != 255).astype(np.uint8)
    weight = cv2.blur(cv2.dilate(hole, np.ones((9, 9))).astype(np.float32), (5, 5))
    return Paint(shot.truth(frame) * (weight > 0)[..., None], weight)


def made(
    camera: Callable[[int], tuple[float, float]],
    paints: Mapping[int, MakePaint],
    exposure: Callable[[int], float] = lambda n: 1.0,
) -> PaintedShot:
    def pinned(n: int) -> tuple[float, float]:
        x, y = camera(n)
        return 80 - x, 48 - y

    return PaintedShot(6, camera, pinned, exposure=exposure, paints=paints)


def removed(shot: Shot, watch: Watch | None = None, **settings: bool) -> dict[int, Pixels]:
    chosen = RemoveSettings(grow=0, soften=0, **settings)
    return dict(Cleanplate().remove(shot, chosen, watch or Watch()))


def worst(shot: Shot, results: Mapping[int, Pixels]) -> float:
    return min(hole_psnr(shot, {frame: light}) for frame, light in results.items())


def hole_mean(shot: Shot, frame: int, light: Pixels) -> float:
    """The brightness of the hole beside the truth's."""
    return float((light / shot.truth(frame))[shot.quadmask(frame) != 255].mean())


@pytest.mark.parametrize("paint", [patch, whole])
@pytest.mark.parametrize(("camera", "least"), [(still, 60), (by_hand, 40), (pan, 40)])
def test_one_painted_frame_fills_a_hole_that_no_frame_shows(
    camera: Callable[[int], tuple[float, float]], least: float, paint: MakePaint
) -> None:
    shot, watch = made(camera, {PAINTED: paint}), Watch()
    assert worst(shot, removed(shot, watch)) > least
    assert watch.notes == ["the paint of frames 1004 is carried through the shot"]


def test_without_paint_that_hole_is_invented() -> None:
    shot, watch = made(still, {}), Watch()
    assert worst(shot, removed(shot, watch)) < 20
    assert "invented" in watch.notes[0]


def test_a_patch_comes_back_on_its_own_frame_to_the_bit() -> None:
    shot = made(by_hand, {PAINTED: brighter})
    hole = shot.quadmask(PAINTED) != 255
    paint = shot.paint(PAINTED).light
    assert removed(shot)[PAINTED][hole].tobytes() == paint[hole].tobytes()


def test_paint_follows_the_exposure_of_the_plate() -> None:
    shot = made(by_hand, {PAINTED: patch}, lambda n: 1 - n / 10)
    assert worst(shot, removed(shot)) > 38


def test_one_painted_frame_is_faded_into_the_next() -> None:
    shot = made(still, {FIRST + 1: patch, FIRST + 5: brighter})
    found = removed(shot)
    levels = [hole_mean(shot, frame, found[frame]) for frame in range(FIRST + 1, FIRST + 6)]
    assert levels == pytest.approx([1, 1.05, 1.1, 1.15, 1.2], abs=0.005)


def test_a_soft_patch_leaves_no_edge() -> None:
    shot = made(by_hand, {PAINTED: soft})
    assert worst(shot, removed(shot)) > 40


def test_paint_is_sure() -> None:
    shot = made(still, {PAINTED: patch})
    assert all(light[..., 3].min() == 1 for light in removed(shot, confidence=True).values())


def test_paint_stays_within_its_scene() -> None:
    shot, watch = made(by_hand, {PAINTED: patch}), Watch()
    for _ in Cleanplate().remove(shot, RemoveSettings(grow=0, soften=0, cuts="1004,1005"), watch):
        pass
    invented = [note for note in watch.notes if "invented" in note]
    assert "in frames 1001-1003, 1005-1006 was" in invented[0]
