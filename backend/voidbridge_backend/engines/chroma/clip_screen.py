"""The screen of a clip: its color from frames spread over it, and each frame's clean screen from its neighbors."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import numpy as np

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.key_base import KeyClip
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.key import KeySettings

from .alpha import AlphaLimits, limits_of
from .screen import (
    ScreenColor,
    SeenScreen,
    clean_screen,
    given_color,
    measured_color,
    seen_screen,
)

SAMPLES = 5
"""Frames from which the color of the screen is measured."""
NEIGHBORS = (-8, -4, -2, 2, 4, 8)
"""Frames, relative to each, whose screen counts too where the camera stands still."""
MOST_SEEN = 24
"""Screens kept at the working size, about 8 MB each."""


class ClipScreen:
    """The screens of one job."""

    def __init__(self, clip: KeyClip, settings: KeySettings) -> None:
        self._clip = clip
        self._settings = settings
        self._seen: OrderedDict[int, SeenScreen] = OrderedDict()
        self.color = self._color()

    def clean(self, frame: int, plate: Pixels, limits: AlphaLimits) -> Pixels:
        """[height, width, 3]: the artist's own clean screen, else the estimated one. Raises `NoScreen`."""
        given = self._clip.clean_screen(frame)
        if given is not None:
            return given
        own = self._of(frame, plate, limits)
        near = [frame + step for step in NEIGHBORS if frame + step in self._clip.frames]
        others = [self._of(other) for other in near]
        height, width = plate.shape[:2]
        return clean_screen(own, others, height, width, frame)

    def limits(self, frame: int, shape: tuple[int, int]) -> AlphaLimits:
        """Returns the pixels of this frame that the hint decides."""
        settings = self._settings
        return limits_of(self._clip.hint(frame), shape, settings.core, settings.garbage)

    def _color(self) -> ScreenColor:
        given = self._settings.screen_color.strip().lower()
        if given in ("auto", "green", "blue"):
            kind: Literal["auto", "green", "blue"] = given  # type: ignore[assignment]
            frames = self._clip.frames
            step = max(1, -(-len(frames) // SAMPLES))
            return measured_color([self._clip.plate(frame) for frame in frames[::step]], kind)
        return given_color(_numbers(given))

    def _of(
        self, frame: int, plate: Pixels | None = None, limits: AlphaLimits | None = None
    ) -> SeenScreen:
        if frame in self._seen:
            self._seen.move_to_end(frame)
            return self._seen[frame]
        if plate is None:
            plate = self._clip.plate(frame)
        if limits is None:
            limits = self.limits(frame, (plate.shape[0], plate.shape[1]))
        found = seen_screen(plate, self.color, limits.core)
        self._seen[frame] = found
        while len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        return found


def _numbers(text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(word) for word in text.replace(",", " ").split())
    except ValueError as error:
        raise BadSetting(
            f"{text!r} is not a screen color",
            "Use auto, green, blue, or three numbers of linear light, as '0.06 0.42 0.1'.",
        ) from error
    if not np.isfinite([red, green, blue]).all() or min(red, green, blue) < 0:
        raise BadSetting(f"the screen color {text} has a number below 0 or none that is finite")
    return red, green, blue
