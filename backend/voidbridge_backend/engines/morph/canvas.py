"""Two frames laid over each other as the camera saw them, and the motion that is left.

The canvas has the pixels of the first frame's gray picture and is larger than it where the second frame shows more.
Flow is DIS: T. Kroeger et al., "Fast optical flow using dense inverse search", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Homography, apply, inverse, shift

from . import objects
from .path import Path
from .view import Grey, GreyFrame
from .warp import Floats, Flow

WIDEST = 0.5
"""The canvas reaches beyond the first frame by this part of its size at most, on each side."""
SEEN = 0.99
"""Coverage from which a pixel of the canvas counts as seen by a frame."""
FEWEST = 5
"""Frames from which on their median is background: an object that flies is on a spot in one of them."""
ALIKE, ALIKE_BLUR = 2.0, 2.0
"""Pixels whose blurred gray differs less than this have not moved: on a plain wall any motion would fit."""


@dataclass(frozen=True)
class Layer:
    """One frame on the canvas."""

    frame: GreyFrame
    place: Homography
    """From pixels of the gray picture to the canvas."""
    grey: Grey
    """On the canvas; where the frame shows nothing, the other frame's."""
    cover: Floats
    """[height, width], 0 to 1: whether the frame shows this pixel."""
    flow: Flow
    """To the other frame."""


@dataclass(frozen=True)
class Canvas:
    """The frames before and behind a gap, and the camera's path between them."""

    before: Layer
    behind: Layer
    path: Path
    flights: tuple[objects.Flight, ...] = ()
    """Objects that move farther than flow follows."""

    def to_moment(self, time: float) -> Homography:
        """From the canvas to the gray picture of the moment `time`, 0 to 1."""
        return np.asarray(self.path.at(time) @ inverse(self.before.place), np.float64)


def laid(
    before: GreyFrame,
    behind: GreyFrame,
    path: Path,
    others: Callable[[], Sequence[tuple[Grey, Homography]]] = tuple,
) -> Canvas:
    """Both frames on one canvas, with the flow between them.

    `others` gives gray pictures of other frames, with the motion from the first frame to each. It is only asked if
    something moves.
    """
    height, width = before.grey.shape
    back = inverse(path.motion)
    corners = apply(back, path.box.corners())
    room = np.array([width, height]) * WIDEST
    least = np.maximum(np.floor(np.minimum(corners.min(0), 0)), -room)
    most = np.minimum(np.ceil(np.maximum(corners.max(0), [width - 1, height - 1])), room * 3)
    origin = shift(-int(least[0]), -int(least[1]))
    size = int(most[0]) - int(least[0]) + 1, int(most[1]) - int(least[1]) + 1
    places = origin, np.asarray(origin @ back, np.float64)
    greys, covers = [], []
    for frame, place in zip((before, behind), places, strict=True):
        greys.append(_warped(frame.grey, place, size, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE))
        full = np.ones(frame.grey.shape, np.float32)
        covers.append(_warped(full, place, size, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT))
    seen = [cover >= SEEN for cover in covers]
    shown = [
        np.where(seen[1] & ~seen[0], greys[1], greys[0]).astype(np.uint8),
        np.where(seen[0] & ~seen[1], greys[0], greys[1]).astype(np.uint8),
    ]
    flows = _flow(shown[0], shown[1]), _flow(shown[1], shown[0])
    alike = cv2.GaussianBlur(cv2.absdiff(*shown), (0, 0), ALIKE_BLUR) < ALIKE
    for flow in flows:
        flow[alike] = 0
    both = seen[0] & seen[1]
    moves = bool(objects.changed(shown, both))
    clean = _background(shown, others(), origin, size) if moves else None
    flights = objects.correct(shown, flows, both, clean)
    layers = [
        Layer(frame, place, grey, np.asarray(cover, np.float32), flow)
        for frame, place, grey, cover, flow in zip(
            (before, behind), places, shown, covers, flows, strict=True
        )
    ]
    return Canvas(layers[0], layers[1], path, tuple(flights))


def _background(
    shown: Sequence[Grey],
    others: Sequence[tuple[Grey, Homography]],
    origin: Homography,
    size: tuple[int, int],
) -> Grey | None:
    """The median of all frames on the canvas; None with fewer than `FEWEST`."""
    if len(others) + len(shown) < FEWEST:
        return None
    pictures = [*shown]
    for grey, motion in others:
        place = np.asarray(origin @ inverse(motion), np.float64)
        laid_over = _warped(grey, place, size, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        pictures.append(laid_over)
    return _median(pictures)


def _median(pictures: list[Grey]) -> Grey:
    """The lower median of each pixel, by sorting whole pictures against each other."""
    for end in range(len(pictures) - 1, 0, -1):
        for at in range(end):
            one, other = pictures[at], pictures[at + 1]
            pictures[at], pictures[at + 1] = np.minimum(one, other), np.maximum(one, other)
    return pictures[(len(pictures) - 1) // 2]


def _warped(
    picture: Grey | Floats, place: Homography, size: tuple[int, int], flags: int, border: int
) -> NDArray[Any]:
    return np.asarray(cv2.warpPerspective(picture, place, size, flags=flags, borderMode=border))


def _flow(source: Grey, target: Grey) -> Flow:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(1)
    dis.setUseSpatialPropagation(True)
    blank = np.zeros((*source.shape, 2), np.float32)
    if min(source.shape) < 16:
        return blank
    return np.asarray(dis.calc(source, target, blank), np.float32)
