"""The content of the demo shot: a paved square at dusk, and a rover that crosses it.

A few formulas and seeded noise draw everything. Light is scene-linear ACEScg, float32, [height, width, 3];
distances are in picture heights, y downwards.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

HORIZON = 0.575
"""The line between square and town, in heights from the top of the panorama."""
SUN = 1.02
"""The sun's position along the horizon."""
LAMPS = (
    *((0.42, 0.70), (0.93, 0.715), (1.36, 0.70), (1.82, 0.72), (2.25, 0.70)),
    *((0.60, 0.90), (1.19, 0.90), (1.62, 0.90), (2.04, 0.90)),
)
"""The lamps' positions: (x, y of the foot). The near row is low, and the rover passes in front of it."""
NEAR = 0.85
"""A lamp with its foot below this line belongs to the near row."""
ROVER_BOX = (-0.26, -0.36, 0.36, 0.10)
"""Left, top, right, bottom of the rover with its shadow around the point between its wheels."""


def square(scale: int, height: float, width: float, seed: int) -> Floats:
    """Returns the panorama [height * scale, width * scale, 3]: sky, town, hedge, paving, lamps and their glow."""
    rows, columns = round(height * scale), round(width * scale)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) / np.float32(scale)
    rng = np.random.default_rng(seed)
    light = _sky(x, y, scale, rng)
    _town(light, x, y, scale, rng, far=True)
    _town(light, x, y, scale, rng, far=False)
    _hedge(light, x, y, scale, rng)
    _paving(light, x, y, scale, rng)
    _lamps(light, x, y, scale)
    # A lens: as soft as a good one at this size, with a wide faint veil around bright highlights. Without the
    # softness, camera moves of a fraction of a pixel would alias beside the highlights.
    veil = cv2.GaussianBlur(np.minimum(light, 40), (0, 0), 0.03 * scale)
    sharp = cv2.GaussianBlur(light, (0, 0), 0.85)
    return np.asarray(0.96 * sharp + 0.04 * veil, np.float32)


def _noise(x: Floats, scale: int, cells: float, octaves: int, rng: np.random.Generator) -> Floats:
    """Returns fractal noise like `x`, about -1 to 1, with `cells` per height in its coarsest octave.

    Octaves finer than two pixels are drawn from the generator and omitted, so the scene is the same at every
    size.
    """
    rows, columns = x.shape
    total = np.zeros_like(x)
    for octave in range(octaves):
        pitch = cells * 2**octave / scale
        size = int(columns * pitch) + 4, int(rows * pitch) + 4
        lattice = rng.uniform(-1, 1, size[::-1]).astype(np.float32)
        if pitch > 0.5:
            continue
        place = np.array([[pitch, 0, 1.5], [0, pitch, 1.5]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        layer = cv2.warpAffine(lattice, place, (columns, rows), flags=flags)
        total += layer * np.float32(0.55**octave)
    return total


def _rgb(red: float, green: float, blue: float) -> Floats:
    return np.array([red, green, blue], np.float32)


def _paint(light: Floats, color: Floats | tuple[float, ...], cover: Floats) -> None:
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    if not rows.size:
        return
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    tone = np.asarray(color, np.float32)
    part = light[box]
    part += cover[box][..., None] * ((tone[box] if tone.ndim == 3 else tone) - part)


def _step(distance: Floats, scale: int, soft: float = 0.7) -> Floats:
    """Returns 1 where the distance in heights is below 0, and 0 above, with an edge of `soft` pixels."""
    inside = 0.5 - distance * np.float32(scale / (2 * soft))
    return np.asarray(np.clip(inside, 0, 1), np.float32)


def _sky(x: Floats, y: Floats, scale: int, rng: np.random.Generator) -> Floats:
    up = np.clip((HORIZON - y) / HORIZON, 0, 1)[..., None]
    low, high = _rgb(0.95, 0.42, 0.20), _rgb(0.055, 0.085, 0.19)
    light = low * (1 - up) ** 2.2 + high * (1 - (1 - up) ** 1.5)
    cloud = _noise(x, scale, 2.2, 6, rng) + 0.5 * _noise(x, scale, 1.1, 2, rng)
    cover = np.clip(cloud * 0.9 + 0.1, 0, 1) * np.clip(up[..., 0] * 2.4, 0, 1)
    lit = _rgb(0.85, 0.36, 0.24) * (0.25 + 0.75 * (1 - up))
    light += 0.75 * cover[..., None] * (lit - light)
    away = np.hypot(x - SUN, y - HORIZON + 0.15)
    light += _rgb(1.0, 0.5, 0.2) * (0.9 * np.exp(-away / 0.16))[..., None]
    _paint(light, (60.0, 38.0, 18.0), _step(away - 0.017, scale))
    return np.asarray(light, np.float32)


def _town(
    light: Floats, x: Floats, y: Floats, scale: int, rng: np.random.Generator, *, far: bool
) -> None:
    """Draws houses from left to right, each with its height, its tint and its own lit windows."""
    wide, tall, top = (0.10, 0.10, 0.33) if far else (0.17, 0.16, 0.36)
    tone = _rgb(0.30, 0.19, 0.16) if far else _rgb(0.085, 0.075, 0.085)
    rough = 1 + 0.12 * _noise(x, scale, 24, 4, rng)
    left = -0.1
    while left < x.max():
        width = wide * rng.uniform(0.6, 1.5)
        roof = top + tall * rng.uniform(0.0, 1.0)
        tint = tone * rng.uniform(0.75, 1.3, 3).astype(np.float32)
        pitch_x, pitch_y = rng.uniform(0.014, 0.022), rng.uniform(0.02, 0.028)
        lamps = rng.uniform(0, 1, (64, 64)).astype(np.float32)
        columns = slice(max(int(left * scale) - 2, 0), max(int((left + width) * scale) + 3, 0))
        if light[:, columns].size:
            sub_x, sub_y = x[:, columns] - left, y[:, columns] - roof
            body = _box(sub_x, sub_y, (0, 0, width, 1.0))
            _paint(light[:, columns], tint * rough[:, columns, None], _step(body, scale))
            cell_x, cell_y = np.floor(sub_x / pitch_x), np.floor(sub_y / pitch_y)
            glass = _box(
                sub_x - cell_x * pitch_x,
                sub_y - cell_y * pitch_y,
                (0.25 * pitch_x, 0.25 * pitch_y, 0.78 * pitch_x, 0.8 * pitch_y),
            )
            inside = (body < -0.25 * pitch_x) & (sub_y > 0.3 * pitch_y)
            drawn = lamps[cell_y.astype(int) % 64, cell_x.astype(int) % 64]
            warm = _rgb(3.4, 1.9, 0.8) * ((drawn - 0.72) * 3).clip(0)[..., None]
            color = np.where(drawn[..., None] > 0.72, warm, tint * np.float32(0.35))
            cover = _step(glass, scale) * inside
            dimmed = np.asarray(color * (0.5 if far else 1.0), np.float32)
            _paint(light[:, columns], dimmed, np.asarray(cover, np.float32))
        left += width * rng.uniform(0.85, 1.0)


def _box(x: Floats, y: Floats, box: tuple[float, float, float, float]) -> Floats:
    """Returns the signed distance to a rectangle (left, top, right, bottom): negative inside."""
    left, top, right, bottom = box
    away = np.maximum(np.maximum(left - x, x - right), np.maximum(top - y, y - bottom))
    return np.asarray(away, np.float32)


def _hedge(light: Floats, x: Floats, y: Floats, scale: int, rng: np.random.Generator) -> None:
    edge = HORIZON - 0.045 + 0.012 * _noise(x, scale, 14, 4, rng)
    leaves = _noise(x, scale, 60, 4, rng)
    sun = np.exp(-(((x - SUN) / 0.5) ** 2)) + 0.3
    bright = (0.055 + 0.05 * leaves + 0.25 * sun * np.clip(leaves - 0.7, 0, 1)).clip(0.006)
    color = bright[..., None] * _rgb(0.85, 0.9, 0.38)
    _paint(light, color, _step(edge - y, scale))


def _paving(light: Floats, x: Floats, y: Floats, scale: int, rng: np.random.Generator) -> None:
    """Draws stones in perspective, each with its own tint, wet enough to mirror the sky and to glint."""
    below = np.maximum(y - HORIZON, 1e-3)
    depth = 0.16 / below
    across, along = (x - SUN) * depth * 6.5, 10.0 * depth
    shift = np.floor(along) % 2 * 0.5
    cell_x, cell_y = np.floor(across + shift), np.floor(along)
    in_x, in_y = across + shift - cell_x, along - cell_y
    stones = rng.uniform(0.72, 1.25, (97, 89)).astype(np.float32)
    tint = stones[cell_y.astype(int) % 97, cell_x.astype(int) % 89]
    # Joints keep their width in the world; if thinner than a pixel, they fade instead.
    pixel = depth * 6.5 / scale
    joint = np.minimum(np.minimum(in_x, 1 - in_x) / pixel, np.minimum(in_y, 1 - in_y) / pixel / 4)
    width = 0.022 / pixel
    line = np.clip(1 - (joint - width), 0, 1) * np.clip(width * 2, 0, 1)
    texture = _noise(x, scale, 90, 4, rng)
    grit = _noise(x, scale, 260, 2, rng)
    stains = _noise(x, scale, 5, 4, rng)
    bright = 0.115 * tint * (1 + 0.20 * grit + 0.13 * texture + 0.12 * stains) * (1 - 0.72 * line)
    fade = np.exp(-(((x - SUN) / (0.12 + 0.5 * below)) ** 2))
    wet = fade * np.clip(0.35 + 0.45 * stains + 0.3 * grit, 0, 1) * (1 - 0.8 * line)
    color = bright[..., None] * _rgb(1.0, 0.93, 0.90)
    color += (wet * 0.85)[..., None] * _rgb(1.0, 0.52, 0.24)
    sparkle = np.clip(_noise(x, scale, 170, 2, rng) - 1.0, 0, 1) * fade**3 * (1 - line)
    color += (sparkle * 150)[..., None] * _rgb(1.0, 0.62, 0.34)
    _paint(light, np.maximum(color, 0.004).astype(np.float32), _step(HORIZON - y, scale))


def _lamps(light: Floats, x: Floats, y: Floats, scale: int) -> None:
    """Draws posts with a bulb of 26 to 42 each, and their light on the stones."""
    whole_light, whole_x, whole_y = light, x, y
    for index, (place, foot) in enumerate(LAMPS):
        # Further away, a lamp gives less than a millionth of its light.
        near = slice(max(int((place - 0.45) * scale), 0), max(int((place + 0.45) * scale), 0))
        light, x, y = whole_light[:, near], whole_x[:, near], whole_y[:, near]
        if not light.size:
            continue
        warm = _rgb(1.0, 0.70, 0.36) * np.float32(26 + 2 * index)
        tall, thick = (0.095, 0.007) if foot > NEAR else (0.155, 0.008)
        pool = np.exp(-(((x - place) / 0.11) ** 2) - ((y - foot - 0.008) / 0.022) ** 2)
        light *= 1 + 2.0 * (pool * (y > HORIZON))[..., None]
        post = _box(x - place, y - foot, (-thick, -tall, thick, 0.0))
        side = 0.03 + 0.12 * np.clip((x - place) / thick, 0, 1)
        _paint(light, side[..., None] * _rgb(1, 0.8, 0.7), _step(post, scale))
        bulb = np.hypot(x - place, y - foot + tall + 0.013) - 0.0145
        _paint(light, warm, _step(bulb, scale))
        cap = _box(x - place, y - foot + tall + 0.03, (-0.013, -0.004, 0.013, 0.004))
        _paint(light, (0.03, 0.03, 0.035), _step(cap, scale))
        light += warm * (0.010 * np.exp(-np.maximum(bulb, 0) / 0.022))[..., None]


def rover(x: Floats, y: Floats, travelled: float, scale: int) -> tuple[Floats, Floats, Floats]:
    """Returns (color times coverage, coverage, shadow) at the points (x, y) of the rover's own frame.

    The origin lies on the ground between the wheels; `travelled` heights turn them.
    """
    color = np.zeros((*x.shape, 3), np.float32)
    alpha = np.zeros_like(x)

    def over(tone: Floats | tuple[float, ...], cover: Floats) -> None:
        nonlocal color, alpha
        tone = np.asarray(tone, np.float32)
        color = color * (1 - cover)[..., None] + tone * cover[..., None]
        alpha = alpha + cover * (1 - alpha)

    lift = np.float32(0.004 * np.sin(travelled * 40))
    top = y - lift
    over(
        (0.02, 0.02, 0.022),
        _step(_box(x + 0.075, top + 0.29, (-0.004, -0.05, 0.004, 0.09)), scale),
    )
    flag = _box(x + 0.050, top + 0.325, (-0.023, -0.015, 0.023, 0.015))
    waving = np.asarray(flag + np.float32(0.004) * np.sin(x * 160), np.float32)
    over((0.9, 0.10, 0.03), _step(waving, scale))
    body = _round(x, top + 0.135, 0.125, 0.075, 0.032)
    shine = np.clip(0.55 - (top + 0.135) * 5.5, 0.10, 1) * (0.75 + 0.5 * np.clip(x / 0.13, -0.6, 1))
    over(shine[..., None] * _rgb(0.62, 0.60, 0.56), _step(body, scale))
    stripe = np.maximum(body, np.abs(top + 0.118) - 0.011)
    over((0.95, 0.30, 0.03), _step(stripe, scale))
    window = _round(x - 0.072, top + 0.168, 0.034, 0.018, 0.01)
    over((0.015, 0.02, 0.03), _step(window, scale))
    over((0.9, 1.6, 2.4), _step(np.hypot(x - 0.085, top + 0.172) - 0.006, scale))
    for axle in (-0.085, 0.0, 0.085):
        away = np.hypot(x - axle, y + 0.045)
        over((0.018, 0.017, 0.017), _step(away - 0.045, scale))
        spokes = np.cos(5 * (np.arctan2(y + 0.045, x - axle) - travelled / 0.045))
        rim = (0.10 + 0.10 * spokes)[..., None] * _rgb(1, 0.95, 0.9)
        over(rim, _step(away - 0.026, scale))
    # The sun is behind: the shadow falls towards the camera and a little to the right.
    round_shadow = np.hypot((x - 0.04 - 0.9 * y) / 0.215, (y - 0.025) / 0.062)
    shadow = np.clip((1.0 - round_shadow) / 0.45, 0, 1)
    return color, alpha, np.asarray(shadow * shadow * (3 - 2 * shadow), np.float32)


def _round(x: Floats, y: Floats, half_x: float, half_y: float, radius: float) -> Floats:
    """Returns the signed distance to a rectangle with round corners about the origin."""
    dx, dy = np.abs(x) - (half_x - radius), np.abs(y) - (half_y - radius)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return np.asarray(outside + np.minimum(np.maximum(dx, dy), 0) - radius, np.float32)
