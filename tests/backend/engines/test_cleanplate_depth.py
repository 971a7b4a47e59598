"""`cleanplate` on backgrounds at two depths, and where one plane is enough."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from cleanplate_shots import Shot, Watch, hole_psnr, pan, removed, still, texture

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate import frame as frames
from voidbridge_backend.engines.cleanplate.geometry import shift
from voidbridge_backend.engines.cleanplate.motion import depth
from voidbridge_backend.engines.cleanplate.motion.analyze_camera import analyzed

HORIZON = 52
SOME = (1002, 1006, 1011)


@dataclass
class TwoDepths(Shot):
    """Above the horizon the picture moves by 2 pixels a frame, below it by 6; the disc crosses it."""

    height, width = 120, 200
    far: Pixels = field(default_factory=lambda: texture(1, 140, 320))
    near: Pixels = field(default_factory=lambda: texture(2, 140, 320) * np.float32(0.5))

    def truth(self, frame: int) -> Pixels:
        n = frame - self.first
        light = self.far[: self.height, 2 * n : 2 * n + self.width].copy()
        light[HORIZON:] = self.near[HORIZON : self.height, 6 * n : 6 * n + self.width]
        return light

    def _disc(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        y, x = np.mgrid[: self.height, : self.width]
        away = np.hypot(x - 30 - 13 * (frame - self.first), y - HORIZON)
        return away < self.radius, away < self.radius + 2

    def quadmask(self, frame: int) -> np.ndarray:
        inside, around = self._disc(frame)
        return np.where(inside, 0, np.where(around, 127, 255)).astype(np.uint8)


def test_two_depths_are_laid_each_by_its_own_motion() -> None:
    shot = TwoDepths(12, still, lambda n: None)
    assert hole_psnr(shot, removed(shot, SOME)) > 30


def test_the_layers_move_as_the_depths_do() -> None:
    shot = TwoDepths(12, still, lambda n: None)
    camera = analyzed(shot, Watch()).camera
    ways = camera.ways(1003, 1008)
    found = sorted(float(way[0, 2] / way[2, 2]) for way in ways if way is not None)
    assert any(abs(one + 30) < 2 for one in found)
    assert any(abs(one + 10) < 2 for one in found)


def test_two_depths_with_large_even_patches_are_told_apart() -> None:
    """Even patches agree under any motion: the hole's sides and the layers' own brightness have to tell."""

    def patches(seed: int) -> Pixels:
        rng = np.random.default_rng(seed)
        colors = rng.random((140 // 24 + 1, 320 // 24 + 1, 3)).astype(np.float32)
        large = colors.repeat(24, 0).repeat(24, 1)[:140, :320]
        return np.asarray(0.6 * large + 0.2 * texture(seed, 140, 320), np.float32)

    shot = TwoDepths(12, still, lambda n: None, far=patches(1), near=patches(2))
    assert hole_psnr(shot, removed(shot, SOME)) > 35


def test_a_layer_is_as_bright_as_most_of_its_own_pixels() -> None:
    """A third of the picture is the layer's, and 7 steps brighter; the others differ by anything."""
    rng = np.random.default_rng(3)
    apart = np.concatenate([rng.integers(-90, 90, 600), 7 + rng.integers(-1, 2, 300)])
    assert abs(depth._usual(apart.astype(np.intp)) - 7) <= 1


def test_a_border_between_layers_needs_more_than_a_little_evidence() -> None:
    costs = np.zeros((2, 40, 60), np.float32)
    costs[1] = 4
    costs[:, 15:18, 20:23] = [[[4]], [[0]]]
    assert depth.along_paths(costs, depth.BORDER).argmin(0).max() == 0
    costs[:, 25:, :] = [[[6]], [[0]]]
    chosen = depth.along_paths(costs, depth.BORDER).argmin(0)
    assert (chosen[25:] == 1).all()
    assert (chosen[:25] == 0).all()


def test_one_plane_is_left_as_it_is(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    shot = Shot(8, pan, lambda n: (25.0 + 14 * n, 48.0))
    now = removed(shot, SOME[:2])
    monkeypatch.setattr(frames, "layered", lambda frame, target, laid, shot, pool: list(laid))
    alone = removed(shot, SOME[:2])
    assert len(now) == 2
    assert all(now[frame].tobytes() == alone[frame].tobytes() for frame in now)


def test_layers_whose_sources_agree_less_than_one_planes_are_left_out(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Water, too, has layers that fit beside the hole."""

    def astray(frame, target, laid, shot, pool):  # type: ignore[no-untyped-def]
        """Each source by another motion, as layers that nothing follows are."""
        everywhere = target.box, np.ones((target.box.height, target.box.width), bool)
        return [
            replace(one, homography=shift(7 * n, -5 * n) @ one.homography, where=everywhere)
            for n, one in enumerate(laid)
        ]

    shot = Shot(8, pan, lambda n: (25.0 + 14 * n, 48.0))
    monkeypatch.setattr(frames, "layered", astray)
    now = removed(shot, SOME[:2])
    monkeypatch.setattr(frames, "layered", lambda frame, target, laid, shot, pool: list(laid))
    alone = removed(shot, SOME[:2])
    assert len(now) == 2
    assert all(now[frame].tobytes() == alone[frame].tobytes() for frame in now)
