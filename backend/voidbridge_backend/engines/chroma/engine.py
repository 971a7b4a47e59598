"""The engine `chroma`: alpha, straight foreground and clean screen of each frame, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from voidbridge_backend.engines.base import JobContext, Pixels
from voidbridge_backend.engines.key_base import Alpha, KeyClip, Keyed
from voidbridge_backend.imaging.mattes.islands import remove_islands
from voidbridge_protocol.operations.key import KeySettings

from . import unmix
from .alpha import estimate
from .clip_screen import ClipScreen
from .screen import ScreenColor

STEPS = 4
"""Steps that are told for each frame."""


class Chroma:
    """Keys by color. It keeps nothing between jobs."""

    name = "chroma"

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1}

    def key(
        self, clip: KeyClip, frames: Sequence[int], settings: KeySettings, context: JobContext
    ) -> Iterator[tuple[int, Keyed]]:
        context.step("measuring the screen", 0, 0)
        screens = ClipScreen(clip, settings)
        context.warn(described(screens.color))
        for number, frame in enumerate(frames):
            done, of = number * STEPS, len(frames) * STEPS
            context.step("keying", done, of)
            plate = clip.plate(frame)
            limits = screens.limits(frame, (plate.shape[0], plate.shape[1]))
            clean = screens.clean(frame, plate, limits)
            context.step("keying", done + 1, of)
            told = partial(context.step, "keying", done + 1, of)
            alpha = estimate(plate, clean, screens.color, limits, told)
            context.step("keying", done + 2, of)
            smooth = unmix.foreground(plate, alpha, clean)
            context.step("keying", done + 3, of)
            yield frame, finished(plate, alpha, smooth, clean, screens.color, settings)


def finished(
    plate: Pixels,
    alpha: Alpha,
    smooth: Pixels,
    clean: Pixels,
    color: ScreenColor,
    settings: KeySettings,
) -> Keyed:
    """The frame from its parts: islands removed, recombined exactly with the plate, then despilled."""
    if settings.despeckle:
        alpha = remove_islands(alpha, settings.despeckle)
    foreground, screen = unmix.recombined(plate, alpha, smooth, clean)
    foreground = unmix.despilled(foreground, color, settings.despill, settings.despill_balance)
    return Keyed(alpha, foreground, screen)


def described(color: ScreenColor) -> str:
    """The screen's color for the artist."""
    kind = "green" if color.key == 1 else "blue"
    return f"the screen is {kind}: " + " ".join(f"{value:.3f}" for value in color.rgb)
