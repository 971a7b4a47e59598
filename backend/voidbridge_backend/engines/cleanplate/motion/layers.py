"""How the parts of a background at different depths move: a chain of homographies for each.

Points that are followed from one frame to the next are divided among layers. A layer is known again by its points:
they lie where those of the frame before came to lie. Sequential robust fits find layers that are new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Homography, apply, inverse

Points = NDArray[np.float32]
Labels = NDArray[np.intp]
Fit = Callable[[Points, Points], Homography | None]

MOST = 3
"""Layers of a frame at most."""
TOLERANCE_PX = 1.0
"""Distance up to which a point follows a layer."""
NEAR_PX = 5.0
"""Distance up to which a point takes its layer from a point of the frame before."""
SHARE, FEWEST = 0.08, 12
"""Part and number of the points that a layer has at least when it is found."""
SIMPLER = 0.7
"""Part of a homography's points that a similarity must explain to be taken in its place."""
KEPT = 6
"""Points that a layer has at least to go on."""
NONE = -1


@dataclass
class Layers:
    """Takes the steps of a scene in order. `fit` finds the motion that most of two lists of points share."""

    fit: Fit
    _place: dict[int, dict[int, Homography]] = field(default_factory=dict)
    _points: Points = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    _labels: Labels = field(default_factory=lambda: np.zeros(0, np.intp))
    _next: int = 0

    def of(self, frame: int) -> list[int]:
        """The numbers of the layers that are known in a frame; those of a scene are its own."""
        return list(self._place.get(frame, {}))

    def between(self, layer: int, source: int, target: int) -> Homography | None:
        """From pixels of `source` to pixels of `target`; None where the layer was not followed in between."""
        here, there = self._place.get(source, {}), self._place.get(target, {})
        if layer not in here or layer not in there:
            return None
        motion = inverse(there[layer]) @ here[layer]
        return np.asarray(motion / motion[2, 2], np.float64)

    def begin(self) -> None:
        """Another scene: nothing goes on."""
        self._points, self._labels = self._points[:0], self._labels[:0]

    def add(self, before: int, frame: int, here: Points, there: Points) -> None:
        """The next step: points `here` [n, 2] of the frame `before` that lie `there` in `frame`."""
        if len(here) < KEPT:
            self.begin()
            return
        prior = self._prior(here)
        motions = self._going_on(before, here, there, prior)
        labels = _assigned(motions, here, there, prior)
        self._find_new(motions, labels, here, there)
        known = self._place.setdefault(before, {})
        now = self._place.setdefault(frame, {})
        for layer, motion in motions.items():
            now[layer] = known.setdefault(layer, np.eye(3)) @ inverse(motion)
        self._points, self._labels = there, labels

    def _prior(self, here: Points) -> Labels:
        if not len(self._points):
            return np.full(len(here), NONE, np.intp)
        away = np.square(here[:, None] - self._points[None]).sum(-1)
        nearest = away.argmin(1)
        near = away[np.arange(len(here)), nearest] <= NEAR_PX**2
        return np.where(near, self._labels[nearest], NONE)

    def _going_on(
        self, before: int, here: Points, there: Points, prior: Labels
    ) -> dict[int, Homography]:
        motions = {}
        for layer in self._place.get(before, {}):
            mine = prior == layer
            motion = self._fitted(here[mine], there[mine])
            if motion is not None:
                motions[layer] = motion
        return motions

    def _find_new(
        self, motions: dict[int, Homography], labels: Labels, here: Points, there: Points
    ) -> None:
        """Adds to `motions` and to `labels`, in place."""
        enough = max(SHARE * len(here), FEWEST)
        while len(motions) < MOST:
            left = np.flatnonzero(labels == NONE)
            if len(left) < enough:
                return
            motion = self._simplest(here[left], there[left])
            if motion is None:
                return
            mine = left[_missed(motion, here[left], there[left]) < TOLERANCE_PX]
            if len(mine) < enough:
                return
            motions[self._next] = motion
            labels[mine] = self._next
            self._next += 1

    def _simplest(self, here: Points, there: Points) -> Homography | None:
        """A similarity where it explains nearly as much as a homography, which would bend over two depths."""
        free = self._fitted(here, there)
        similar, kept = cv2.estimateAffinePartial2D(here, there, ransacReprojThreshold=TOLERANCE_PX)
        if similar is None or kept.sum() < KEPT:
            return free
        stiff = np.vstack([similar, [0, 0, 1]]).astype(np.float64)
        if free is None:
            return stiff
        counts = [(_missed(way, here, there) < TOLERANCE_PX).sum() for way in (stiff, free)]
        return stiff if counts[0] >= SIMPLER * counts[1] else free

    def _fitted(self, here: Points, there: Points) -> Homography | None:
        if len(here) < KEPT:
            return None
        motion = self.fit(here, there)
        if motion is None:
            return None
        return motion if (_missed(motion, here, there) < TOLERANCE_PX).sum() >= KEPT else None


def _assigned(motions: dict[int, Homography], here: Points, there: Points, prior: Labels) -> Labels:
    """The layer that each point follows best; its own as long as it follows that."""
    labels = np.full(len(here), NONE, np.intp)
    least = np.full(len(here), TOLERANCE_PX)
    for layer, motion in motions.items():
        missed = _missed(motion, here, there)
        # A camera that stands still is no reason to change.
        missed = np.where((prior == layer) & (missed < TOLERANCE_PX), 0, missed)
        better = missed < least
        labels[better], least[better] = layer, missed[better]
    return labels


def _missed(motion: Homography, here: Points, there: Points) -> NDArray[np.float64]:
    moved = apply(motion, here.astype(np.float64)) - there
    return np.asarray(np.hypot(moved[:, 0], moved[:, 1]), np.float64)
