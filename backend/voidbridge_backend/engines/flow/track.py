"""A matte carried from frame to frame by dense optical flow, and refined in a narrow band.

Flow is DIS: T. Kroeger et al., "Fast optical flow using dense inverse search", 2016. Between two key frames the
matte is carried from both, and the signed distances of the two are blended.
Pictures are uint8 [height, width, 3] RGB; mattes are float32 [height, width], 0 to 1.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.mask_base import Matte, Picture, Pictures, Tracked

BAND = 2
"""Pixels on both sides of the outline that a frame's own colors may move. At 480 pixels of width, 4 harms glass."""
SURROUNDING = 16
"""Pixels around the matte that the color models learn from."""
SMALLEST = 20
"""A matte of fewer pixels has no color model of its own and is only carried."""
EDGE = 0.7
"""Blur of a cut's outline in pixels, so that the next warp starts from a soft edge."""
LOST = 32.0
"""Mean difference in 8-bit gray between an object and its carried picture at which the score is 0."""


class Tracker:
    """Carries mattes through one shot. Only two pictures are in memory at once."""

    def __init__(
        self, pictures: Pictures, heartbeat: Callable[[], None], *, refines: bool = True
    ) -> None:
        """`pictures` gives the picture of a frame; `heartbeat` is called for each frame and may raise.

        `refines` moves each frame's outline to where its own colors part.
        """
        self._pictures = pictures
        self._refines = refines
        self._heartbeat = heartbeat
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def run(self, matte: Matte, first: int, last: int) -> Iterator[Tracked]:
        """Mattes from the frame after `first` to `last`, which may lie before it."""
        step = 1 if last >= first else -1
        before = _grey(self._pictures(first))
        for frame in range(first + step, last + step, step):
            self._heartbeat()
            picture = self._pictures(frame)
            now = _grey(picture)
            matte, score = self._carried(matte, before, now)
            if self._refines:
                matte = refined(picture, matte)
            yield Tracked(frame, matte, score)
            before = now

    def between(self, keys: Mapping[int, Matte], first: int, last: int) -> Iterator[Tracked]:
        """Mattes of every frame from `first` to `last`, in any order; key frames keep their own."""
        order = sorted(keys)
        yield from (Tracked(frame, matte, 1.0) for frame, matte in keys.items())
        yield from self.run(keys[order[0]], order[0], first)
        for left, right in pairwise(order):
            yield from self._blended(keys, left, right)
        yield from self.run(keys[order[-1]], order[-1], last)

    def _blended(self, keys: Mapping[int, Matte], left: int, right: int) -> Iterator[Tracked]:
        if right - left < 2:
            return
        ahead = {
            found.frame: (_packed(found.matte), found.score)
            for found in self.run(keys[left], left, right - 1)
        }
        for frame, matte, score in self.run(keys[right], right, left + 1):
            weight = (frame - left) / (right - left)
            packed, other = ahead.pop(frame)
            distance = (1 - weight) * signed_distance(_unpacked(packed, matte.shape))
            distance += weight * signed_distance(matte)
            yield Tracked(
                frame, np.clip(distance + 0.5, 0, 1).astype(np.float32), max(score, other)
            )

    def _carried(
        self, matte: Matte, before: NDArray[np.uint8], now: NDArray[np.uint8]
    ) -> tuple[Matte, float]:
        """The matte of the frame before, moved by the flow, and how well the object's picture fits there."""
        flow = self._flow.calc(now, before, None)
        rows, columns = np.mgrid[: matte.shape[0], : matte.shape[1]].astype(np.float32)
        places = columns + flow[..., 0], rows + flow[..., 1]
        edge = cv2.BORDER_REPLICATE
        carried = cv2.remap(matte, *places, cv2.INTER_LINEAR, borderMode=edge)
        inside = carried > 0.5
        if not inside.any():
            return carried, 0.0
        moved = cv2.remap(before, *places, cv2.INTER_LINEAR, borderMode=edge)
        difference = cv2.absdiff(moved, now)[inside].mean()
        return carried, round(float(max(0.0, 1 - difference / LOST)), 4)


def refined(picture: Picture, matte: Matte) -> Matte:
    """The matte with its outline moved by up to `BAND` pixels to where the picture's colors part."""
    inside = (matte > 0.5).astype(np.uint8)
    if inside.sum() < SMALLEST:
        return matte
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND + 1, 2 * BAND + 1))
    outer, inner = cv2.dilate(inside, disk), cv2.erode(inside, disk)
    labels = np.full(inside.shape, cv2.GC_BGD, np.uint8)
    labels[outer > 0] = cv2.GC_PR_BGD
    labels[inside > 0] = cv2.GC_PR_FGD
    labels[inner > 0] = cv2.GC_FGD
    rows, columns = np.flatnonzero(outer.any(axis=1)), np.flatnonzero(outer.any(axis=0))
    part = (
        slice(max(rows[0] - SURROUNDING, 0), rows[-1] + SURROUNDING + 1),
        slice(max(columns[0] - SURROUNDING, 0), columns[-1] + SURROUNDING + 1),
    )
    cut = np.ascontiguousarray(labels[part])
    if not (cut == cv2.GC_FGD).any() or not (cut == cv2.GC_BGD).any():
        return matte
    cv2.setRNGSeed(0)  # the color models start from k-means
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(picture[part]), cut, None, *models, 1, cv2.GC_INIT_WITH_MASK)
    found = np.zeros_like(matte)
    found[part] = (cut == cv2.GC_FGD) | (cut == cv2.GC_PR_FGD)
    found = cv2.GaussianBlur(found, (0, 0), EDGE).astype(np.float32)
    band = (outer > 0) & (inner == 0)
    return np.where(band, found, matte)


def signed_distance(matte: Matte) -> NDArray[np.float32]:
    """Pixels to the outline, positive inside."""
    inside = (matte > 0.5).astype(np.uint8)
    return np.asarray(
        cv2.distanceTransform(inside, cv2.DIST_L2, 3)
        - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3),
        np.float32,
    )


def _packed(matte: Matte) -> bytes:
    """A matte in 8 bits, compressed: a long run between key frames stays small."""
    return zlib.compress(np.round(matte * 255).astype(np.uint8).tobytes(), 1)


def _unpacked(data: bytes, shape: tuple[int, ...]) -> Matte:
    codes = np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)
    return codes.astype(np.float32) / np.float32(255)


def _grey(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
