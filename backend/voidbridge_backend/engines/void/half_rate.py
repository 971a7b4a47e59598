"""Every second frame by the model, and the others by the motion between their neighbors.

The model was trained at about 12 frames a second. At half the rate it sees twice the time in a window, and works
half as long. It is not lossless. The in-betweens are those of the engine `morph`, laid over the kept part of their
own plate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import cv2
import numpy as np

from voidbridge_backend.engines.base import Clip, Pixels, Quadmask
from voidbridge_backend.engines.cleanplate.geometry import FrameBox
from voidbridge_backend.engines.cleanplate.motion import camera
from voidbridge_backend.engines.cleanplate.tone import GREY, Tone
from voidbridge_backend.engines.morph.between import Motions, rendered
from voidbridge_backend.engines.morph.canvas import laid
from voidbridge_backend.engines.morph.path import Path
from voidbridge_backend.engines.morph.view import GreyFrame, camera_motion

NOTE = (
    "half rate: the model made every second frame, and the others follow the motion of their "
    "neighbors (setting half_rate), which is not lossless"
)
Results = Iterator[tuple[int, Pixels]]
Remove = Callable[[Clip, Collection[int]], Results]
"""(clip, wanted frames) -> results of the model, rising."""


class HalfClip:
    """Every second frame of a clip, and its last one: the model's view."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.height, self.width = clip.height, clip.width
        frames = list(clip.frames)
        self.frames: Sequence[int] = frames[::2] + (frames[-1:] if len(frames) % 2 == 0 else [])

    def plate(self, frame: int) -> Pixels:
        return self.clip.plate(frame)

    def quadmask(self, frame: int) -> Quadmask:
        return self.clip.quadmask(frame)

    def has_hole(self, frame: int) -> bool:
        return self.clip.has_hole(frame)


def removed(clip: Clip, wanted: Collection[int] | None, remove: Remove) -> Results:
    """Yields the wanted frames with a hole, rising: from `remove`, or between two of its results.

    A neighbor without a hole is its plate. At most three pictures are held.
    """
    half = HalfClip(clip)
    known = set(half.frames)
    due = [f for f in clip.frames if clip.has_hole(f) and (wanted is None or f in wanted)]
    needed = {near for frame in due for near in _neighbors(frame, known) if clip.has_hole(near)}
    results = remove(half, needed)
    held: dict[int, Pixels] = {}

    def picture(frame: int) -> Pixels:
        while frame not in held:
            found, pixels = next(results) if clip.has_hole(frame) else (frame, clip.plate(frame))
            held[found] = pixels
        return held[frame]

    for frame in due:
        near = _neighbors(frame, known)
        pictures = [picture(one) for one in near]
        if len(near) == 1:
            yield frame, pictures[0]
        else:
            yield frame, between((pictures[0], pictures[1]), clip, frame)
        for old in [one for one in held if one < near[-1]]:
            del held[old]


def between(ends: tuple[Pixels, Pixels], clip: Clip, frame: int) -> Pixels:
    """Returns the picture in the middle of two, moved so that it fits the kept part of the frame's own plate."""
    middle = float(ends[0][::8, ::8].mean())
    tone = Tone(GREY / middle if middle > 0 else 1.0)
    one, other = (GreyFrame.of(frame, light, tone) for light in ends)
    height, width = one.grey.shape
    motion = camera_motion(one.grey, other.grey)
    path = Path(FrameBox(0, 0, width, height), motion)
    made = rendered(Motions.of(laid(one, other, path)), 0.5)
    kept = np.where(clip.quadmask(frame) == 255, np.uint8(255), np.uint8(0))
    return _fitted(made, clip.plate(frame), kept, tone)


def _fitted(made: Pixels, plate: Pixels, kept: Quadmask, tone: Tone) -> Pixels:
    """Moves a picture by the homography that lays it over the kept pixels of the plate, if there is one."""
    here, there = (GreyFrame.of(0, light, tone) for light in (made, plate))
    height, width = here.grey.shape
    free = np.asarray(cv2.resize(kept, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    motion = camera.track(camera.view(here.grey, free), camera.view(there.grey, free), np.eye(3))
    if motion is None:
        return made
    whole = here.to_plate @ motion @ np.linalg.inv(here.to_plate)
    moved = cv2.warpPerspective(
        made, whole, made.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.float32)


def _neighbors(frame: int, known: Collection[int]) -> list[int]:
    """Returns the frames whose pictures make `frame`: itself, or the one before and the one behind."""
    return [frame] if frame in known else [frame - 1, frame + 1]
