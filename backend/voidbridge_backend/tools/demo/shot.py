"""A synthetic shot with a known truth: a rover crosses a square at dusk while the camera pans.

Arrays are float32, scene-linear ACEScg light, [height, width, 3] RGB; mattes are [height, width] from 0 to 1.
The camera turns about its own center, so a homography maps any frame to any other. Distances inside the scene
are in picture heights: the same shot at every size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from . import scene
from .scene import Floats

FIRST = 1001
MARGIN = 0.34
"""Extent of the panorama beyond the first frame on each side, in heights."""
SHUTTER = 0.5
"""Fraction of a frame's time with an open shutter (180 degrees)."""
GROUND = 0.925
"""The height at which the rover's wheels touch the ground in the panorama."""
SHADOW_DEPTH = 0.62
"""Fraction of the light that the shadow removes at its darkest point."""
GRAIN_READ, GRAIN_SHOT = 1.0e-3, 1.1e-4
"""Grain: deviation in the dark, and variance per unit of light; about a digital camera at a high index."""


@dataclass(frozen=True)
class DemoFrame:
    """One frame: the plate, the same frame without the rover, and the mattes of the rover and its shadow."""

    frame: int
    plate: Floats
    truth: Floats
    primary: Floats
    affected: Floats


@dataclass(frozen=True)
class DemoShot:
    """Random access to the shot; the same numbers give the same bits on the same machine."""

    height: int = 1152
    width: int = 2048
    length: int = 48
    first: int = FIRST
    seed: int = 7

    @property
    def frames(self) -> range:
        return range(self.first, self.first + self.length)

    def __iter__(self) -> Iterator[DemoFrame]:
        return (self.render(frame) for frame in self.frames)

    def render(self, frame: int) -> DemoFrame:
        """Draws one frame. Raises `ValueError` outside `frames`."""
        if frame not in self.frames:
            raise ValueError(f"the demo shot has {self.frames[0]}-{self.frames[-1]}, not {frame}")
        clean, grain = self._seen(self._panorama, frame), self._grain(frame)
        truth = _grainy(clean, grain)
        plate = truth.copy()
        alpha, shaded = (np.zeros(truth.shape[:2], np.float32) for _ in range(2))
        drawn = self._rover(frame)
        if drawn is not None:
            box = drawn.box
            lit = clean[box] * (1 - SHADOW_DEPTH * drawn.shadow)[..., None]
            covered = lit * (1 - drawn.alpha)[..., None] + drawn.color
            # Outside of rover and shadow, plate and truth have the same bits.
            touched = (drawn.alpha > 0) | (drawn.shadow > 0)
            plate[box] = np.where(touched[..., None], _grainy(covered, grain[box]), truth[box])
            alpha[box] = drawn.alpha
            shaded[box] = drawn.shadow > 0
        return DemoFrame(frame, plate, truth, alpha, shaded)

    def motion(self, source: int, target: int) -> NDArray[np.float64]:
        """Returns the true homography [3, 3] from pixels (x, y, 1) of frame `source` to those of `target`."""
        motion = np.linalg.inv(self._camera(target)) @ self._camera(source)
        return np.asarray(motion / motion[2, 2], np.float64)

    @cached_property
    def _panorama(self) -> Floats:
        aspect = self.width / self.height
        return scene.square(self.height, 1 + MARGIN / 2, aspect + 2 * MARGIN, self.seed)

    def _time(self, frame: int) -> float:
        """0 at the first frame, 1 at the last."""
        return (frame - self.first) / max(self.length - 1, 1)

    def _camera(self, frame: int) -> NDArray[np.float64]:
        """Maps pixels of `frame` to pixels of the panorama: a handheld pan with a slow zoom."""
        t, n = self._time(frame), frame - self.first
        scale, (cx, cy) = self.height, (self.width / 2, self.height / 2)
        sway_x = 0.004 * math.sin(n * 0.43) + 0.0022 * math.sin(n * 1.07 + 1)
        sway_y = 0.0035 * math.sin(n * 0.37 + 2) + 0.0018 * math.sin(n * 0.91)
        turn = math.radians(0.5 * math.sin(n * 0.17) + 0.7 * (t - 0.5))
        zoom = 1.0 - 0.05 * t
        ease = t * t * (3 - 2 * t)
        x = MARGIN + self.width / scale / 2 + 0.36 * (ease - 0.5) + sway_x
        y = 0.5 + MARGIN / 4 + sway_y
        to_centre = np.array([[1, 0, -cx], [0, 1, -cy], [0, 0, 1.0]])
        c, s = zoom * math.cos(turn), zoom * math.sin(turn)
        tilt = 0.012 * (t - 0.5) / scale
        place = np.array([[c, -s, x * scale], [s, c, y * scale], [0, 0, 1.0]])
        tilted = np.array([[1, 0, 0], [0, 1, 0], [tilt, 0, 1.0]]) @ to_centre
        return np.asarray(place @ tilted, np.float64)

    def _seen(self, panorama: Floats, frame: int) -> Floats:
        seen = cv2.warpPerspective(
            panorama,
            self._camera(frame),
            (self.width, self.height),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        # A cubic kernel undershoots beside a lamp, and there is no negative light.
        return np.asarray(np.maximum(seen, 0), np.float32)

    def _rover(self, frame: int) -> _Drawn | None:
        """Returns the rover over one shutter, or None if it is outside the picture."""
        travel = self.width / self.height + 0.5
        travelled = travel * self._time(frame)
        place = MARGIN - 0.25 + travelled, GROUND
        x, y, box = self._around(self._camera(frame), place)
        if not x.size:
            return None
        blur = _shutter(SHUTTER * travel / max(self.length - 1, 1) * self.height)
        layers = np.dstack(scene.rover(x, y, travelled, self.height))
        drawn = cv2.filter2D(layers, -1, blur, borderType=cv2.BORDER_REPLICATE)
        # A filter's rounding must not leave a coverage of 1e-9 far from the rover.
        drawn[drawn[..., 3] < 1e-3, :4] = 0
        drawn[drawn[..., 4] < 4e-3, 4] = 0
        alpha, shadow = (np.minimum(drawn[..., layer], 1) for layer in (3, 4))
        return _Drawn(box, drawn[..., :3], alpha, shadow)

    def _around(
        self, camera: NDArray[np.float64], place: tuple[float, float]
    ) -> tuple[Floats, Floats, tuple[slice, slice]]:
        """Returns the rover's own (x, y) at the pixels of a box that contains it and its shadow."""
        left, top, right, bottom = scene.ROVER_BOX
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        world = (corners + place) * self.height
        pixels = cv2.perspectiveTransform(world[None], np.linalg.inv(camera))[0]
        x0, y0 = np.clip(pixels.min(0), 0, (self.width, self.height)).astype(int)
        x1, y1 = np.clip(np.ceil(pixels.max(0)), 0, (self.width, self.height)).astype(int)
        ys, xs = np.mgrid[y0:y1, x0:x1].astype(np.float64)
        u, v, w = np.einsum("ij,jhw->ihw", camera, np.stack([xs, ys, np.ones_like(xs)]))
        x, y = u / w / self.height - place[0], v / w / self.height - place[1]
        return x.astype(np.float32), y.astype(np.float32), (slice(y0, y1), slice(x0, x1))

    def _grain(self, frame: int) -> Floats:
        """Returns grain of unit deviation [height, width, 3], slightly soft like a demosaiced picture's."""
        rng = np.random.default_rng((self.seed, frame))
        white = rng.standard_normal((self.height, self.width, 3), np.float32)
        soft = cv2.GaussianBlur(white, (0, 0), 0.55)
        # 0.55 px of blur leaves about 0.65 of the deviation, which this gain compensates.
        return np.asarray(soft * np.float32(1.53), np.float32)


@dataclass(frozen=True)
class _Drawn:
    """The rover in its box of the frame: color times coverage, coverage, shadow."""

    box: tuple[slice, slice]
    color: Floats
    alpha: Floats
    shadow: Floats


def _shutter(length: float) -> Floats:
    """Returns a horizontal box of `length` pixels, its ends weighted by their pixel coverage."""
    half = max(length, 1) / 2
    offsets = np.arange(-math.ceil(half), math.ceil(half) + 1)
    weights = np.clip(half + 0.5 - np.abs(offsets), 0, 1)
    return np.asarray(weights[None] / weights.sum(), np.float32)


def _grainy(light: Floats, grain: Floats) -> Floats:
    deviation = np.sqrt(np.float32(GRAIN_READ**2) + np.float32(GRAIN_SHOT) * light)
    return np.asarray(light + deviation * grain, np.float32)
