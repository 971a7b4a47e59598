"""The few decoded pieces of frames that are held at once.

Memory is bounded by how many pieces are held and by how large the holes are, never by the shot's length.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.base import Clip
from voidbridge_backend.engines.cleanplate.geometry import FrameBox, Mask, around
from voidbridge_backend.engines.cleanplate.tone import Floats, Tone

KERNEL = 3
"""Lanczos reaches this many pixels beyond the one it stands on; none of them may be hidden."""
HALF_MAX = 65504.0
MARGIN = 4
"""Pixels around a box of hidden pixels in which their distances are measured."""


@dataclass(frozen=True)
class Painting:
    """The artist's paint on a source, of its box: weight [height, width], 0 to 1; `is_whole` has no alpha.

    `source` is the plate with the paint on it; hidden is the part of the hole that is not painted.
    """

    source: Source
    weight: Floats
    is_whole: bool


@dataclass(frozen=True)
class Source:
    """A piece of a frame: light [height, width, 3], its luma, and 255 where it shows background."""

    frame: int
    box: FrameBox
    light: NDArray[np.floating]
    grey: NDArray[np.uint8]
    free: NDArray[np.uint8]
    hidden: NDArray[np.bool_]
    painting: Painting | None = None
    _loose: dict[float, NDArray[np.uint8]] = field(default_factory=dict, repr=False, compare=False)
    """The results of `loosened` by its `by`: many frames ask for the same piece."""

    def loosened(self, by: float) -> Source:
        """With all of it free that lies in the outer `by` pixels of what is hidden: the growth of a matte."""
        if by not in self._loose:
            self._loose[by] = _safe(depth(self.hidden) > by)
        return replace(self, free=self._loose[by])


def depth(hidden: Mask) -> Floats:
    """[height, width]: the distance of each `hidden` pixel from the nearest that is not, in pixels; 0 elsewhere."""
    deep = np.zeros(hidden.shape, np.float32)
    box = around(hidden)
    if box is not None:
        # The nearest pixel that is not hidden lies in the ring around the box; MARGIN holds the transform's mask.
        part = box.grown(MARGIN, *hidden.shape).slices
        some = np.ascontiguousarray(hidden[part]).view(np.uint8)
        deep[part] = cv2.distanceTransform(some, cv2.DIST_L2, 5)
    return deep


def piece(
    frame: int, box: FrameBox, light: Floats, hidden: NDArray[np.bool_], tone: Tone
) -> Source:
    """`light` and `hidden` are of the box. Values that fit half floats are kept as half floats."""
    fits = light.size == 0 or float(max(light.max(), -light.min())) <= HALF_MAX
    kept = halved(light) if fits else light.copy()
    return Source(frame, box, kept, tone.grey8(light), _safe(hidden), hidden)


def halved(light: Floats) -> NDArray[np.float16]:
    """The light as half floats; finite light of at most HALF_MAX. OpenCV is four times as fast as NumPy."""
    if not light.size:
        return light.astype(np.float16)
    return np.asarray(cv2.addWeighted(light, 1, light, 0, 0, dtype=cv2.CV_16F), np.float16)


def widened(light: NDArray[np.floating]) -> Floats:
    """The light of a piece as float32: half floats are finite here."""
    if light.dtype != np.float16 or not light.size:
        return np.asarray(light, np.float32)
    return np.asarray(cv2.addWeighted(light, 1, light, 0, 0, dtype=cv2.CV_32F), np.float32)


def _safe(hidden: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """255 where a resampling touches nothing that is hidden."""
    free = (~hidden).view(np.uint8) * np.uint8(255)
    size = 2 * KERNEL + 1
    safe = cv2.erode(free, np.ones((size, size), np.uint8), borderValue=255)
    return np.asarray(safe, np.uint8)


class Pieces:
    """Pieces by frame, the longest unused thrown away first. `make` decodes one."""

    def __init__(self, make: Callable[[int, FrameBox], Source], most: int) -> None:
        self._make, self._most = make, most
        self._boxes: OrderedDict[int, FrameBox] = OrderedDict()
        self._held: dict[int, Source] = {}

    def get(self, frame: int, box: FrameBox) -> Source:
        """A piece of `frame` that holds at least `box`."""
        box = self.reserve(frame, box)
        if frame not in self._held:
            self._held[frame] = self._make(frame, box)
        return self._held[frame]

    def reserve(self, frame: int, box: FrameBox) -> FrameBox:
        """The box of the piece that `get` returns next. Nothing is decoded, so a frame may be passed over.

        A piece's box changes how it is aligned: it has to depend on the shot alone, not on the frames asked for.
        """
        kept = self._boxes.get(frame)
        if kept is None or not kept.holds(box):
            # The old piece goes first: two of a frame are never held at once.
            self._drop(frame)
            while len(self._boxes) >= self._most:
                self._drop(next(iter(self._boxes)))
            self._boxes[frame] = kept = box
        self._boxes.move_to_end(frame)
        return kept

    def _drop(self, frame: int) -> None:
        self._boxes.pop(frame, None)
        self._held.pop(frame, None)


class Sources(Pieces):
    """Pieces of the plate."""

    def __init__(self, clip: Clip, tone: Tone, most: int) -> None:
        super().__init__(self._piece, most)
        self._clip, self._tone = clip, tone

    def _piece(self, frame: int, box: FrameBox) -> Source:
        light = self._clip.plate(frame)[box.slices]
        hidden = self._clip.quadmask(frame)[box.slices] != 255
        return piece(frame, box, light, hidden, self._tone)
