"""A figure before a colored screen, with its true alpha, foreground and screen: a test of keyers.

The shot is hard to key. It has hair one pixel wide, a limb with motion blur, a pane of glass, and highlights of 8.
The screen is lit unevenly, its light falls on the figure, and there is grain. All of it is drawn in linear light at
a finer size and several times a frame, then averaged: the truth is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

FINER = 3
"""Samples a pixel along each side."""
SHUTTER = tuple(step / 16 for step in range(9))
"""Times within a frame at which it is drawn; the shutter is open for half of a frame."""
GRAIN = 0.008
"""Standard deviation of the grain at a value of 0.25, as a share of 1; it grows with the root of the value."""
HIGHLIGHT = 8.0
SCREENS = {"green": (0.06, 0.42, 0.10), "blue": (0.06, 0.10, 0.42)}
"""Linear RGB of the two screens where they are lit fully."""


@dataclass(frozen=True)
class ScreenFrame:
    """One frame. `plate`, `foreground` (straight), `screen` are [height, width, 3], linear; `alpha` and `hint`
    [height, width] are from 0 to 1. The hint is rough: soft, a little too small, without hair."""

    plate: Array
    alpha: Array
    foreground: Array
    screen: Array
    hint: Array


@dataclass(frozen=True)
class ScreenScene:
    """The shot as a function of the frame's number, from 0."""

    height: int = 180
    width: int = 320
    color: Literal["green", "blue"] = "green"
    grain: float = GRAIN
    speed: float = 1.0

    def frame(self, number: int) -> ScreenFrame:
        alphas, lights, solids = [], [], []
        for time in SHUTTER:
            layers = self._layers(number + time)
            alpha, light = _stacked([(matte, color) for matte, color, _ in layers])
            alphas.append(_reduced(alpha))
            lights.append(_reduced(light))
            solids.append(_reduced(_stacked([layer[:2] for layer in layers if layer[2]])[0]))
        alpha, light = np.mean(alphas, axis=0), np.mean(lights, axis=0)
        screen = self._screen()
        clean = light + (1 - alpha[..., None]) * screen
        rng = np.random.default_rng([number, 7])
        noise = rng.standard_normal(clean.shape).astype(np.float32) * np.float32(self.grain)
        plate = clean + noise * np.sqrt(np.clip(clean, 0.02, 1) / 0.25)
        foreground = np.where(alpha[..., None] > 0, light / np.maximum(alpha, 1e-4)[..., None], 0)
        return ScreenFrame(
            plate.astype(np.float32),
            alpha.astype(np.float32),
            foreground.astype(np.float32),
            screen,
            _rough(np.mean(solids, axis=0), self.height),
        )

    def _screen(self) -> Array:
        """Lit from one side, darker in the corners, with two soft folds."""
        rows, columns = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        x, y = columns / self.width, rows / self.height
        light = 0.72 + 0.38 * x - 0.25 * ((x - 0.5) ** 2 + (y - 0.4) ** 2)
        folds = 0.05 * np.exp(-(((x - 0.15 - 0.05 * y) / 0.02) ** 2))
        folds -= 0.04 * np.exp(-(((x - 0.85 + 0.03 * y) / 0.03) ** 2))
        full = np.array(SCREENS[self.color], np.float32)
        return np.asarray((light + folds)[..., None] * full, np.float32)

    def _layers(self, time: float) -> list[tuple[Array, Array, bool]]:
        """Matte, color and whether a rough hint covers it, from the back to the front, at the finer size."""
        height, width = self.height * FINER, self.width * FINER
        unit = float(height)
        sway = 0.004 * unit * np.sin(time * 0.7) * self.speed
        head = (0.42 * width + sway, 0.36 * height)
        shape = (height, width)
        spill = np.array(SCREENS["green"], np.float32) * 0.12
        glass = _polygon(shape, [(0.62, 0.25), (0.76, 0.22), (0.78, 0.62), (0.63, 0.66)]) * 0.35
        body = _ellipse(shape, (head[0], 0.98 * height), (0.26 * unit, 0.42 * unit))
        face = _ellipse(shape, head, (0.13 * unit, 0.17 * unit))
        hair = self._hair(shape, head, unit, time)
        # The limb crosses an eighth of the height a frame: its edges are far softer than a pixel.
        swing = 0.12 * np.sin(time * 1.1 * self.speed)
        hand = (head[0] - 0.42 * unit, (0.62 - swing) * unit)
        limb = np.maximum(
            _ellipse(shape, hand, (0.06 * unit, 0.06 * unit)),
            _line(shape, [hand, (head[0] - 0.1 * unit, 0.75 * unit)], 0.07 * unit),
        )
        cloth = _shaded(shape, (0.16, 0.10, 0.24), unit, 31.0) + _rim(body, unit)[..., None] * spill
        skin = _shaded(shape, (0.48, 0.30, 0.22), unit, 53.0) + _rim(face, unit)[..., None] * spill
        spot = _ellipse(shape, (head[0] + 0.05 * unit, head[1] - 0.05 * unit), (0.02 * unit,) * 2)
        skin = skin * (1 - spot[..., None]) + HIGHLIGHT * spot[..., None]
        brown = _shaded(shape, (0.07, 0.05, 0.035), unit, 17.0) + spill * 0.3
        pane = _shaded(shape, (0.30, 0.32, 0.34), unit, 97.0)
        layers = [(glass, pane, True), (body, cloth, True), (limb, skin, True)]
        layers += [(hair, brown, False), (face, skin, True)]
        if self.color == "blue":  # costumes suit the screen: nobody wears violet before blue
            layers = [(matte, color[..., [0, 2, 1]], hinted) for matte, color, hinted in layers]
        return layers

    def _hair(
        self, shape: tuple[int, int], head: tuple[float, float], unit: float, time: float
    ) -> Array:
        rng = np.random.default_rng(11)
        matte = np.zeros(shape, np.float32)
        for angle in rng.uniform(np.pi * 0.95, np.pi * 2.05, 110):
            length, curl, phase = rng.uniform(0.12, 0.3), rng.uniform(-0.7, 0.7), rng.uniform(0, 6)
            along = np.linspace(0.1, 1, 12)
            wave = angle + curl * along + 0.06 * self.speed * np.sin(time * 0.9 + phase) * along
            reach = (0.12 + length * along) * unit
            points = np.stack(
                [head[0] + np.cos(wave) * reach, head[1] + np.sin(wave) * reach], axis=1
            )
            _stroke(matte, points, max(1, round(rng.uniform(0.3, 1.0) * FINER)))
        return matte


def _stacked(layers: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Alpha and premultiplied light of layers, each over those before it."""
    shape = layers[0][0].shape
    alpha, light = np.zeros(shape, np.float32), np.zeros((*shape, 3), np.float32)
    for matte, color in layers:
        alpha = matte + alpha * (1 - matte)
        light = color * matte[..., None] + light * (1 - matte[..., None])
    return alpha, light


def _reduced(fine: Array) -> Array:
    height, width = fine.shape[0] // FINER, fine.shape[1] // FINER
    small: Array = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return small


def _rough(solid: Array, height: int) -> Array:
    size = max(3, height // 45) | 1
    small = cv2.erode(solid.astype(np.float32), np.ones((size, size), np.uint8))
    hint: Array = cv2.GaussianBlur(small, (0, 0), size / 2)
    return hint


def _shaded(
    shape: tuple[int, int], color: tuple[float, float, float], unit: float, period: float
) -> Array:
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / np.float32(unit)
    light = 1 + 0.25 * np.sin(rows * period) * np.cos(columns * period * 0.8) - 0.3 * rows
    return np.asarray(light[..., None] * np.array(color, np.float32), np.float32)


def _rim(matte: Array, unit: float) -> Array:
    """1 at the edge of a shape, falling inward: where light of the screen reaches a figure."""
    inside = cv2.distanceTransform((matte > 0).astype(np.uint8), cv2.DIST_L2, 3)
    out: Array = np.exp(-inside / np.float32(0.04 * unit))
    return out


def _ellipse(
    shape: tuple[int, int], center: tuple[float, float], radii: tuple[float, float]
) -> Array:
    matte = np.zeros(shape, np.uint8)
    x, y, across, down = (round(value * 16) for value in (*center, *radii))
    cv2.ellipse(matte, (x, y), (across, down), 0, 0, 360, 1, -1, cv2.LINE_8, 4)
    return matte.astype(np.float32)


def _polygon(shape: tuple[int, int], corners: list[tuple[float, float]]) -> Array:
    points = np.round(np.array(corners) * (shape[1], shape[0]) * 16).astype(np.int32)
    matte = np.zeros(shape, np.uint8)
    cv2.fillPoly(matte, [points], 1, shift=4)
    return matte.astype(np.float32)


def _line(shape: tuple[int, int], points: list[tuple[float, float]], thickness: float) -> Array:
    matte = np.zeros(shape, np.float32)
    _stroke(matte, np.array(points), max(1, round(thickness)))
    return matte


def _stroke(matte: Array, points: NDArray[np.float64], thickness: int) -> None:
    cv2.polylines(
        matte, [np.round(points * 16).astype(np.int32)], False, 1.0, thickness, cv2.LINE_8, 4
    )
