"""The background of a tracked shot: each pixel's median over other frames, brought over by the camera's motion.

Pictures are uint8 [height, width, 3] RGB in a display-like code; masks are bool [height, width].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.motion.camera import Camera
from voidbridge_backend.engines.mask_base import Picture, Pictures

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Masks = Callable[[int], Mask]

SOURCES = 15
"""Frames that the median is taken over; an odd number."""
FEWEST = 4
"""A pixel that fewer of them show has no known background."""
MARGIN = 4
"""Pixels around an object that do not count as background: soft edges and motion blur."""
DISPLAY_GAMMA = 2.2
"""Pictures are near this power of light; shadows multiply light."""
DARKEST = 2.0 / 255
"""Code below which a ratio of light is not meaningful."""


@dataclass(frozen=True)
class Change:
    """One frame beside its background. `log_light` is ln(frame / background) [height, width, 3], exposure removed.

    `noise` is the standard deviation of `log_light` where nothing changes. Values are 0 where `known` is False.
    """

    picture: Picture
    background: Picture
    known: Mask
    log_light: Floats
    noise: float
    object: Mask

    def closed(self, region: Mask) -> Mask:
        """The region continued over the unknown edge of the object, up to the object itself."""
        edge = grown(self.object, MARGIN) & ~self.object
        return region | (edge & grown(region, MARGIN))


class Background:
    """Knows the camera of a shot and gives each frame's background. Pictures come in the order of `frames`."""

    def __init__(
        self,
        pictures: Pictures,
        objects: Masks,
        frames: Sequence[int],
        size: tuple[int, int],
        heartbeat: Callable[[], None],
    ) -> None:
        """`size` is (height, width); `heartbeat` is called for each frame and may raise."""
        self._pictures = pictures
        self._objects = objects
        self.frames = list(frames)
        self._camera = Camera(*size)
        for frame in self.frames:
            heartbeat()
            grey = np.asarray(cv2.cvtColor(pictures(frame), cv2.COLOR_RGB2GRAY))
            free = np.where(self._around(frame), 0, 255).astype(np.uint8)
            reduced = cv2.resize(grey, self._camera.size, interpolation=cv2.INTER_AREA)
            shown = cv2.resize(free, self._camera.size, interpolation=cv2.INTER_NEAREST)
            self._camera.add(frame, np.asarray(reduced, np.uint8), np.asarray(shown, np.uint8))

    def motion(self, source: int, target: int) -> NDArray[np.float64]:
        """The camera's homography from pixels of `source` to pixels of `target`."""
        return self._camera.between(source, target)

    def same_scene(self, one: int, two: int) -> bool:
        return self._camera.scene(one) == self._camera.scene(two)

    def change(self, frame: int) -> Change:
        """The frame beside its background."""
        picture = self._pictures(frame)
        background, known = self._median(frame)
        known &= ~self._around(frame)
        log_light = _log_light(picture, background)
        still = log_light[known]
        if len(still):
            log_light -= np.median(still, axis=0)  # a change of exposure is no shadow
            spread = np.median(np.abs(log_light[known].mean(axis=-1)))
        else:
            spread = np.float32(0)
        log_light[~known] = 0
        noise = float(spread) * 1.4826  # of a normal distribution
        return Change(picture, background, known, log_light, noise, self._objects(frame))

    @cached_property
    def _sources(self) -> list[tuple[int, Picture, NDArray[np.uint8]]]:
        chosen = np.linspace(0, len(self.frames) - 1, min(SOURCES, len(self.frames)))
        found = []
        for frame in (self.frames[round(float(index))] for index in chosen):
            shown = np.where(self._around(frame), 0, 255).astype(np.uint8)
            found.append((frame, self._pictures(frame), shown))
        return found

    def _median(self, frame: int) -> tuple[Picture, Mask]:
        height, width = self._pictures(frame).shape[:2]
        stack, shown = [], []
        for source, picture, free in self._sources:
            if source == frame or not self.same_scene(source, frame):
                continue
            motion = self._camera.between(source, frame)
            stack.append(cv2.warpPerspective(picture, motion, (width, height)))
            flags = cv2.INTER_NEAREST
            shown.append(cv2.warpPerspective(free, motion, (width, height), flags=flags) > 0)
        if len(stack) < FEWEST:
            return np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
        there = np.array(shown)
        planes = np.where(there[..., None], np.array(stack), 255).astype(np.uint8)
        planes.sort(axis=0)
        count = there.sum(axis=0)
        middle = np.maximum(count - 1, 0) // 2
        index = np.broadcast_to(middle[None, ..., None], (1, height, width, 3))
        return np.take_along_axis(planes, index, axis=0)[0], count >= FEWEST

    def _around(self, frame: int) -> Mask:
        return grown(self._objects(frame), MARGIN)


def grown(mask: Mask, reach: int) -> Mask:
    """The mask and all pixels within `reach` of it."""
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disk) > 0)


def _log_light(picture: Picture, background: Picture) -> Floats:
    """ln(picture / background) in light. A picture within the background's nearest pixels is unchanged.

    This keeps errors of a fraction of a pixel in the camera's motion out of the ratio.
    """
    box = np.ones((3, 3), np.uint8)
    lowest, highest = cv2.erode(background, box), cv2.dilate(background, box)
    nearest = np.clip(picture, lowest, highest).astype(np.float32)
    code = np.maximum(picture.astype(np.float32), 255 * DARKEST)
    ratio = np.log(code / np.maximum(nearest, 255 * DARKEST))
    return np.asarray(ratio * np.float32(DISPLAY_GAMMA), np.float32)
