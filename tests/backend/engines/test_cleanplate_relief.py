"""`cleanplate` on backgrounds of any depth: a ground that bends, and points that no single frame shows all of."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from cleanplate_shots import Shot, Watch, pan, still, texture

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_backend.engines.cleanplate.geometry import FrameBox, shift
from voidbridge_backend.engines.cleanplate.motion import plan
from voidbridge_backend.engines.cleanplate.motion.align import Relief
from voidbridge_backend.engines.cleanplate.motion.analyze_camera import analyzed
from voidbridge_backend.engines.cleanplate.motion.camera import FAINT
from voidbridge_backend.engines.cleanplate.motion.parallax import parallax
from voidbridge_backend.engines.cleanplate.motion.tracks import Tracks, faint, follow
from voidbridge_backend.quality.reference import encode
from voidbridge_protocol.operations.remove import RemoveSettings

FRAMES, NEAR = 12, 400


@dataclass
class Bend(Shot):
    """A ground that bends: each row moves at its own speed, 1 to 7 pixels a frame."""

    height, width = 112, 192
    ground: Pixels = field(default_factory=lambda: texture(4, 112, 320))

    def truth(self, frame: int) -> Pixels:
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32)
        moved = x + (frame - self.first) * (1 + 6 * (y / self.height) ** 2)
        return np.asarray(cv2.remap(self.ground, moved, y, cv2.INTER_CUBIC), np.float32)

    def quadmask(self, frame: int) -> np.ndarray:
        inside, around = self._disc(frame)
        return np.where(inside, 0, np.where(around, 127, 255)).astype(np.uint8)

    def _disc(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        y, x = np.mgrid[: self.height, : self.width]
        away = np.hypot(x - 30 - 13 * (frame - self.first), y - 60)
        return away < self.radius, away < self.radius + 2


def test_a_ground_that_bends_is_followed() -> None:
    shot = Bend(FRAMES, still, lambda n: None)
    settings = RemoveSettings(grow=0, soften=0)
    ((frame, light),) = Cleanplate().remove(shot, settings, Watch(), [1006])
    hole = shot.quadmask(frame) == 0
    errors = np.square(encode(light) - encode(shot.truth(frame)))[hole]
    assert -10 * np.log10(errors.mean()) > 36


def _followed() -> tuple[Tracks, np.ndarray]:
    """Points at two depths of 12 frames; no near one is seen in more than 5 of them. And the depth of each."""
    rng = np.random.default_rng(5)
    count = 2 * NEAR
    places = np.column_stack([rng.uniform(0, 640, count), rng.uniform(0, 180, count)])
    near = (np.arange(count) < NEAR) * (0.5 + places[:, 1] / 180)
    tracks = Tracks(320)
    for frame in range(FRAMES):
        at = places - np.outer(near, (40 * frame, 3 * frame)) + (rng.normal(0, 0.05, places.shape))
        first = np.arange(count) % 8
        shown = (near == 0) | ((frame >= first) & (frame < first + 5))
        tracks._at[frame] = np.flatnonzero(shown).astype(np.int32), at[shown].astype(np.float32)
    return tracks, near


def test_a_camera_is_known_where_it_shares_no_near_point_with_the_first_frame() -> None:
    tracks, near = _followed()
    found = parallax(tracks, 2, dict.fromkeys(range(FRAMES), np.eye(3)))
    assert found is not None
    ids, points = tracks.of(2)
    shared = np.isin(ids, tracks.of(11)[0])
    assert not (near[ids[shared]] > 0).any()
    order = np.square(points[:, None] - found.points[None]).sum(-1).argmin(1)
    way, mine = found.ways[11], near[ids] > 0
    whole = np.column_stack([points, np.ones(len(points))]) @ way.plane.T
    whole += found.nearness[order, None] * way.shift
    expected = points - np.outer(near[ids], (40 * 9, 3 * 9))
    apart = np.hypot(*(whole[:, :2] / whole[:, 2:] - expected).T)
    assert np.median(apart[mine]) < 2
    assert np.median(apart[~mine]) < 0.2


def test_points_that_all_move_alike_tell_of_no_camera() -> None:
    places = np.random.default_rng(6).integers(0, 180, (200, 2))
    tracks = Tracks(192)
    for frame in range(FRAMES):
        at = (places + 2 * frame).astype(np.float32)
        tracks._at[frame] = np.arange(200, dtype=np.int32), at
    planes = {frame: shift(2.0 * frame, 2.0 * frame) for frame in range(FRAMES)}
    assert parallax(tracks, 0, planes) is None


def test_a_relief_seen_from_another_frame_leads_to_the_same_places() -> None:
    tracks, _ = _followed()
    found = parallax(tracks, 2, dict.fromkeys(range(FRAMES), np.eye(3)))
    assert found is not None
    other = found.seen_from(4)
    assert other is not None
    for model in (found, other):
        way = model.ways[6]
        there = np.column_stack([model.points, np.ones(len(model.points))]) @ way.plane.T
        there += model.nearness[:, None] * way.shift
        places = there[:, :2] / there[:, 2:]
        if model is found:
            first = places
    assert np.abs(first - places).max() < 1e-6


def test_a_relief_of_even_nearness_is_a_plane() -> None:
    box = FrameBox(3, 2, 11, 8)
    plane = np.array([[1.1, 0, 4], [0, 0.9, -2], [0, 0, 1]])
    relief = Relief(box, np.full((6, 8), 2, np.float32), plane, np.array([1.5, -1, 0]))
    x, y = relief.at(FrameBox(4, 3, 6, 5))
    assert np.allclose(x, [[11.4, 12.5]] * 2)
    assert np.allclose(y, [[-1.3] * 2, [-0.4] * 2])


def test_points_of_one_plane_tell_of_no_depth() -> None:
    shot = Shot(8, pan, lambda n: (25.0 + 14 * n, 48.0))
    camera = analyzed(shot, Watch()).camera
    box = FrameBox(0, 0, shot.width, shot.height)
    assert plan.deep(camera, 1002, 1007, box) is None
    bend = Bend(FRAMES, still, lambda n: None)
    bent = analyzed(bend, Watch()).camera
    part = plan.deep(bent, 1002, 1007, FrameBox(40, 0, 140, 112))
    assert part is not None
    assert part.left > 40
    assert part.right > 140 + 5


def test_soft_parts_of_a_picture_have_points_and_even_or_grainy_ones_have_none() -> None:
    rng = np.random.default_rng(2)
    soft = rng.random((16, 14)).astype(np.float32)
    grey = 100 + 12 * cv2.resize(soft, (320, 360), interpolation=cv2.INTER_CUBIC)
    grey[:90] = 106 + 2 * rng.standard_normal((90, 320))
    grey[270:] = 106
    picture = np.rint(grey).astype(np.uint8)
    corners = np.array([[100, 180]], np.float32)
    points = faint(picture, np.full(picture.shape, 255, np.uint8), corners)
    assert (np.abs(points[:, 1] - 180) <= 90 + 21 // 2).all()
    assert (np.hypot(*(points - corners).T) > 0.03 * 320).all()
    points = points[(np.abs(points - (160, 180)) < (140, 75)).all(1)]
    assert len(points) >= 24
    moved = np.roll(picture, 3, axis=1)
    there, good = follow(picture, moved, points, points, 3, FAINT)
    assert good.mean() > 0.8
    assert np.percentile(np.abs(there - points - [3, 0])[good], 90) < 0.1
