"""Finds the tone of a shot, the camera's motion and the hidden pixels in one pass over all frames."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.base import Clip, JobContext, Pixels
from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import Tone, exposed
from voidbridge_backend.parallel import Pool

from . import plan
from .camera import Camera, Mix, shown
from .cuts import Cuts
from .dissolves import Dissolves, Look
from .sharpness import contrast, sharpness


@dataclass(frozen=True)
class Shot:
    """Little for each frame, however many there are."""

    tone: Tone
    camera: Camera
    holes: dict[int, Mask]
    """Which pixels of the planning size are hidden, by frame."""
    repeats: frozenset[int]
    """Frames whose picture and quadmask are those of the frame before: of a retimed shot."""
    sharpness: dict[int, float]
    """By frame; NaN where it is unknown."""
    contrast: dict[int, float]
    """Like `sharpness`."""


def analyzed(clip: Clip, watch: JobContext, cuts: frozenset[int] | None = None) -> Shot:
    """Decodes every frame once, and three of them twice. Raises what `watch.step` raises.

    `cuts` are the first frames of all scenes but the first; None if they are to be found.
    """
    frames = clip.frames
    camera = Camera(clip.height, clip.width, Cuts(cuts))
    holes: dict[int, Mask] = {}
    repeats: list[int] = []
    sharp: dict[int, float] = {}
    clear: dict[int, float] = {}
    before: int | None = None
    with Pool(lambda: watch.step("camera", len(holes), len(frames))) as pool:
        spread = sorted({frames[0], frames[len(frames) // 2], frames[-1]})
        tone = exposed(list(pool.each(lambda at: _small(clip.plate(at), camera.size), spread)))
        looks = pool.each(lambda frame: _look(clip, frame, camera.size, tone), frames)
        finder = Dissolves(tone)
        for frame, look in zip(frames, looks, strict=True):
            one = Look(frame, look.grey, look.free)
            _followed(camera, [(one, None)] if cuts is not None else finder.push(one))
            holes[frame], sharp[frame] = look.hole, look.sharpness
            clear[frame] = look.contrast
            repeats += [frame] if look.content == before else []
            before = look.content
        _followed(camera, finder.rest())
        pool.heartbeat()
    return Shot(tone, camera, holes, frozenset(repeats), sharp, clear)


def _followed(camera: Camera, looks: Iterable[tuple[Look, Mix | None]]) -> None:
    for look, mix in looks:
        if mix is None:
            camera.add(look.frame, look.grey, look.free)
        else:
            camera.add_mix(look.frame, mix)


@dataclass(frozen=True)
class _Look:
    """A frame at the camera's size, `free` is 255 where nothing is hidden; and its hole at the planning size."""

    grey: NDArray[np.uint8]
    free: NDArray[np.uint8]
    hole: Mask
    content: int
    """The same number for the same picture and quadmask."""
    sharpness: float
    contrast: float


def _look(clip: Clip, frame: int, size: tuple[int, int], tone: Tone) -> _Look:
    quadmask = clip.quadmask(frame)
    hole = quadmask != 255
    small = _small(clip.plate(frame), size)
    content = zlib.crc32(np.ascontiguousarray(quadmask).data, zlib.crc32(small.data))
    grey = tone.grey8(small)
    free = np.asarray(
        cv2.erode(shown(hole, size), np.ones((5, 5), np.uint8), borderValue=255), np.uint8
    )
    sharp, clear = sharpness(grey, free), contrast(small, free)
    return _Look(grey, free, plan.reduced(hole), content, sharp, clear)


def _small(light: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), np.float32)
