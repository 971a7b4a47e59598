"""The screen: its color, the pixels that show it and nothing else, and its light at every pixel as if nobody
stood there.

Pictures are [height, width, 3], float32, scene-linear. Masks are [height, width], bool. As in image-based
keyers, a screen is a picture, not a color, because it may be lit unevenly. Several frames of it are averaged
where the camera stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_protocol.errors import BadSetting, NoScreen

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

KEYS = {"green": 1, "blue": 2}
"""The plane that a screen of each color is brightest in."""
SATURATION = 0.25
"""Least share of the key plane by which a pixel of a screen exceeds the other planes."""
LEAST_SHARE = 0.002
"""Least share of a frame that has to look like a screen."""
BRIGHTNESS = 0.12
"""Largest relative distance of a pixel from the screen's light beside it that still counts as screen."""
WORKING_SIDE = 1024
"""Longest side at which the screen's light is estimated: it is smooth, and averaging removes its grain."""
STILL = 0.02
"""Largest median difference, relative to the screen, of the screens of two frames if the camera stands still."""


@dataclass(frozen=True)
class ScreenColor:
    """The color of a screen where it is seen best: linear RGB, and the plane in which it is brightest."""

    rgb: tuple[float, float, float]
    key: int

    @property
    def others(self) -> tuple[int, int]:
        """The two planes that are not the key plane."""
        first, second = (plane for plane in range(3) if plane != self.key)
        return first, second

    def excess(self, picture: Array) -> Array:
        """[height, width]: how far the key plane exceeds the larger of the others."""
        first, second = self.others
        out: Array = picture[..., self.key] - np.maximum(picture[..., first], picture[..., second])
        return out


def given_color(rgb: tuple[float, float, float]) -> ScreenColor:
    """Raises `BadSetting` if the color is neither green nor blue enough to be keyed."""
    screen = ScreenColor(rgb, int(np.argmax(rgb)))
    excess = float(screen.excess(np.array([[rgb]], np.float32))[0, 0])
    if screen.key == 0 or excess <= SATURATION * rgb[screen.key]:
        raise BadSetting(
            f"the screen color {_spelled(rgb)} is neither green nor blue",
            "Pick the color on the screen itself, or leave it out: it is measured then.",
        )
    return screen


def measured_color(
    pictures: Sequence[Array], kind: Literal["auto", "green", "blue"] = "auto"
) -> ScreenColor:
    """The median of the clearest screen pixels of `pictures`. Raises `NoScreen` if too few look like a
    screen.
    """
    keys = [KEYS[kind]] if kind != "auto" else list(KEYS.values())
    pixels = np.concatenate([_small(picture, 256).reshape(-1, 3) for picture in pictures])
    best: tuple[float, ScreenColor] | None = None
    for key in keys:
        screen = ScreenColor((0.0, 0.0, 0.0), key)
        excess = screen.excess(pixels)
        clear = excess > SATURATION * np.maximum(pixels[:, key], 1e-4)
        if np.count_nonzero(clear) < LEAST_SHARE * len(pixels):
            continue
        clear &= excess > 0.6 * np.percentile(excess[clear], 95)
        color = np.median(pixels[clear], axis=0)
        weight = float(np.sum(np.maximum(excess, 0)))
        found = ScreenColor((float(color[0]), float(color[1]), float(color[2])), key)
        if best is None or weight > best[0]:
            best = weight, found
    if best is None:
        raise NoScreen(
            f"no {'green or blue' if kind == 'auto' else kind} screen was found:"
            f" fewer than {LEAST_SHARE:.1%} of the pixels look like one",
            "Give the color of the screen, or check that the plate has one and that its color space is right.",
        )
    return best[1]


@dataclass(frozen=True)
class SeenScreen:
    """The screen as one frame shows it, at the working size: its light, and where nothing covers it."""

    light: Array
    clear: Mask


def seen_screen(picture: Array, color: ScreenColor, keep_out: Mask | None = None) -> SeenScreen:
    """Where `picture` shows the screen alone. Pixels in `keep_out` (of the picture's size) are never screen.

    A pixel is screen if it has the hue of the screen and the brightness of the screen beside it. That
    brightness is estimated from such pixels and refined twice.
    """
    small = _small(picture, WORKING_SIDE)
    side = max(small.shape[:2])
    rgb = np.array(color.rgb, np.float32)
    reference = float(color.excess(rgb[None, None])[0, 0])
    soft = cv2.blur(small, (3, 3))
    excess = color.excess(soft)
    hue = excess / np.maximum(soft[..., color.key], 1e-6)
    clear = (hue > 0.75 * reference / rgb[color.key]) & (excess > 0.3 * reference)
    if keep_out is not None:
        covered = cv2.resize(
            keep_out.astype(np.float32), small.shape[1::-1], interpolation=cv2.INTER_AREA
        )
        clear &= covered <= 0
    for share, tolerance in ((8, 2.5 * BRIGHTNESS), (16, 1.5 * BRIGHTNESS), (32, BRIGHTNESS)):
        local = spread(small, clear, side / share)
        near = np.abs(soft - local).sum(axis=-1) <= tolerance * local.sum(axis=-1)
        clear = clear & near & (excess > (1 - tolerance) * color.excess(local))
    clear = cv2.erode(clear.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    return SeenScreen(small, clear)


def clean_screen(
    own: SeenScreen, others: Sequence[SeenScreen], height: int, width: int, frame: int
) -> Array:
    """[height, width, 3]: the light of the screen everywhere in the frame of `own`, whose number is `frame`.

    Screens of `others`, seen by the same camera, count where they agree with this frame's. Behind the figure
    the light continues that around it. Raises `NoScreen` if the frame shows no screen.
    """
    if not own.clear.any():
        raise NoScreen(
            f"frame {frame} shows no screen that is clear of the foreground",
            "Check the hint and the screen color; the screen has to be seen somewhere in each frame.",
        )
    total = own.light * own.clear[..., None].astype(np.float32)
    count = own.clear.astype(np.float32)
    for other in others:
        both = own.clear & other.clear
        if not both.any() or not _still(own.light[both], other.light[both]):
            continue
        total += other.light * other.clear[..., None].astype(np.float32)
        count += other.clear
    known = count > 0
    light = np.asarray(total / np.maximum(count, 1)[..., None], np.float32)
    side = max(light.shape[:2])
    smooth = spread(light, known, side / 128)
    out: Array = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    return out


def spread(values: Array, known: Mask, sigma: float) -> Array:
    """`values` [height, width, channels] smoothed over known pixels only, and continued over the others.

    Averages over `sigma` pixels count most; wider ones, each a thousand times lighter, fill where no known
    pixel is near.
    """
    weight = known.astype(np.float32)
    total = np.zeros_like(values)
    share = np.zeros(values.shape[:2], np.float32)
    factor, reach = np.float32(1), sigma
    while True:
        total += factor * _blurred(values * weight[..., None], reach)
        share += factor * _blurred(weight, reach)
        if reach > 2 * max(values.shape[:2]):
            break
        factor, reach = factor * np.float32(1e-3), reach * 4
    share = np.maximum(share, np.float32(1e-30))
    return total / share[..., None]


def _blurred(values: Array, sigma: float) -> Array:
    """A Gaussian blur, wide ones at a smaller size."""
    if values.ndim == 3 and values.shape[2] > 3:  # OpenCV takes no more than four channels here
        parts = [values[..., start : start + 3] for start in range(0, values.shape[2], 3)]
        return np.concatenate([_blurred(np.ascontiguousarray(p), sigma) for p in parts], axis=-1)
    height, width = values.shape[:2]
    factor = max(1, int(sigma / 4))
    if factor == 1:
        return _kept(
            cv2.GaussianBlur(values, (0, 0), max(sigma, 0.3), borderType=cv2.BORDER_REPLICATE)
        )
    size = max(1, width // factor), max(1, height // factor)
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REPLICATE)
    return _kept(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _kept(values: Array) -> Array:
    return np.asarray(values, np.float32)


def _still(own: Array, other: Array) -> bool:
    difference = np.abs(own - other).sum(axis=-1) / np.maximum(own.sum(axis=-1), 1e-6)
    return float(np.median(difference)) <= STILL * 3


def _small(picture: Array, side: int) -> Array:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return _kept(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _spelled(rgb: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3g}" for value in rgb)
