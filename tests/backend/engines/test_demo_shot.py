from pathlib import Path

import cv2
import numpy as np
import pytest

from voidbridge_backend.client.progress import LogView
from voidbridge_backend.tools.demo.demo import show
from voidbridge_backend.tools.demo.shot import DemoShot
from voidbridge_protocol.errors import JobCancelled

SHOT = DemoShot(height=108, width=192, length=12)


def test_the_same_shot_is_drawn_twice_with_the_same_bits() -> None:
    first, again = SHOT.render(1005), DemoShot(height=108, width=192, length=12).render(1005)
    np.testing.assert_array_equal(first.plate, again.plate)


def test_plate_and_truth_are_one_picture_outside_the_mattes() -> None:
    for drawn in SHOT:
        outside = (drawn.primary == 0) & (drawn.affected == 0)
        np.testing.assert_array_equal(drawn.plate[outside], drawn.truth[outside])
        assert np.isfinite(drawn.plate).all()
        assert drawn.plate.shape == (108, 192, 3)
        assert drawn.plate.dtype == drawn.primary.dtype == np.float32


def test_the_rover_crosses_the_picture_and_covers_a_lamp() -> None:
    drawn = list(SHOT)
    middles = [np.nonzero(one.primary > 0.5)[1].mean() for one in drawn[1:-1]]
    assert (np.diff(middles) > 0).all()
    assert middles[0] < 192 / 4 < 192 * 3 / 4 < middles[-1]
    assert max(one.truth[one.primary > 0.9].max(initial=0) for one in drawn) > 20


def test_the_mattes_have_soft_edges_and_the_shadow_darkens() -> None:
    drawn = SHOT.render(1006)
    assert ((drawn.primary > 0.05) & (drawn.primary < 0.95)).any()
    shadow = (drawn.affected > 0) & (drawn.primary == 0)
    assert drawn.plate[shadow].mean() < 0.85 * drawn.truth[shadow].mean()


def test_the_camera_s_motion_takes_one_clean_frame_to_another() -> None:
    first, second = SHOT.render(1004).truth, SHOT.render(1008).truth
    moved = cv2.warpPerspective(first, SHOT.motion(1004, 1008), (192, 108), flags=cv2.INTER_CUBIC)
    inner = np.s_[20:-20, 20:-20]
    still = np.abs(np.log1p(first[inner].clip(0)) - np.log1p(second[inner].clip(0))).mean()
    along = np.abs(np.log1p(moved[inner].clip(0)) - np.log1p(second[inner].clip(0))).mean()
    assert along < 0.35 * still


def test_a_frame_that_the_shot_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="1001-1012, not 1013"):
        SHOT.render(1013)


def test_a_cancelled_demo_stops_between_two_frames(tmp_path: Path) -> None:
    def remove(*files: object) -> object:
        raise AssertionError("nothing is removed")

    with pytest.raises(JobCancelled, match="cancelled after 1 of 12 frames were rendered"):
        show(tmp_path, LogView(), remove, SHOT, should_cancel=lambda: True)  # type: ignore[arg-type]
