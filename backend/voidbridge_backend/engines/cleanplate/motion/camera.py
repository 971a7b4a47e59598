"""Tracks the camera: a homography for every frame, from the unmasked background.

Frames are tracked from their neighbour, and then again from a key frame that they still overlap. Errors
therefore do not add up along the shot. Pictures are 8 bit lumas [height, width] at reduced size; homographies
are in the plate's own pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import (
    FrameBox,
    Homography,
    Mask,
    apply,
    inverse,
    is_sane,
    mapped,
    moves,
    scaling,
)

from .brightness import Grey, equally_bright
from .cuts import Cuts, Detail, detail, likeness
from .layers import Layers
from .parallax import Parallax, parallax
from .tracks import WINDOW, Tracks, faint, follow

WIDTH = 960
"""Columns that a frame is tracked at, at most."""
FEATURES = 500
KEYS = 16
"""Key frames that are remembered."""
OVERLAP = 0.62
"""Part of the frame that a key frame must still show."""
TRUST = 24
"""Tracked points that a full homography needs."""
SPREAD = 0.15
"""Part of the picture that their hull must cover."""
TOLERANCE_PX = 0.8
"""Distance, in tracked pixels, up to which a point follows the camera."""
DRIFT = 0.05
"""Part of the width that the motion summed up along the way is off by at most."""
REACH = 24
"""Frames on each side of a frame whose motion is explained together."""
CLEAR, FAINT = 1e-4, 1e-6
"""Least slope of a window that is followed: for one motion of all, and for points that are judged one by one."""


@dataclass(frozen=True)
class View:
    """One picture to track: its luma, where its background is free (255) or hidden (0), its features."""

    grey: Grey
    free: Grey
    points: NDArray[np.float32]

    @property
    def box(self) -> FrameBox:
        return FrameBox(0, 0, self.grey.shape[1], self.grey.shape[0])


@dataclass(frozen=True)
class Mix:
    """A frame of a dissolve: how it lies to the last unmixed frame `before` and to the first one `behind`.

    `from_before` and `from_behind` take pixels of those to this frame's, at the camera's size. `share` is that of
    the scene behind, 0 to 1.
    """

    before: int
    behind: int
    from_before: Homography
    from_behind: Homography
    share: float


def shown(hidden: Mask, size: tuple[int, int]) -> Grey:
    """At `size` (width, height): 255 where nothing of a pixel is hidden, up to a 500th of its area; 0 elsewhere."""
    free = (~hidden).view(np.uint8) * np.uint8(255)
    if size == free.shape[::-1]:
        return free
    share = cv2.resize(free, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.threshold(share, 254, 255, cv2.THRESH_BINARY)[1], np.uint8)


def view(grey: Grey, free: Grey, features: int = FEATURES) -> View:
    spacing = max(grey.shape[1] / 90, 6.0)
    found = cv2.goodFeaturesToTrack(grey, features, 0.004, spacing, mask=free, blockSize=5)
    points = np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)
    return View(grey, free, points)


def track(source: View, target: View, guess: Homography, levels: int = 3) -> Homography | None:
    """The homography from `source` to `target`, near `guess`; None where there is too little to follow.

    With `levels` halvings of the pictures, points are found up to about 10 * 2**levels pixels from the guess.
    """
    return _sane_fit(*_matches(source, target, guess, levels), source.box)


def _sane_fit(
    here: NDArray[np.float32], there: NDArray[np.float32], box: FrameBox
) -> Homography | None:
    motion = fit(here, there, box, TOLERANCE_PX)
    return motion if motion is not None and is_sane(motion, box) else None


def _matches(
    source: View, target: View, guess: Homography, levels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points [n, 2] of `source`, and where they are in `target`; those that come back to where they began."""
    if len(source.points) < 3:
        return source.points[:0], source.points[:0]
    there, good = _found(source, source.points, target, guess, levels)
    return source.points[good], there[good]


def _found(
    source: View,
    points: NDArray[np.float32],
    target: View,
    guess: Homography,
    levels: int,
    least: float = CLEAR,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where `points` [n, 2] of `source` are in `target`, and which come back to where they began."""
    start = apply(guess, points.astype(np.float64)).astype(np.float32)
    here, now = _alike(source, target, guess)
    there, good = follow(here, now, points, start, levels, least)
    back, came = follow(now, here, there, points, levels, least)
    good &= came & (np.abs(back - points).max(1) < 0.5)
    at = np.rint(np.nan_to_num(there)).astype(int)
    height, width = target.grey.shape
    good &= (at[:, 0] >= 0) & (at[:, 0] < width) & (at[:, 1] >= 0) & (at[:, 1] < height)
    good[good] &= target.free[at[good, 1], at[good, 0]] > 0
    return there, good


def _alike(source: View, target: View, guess: Homography) -> tuple[Grey, Grey]:
    """The lumas of both, equally bright; as they are where hardly anything can be compared."""
    to_source = inverse(guess)
    size = target.box.width, target.box.height
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    both = cv2.warpPerspective(source.free, to_source, size, flags=flags) & target.free
    if cv2.countNonZero(both) < max(SPREAD * both.size / 4, 1):
        return source.grey, target.grey
    there = np.asarray(cv2.warpPerspective(source.grey, to_source, size, flags=flags), np.uint8)
    return equally_bright(source.grey, target.grey, there, both)


def _away(free: Grey) -> Grey:
    """255 where nothing hidden is near enough to drag a point along."""
    return np.asarray(
        cv2.erode(free, np.ones((WINDOW, WINDOW), np.uint8), borderValue=255), np.uint8
    )


def _points(now: View) -> tuple[NDArray[np.float32], Grey]:
    """Corners and faint points to follow through a scene, and 255 where they may lie."""
    free = _away(now.free)
    return np.concatenate([now.points, faint(now.grey, free, now.points)]), free


def fit(
    here: NDArray[np.float32], there: NDArray[np.float32], box: FrameBox, tolerance: float
) -> Homography | None:
    """The motion that most points agree on: as free a model as their number and spread can bear.

    A homography from points in one corner would swing wildly in the others.
    """
    if len(here) < 3:
        return None
    if len(here) >= TRUST:
        motion, kept = cv2.findHomography(
            here, there, cv2.USAC_MAGSAC, tolerance, None, 4000, 0.999
        )
        if motion is not None and kept.sum() >= max(TRUST * 0.7, 0.3 * len(here)):
            hull = cv2.contourArea(cv2.convexHull(here[kept.ravel() > 0]))
            if hull >= SPREAD * box.width * box.height:
                return np.asarray(motion, np.float64)
    if len(here) >= 8:
        similar, kept = cv2.estimateAffinePartial2D(
            here, there, ransacReprojThreshold=tolerance * 1.5
        )
        if similar is not None and kept.sum() >= max(6, 0.4 * len(here)):
            return np.vstack([similar, [0, 0, 1]]).astype(np.float64)
    moved = there - here
    middle = np.median(moved, axis=0)
    if np.median(np.abs(moved - middle)) > 2 * tolerance:
        return None
    return np.array([[1, 0, middle[0]], [0, 1, middle[1]], [0, 0, 1]], np.float64)


@dataclass
class Camera:
    """Takes the frames of a shot in order, then knows the motion between any two of one scene."""

    height: int
    width: int
    cuts: Cuts = field(default_factory=Cuts)
    cuts_found: list[int] = field(default_factory=list)
    """The first frames of all scenes but the first, where no dissolve leads to them."""
    mixes: dict[int, Mix] = field(default_factory=dict)
    """The frames of dissolves, each of which is a scene of its own."""
    _place: dict[int, Homography] = field(default_factory=dict)
    _scene: dict[int, int] = field(default_factory=dict)
    _keys: list[tuple[int, View]] = field(default_factory=list)
    _last: tuple[int, View] | None = None
    _seen: Detail = field(init=False)
    """Of the frame `_last`."""
    layers: Layers = field(init=False)
    tracks: Tracks = field(init=False)

    def __post_init__(self) -> None:
        box = FrameBox(0, 0, *self.size)
        self.tracks = Tracks(self.size[0])
        self.layers = Layers(lambda here, there: _sane_fit(here, there, box))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the pictures to track."""
        width = min(self.width, WIDTH)
        return width, max(round(self.height * width / self.width), 1)

    def scene(self, frame: int) -> int:
        """A number that changes at a cut."""
        return self._scene[frame]

    def between(self, source: int, target: int) -> Homography:
        """From pixels of the plate `source` to pixels of the plate `target`.

        Of a frame of a dissolve as the other frame's scene moves there.
        """
        if source == target:
            return np.eye(3)
        if target in self.mixes:
            return self._plates(self._into(source, target))
        if source in self.mixes:
            return self._plates(inverse(self._into(target, source)))
        return self._plates(inverse(self._place[target]) @ self._place[source])

    def _into(self, source: int, mixed: int) -> Homography:
        mix, other = self.mixes[mixed], self.mixes.get(source)
        if other is not None:
            return mix.from_before @ inverse(other.from_before)
        if self._scene[source] == self._scene[mix.behind]:
            return mix.from_behind @ inverse(self._place[mix.behind]) @ self._place[source]
        return mix.from_before @ inverse(self._place[mix.before]) @ self._place[source]

    def ways(self, source: int, target: int) -> list[Homography | None]:
        """Like `between`, for each layer of the `target`; None where it was not followed from one to the other.

        The same number of them for every source. None at all where the target has but one layer.
        """
        layers = self.layers.of(target)
        if len(layers) < 2:
            return []
        moved = [self.layers.between(layer, source, target) for layer in layers]
        return [None if one is None else self._plates(one) for one in moved]

    def _plates(self, small: Homography) -> Homography:
        """A motion of the pictures to track as one of the plates."""
        reduce = scaling(self.size[0] / self.width, self.size[1] / self.height)
        motion = inverse(reduce) @ small @ reduce
        return np.asarray(motion / motion[2, 2], np.float64)

    def parallax(self, anchor: int, asked: Sequence[int]) -> Parallax | None:
        """The ways from pixels of the plate `anchor` to those of the frames `asked`, for any depth."""
        near = range(max(min(asked), anchor - REACH), min(max(asked), anchor + REACH) + 1)
        planes = {
            frame: inverse(self._place[frame]) @ self._place[anchor]
            for frame in near
            if self._scene.get(frame) == self._scene[anchor] and frame in self._place
        }
        reduce = scaling(self.size[0] / self.width, self.size[1] / self.height)
        found = parallax(self.tracks, anchor, planes)
        return None if found is None else found.scaled(reduce)

    def add_mix(self, frame: int, mix: Mix) -> None:
        """The next frame, which belongs to a dissolve."""
        self._scene[frame] = self._scene[mix.before] + 1
        self.mixes[frame] = mix

    def add(self, frame: int, grey: Grey, free: Grey) -> None:
        """The next frame: its luma, and 255 where it shows background, at `size`."""
        now, fine = view(grey, free), detail(grey, free)
        if self._last is None:
            self._begin(frame, now, 0)
            self._seen = fine
            return
        before, seen = self._last
        if frame - 1 in self.mixes:
            self._begin(frame, now, self._scene[frame - 1] + 1)
            self.layers.begin()
            self._seen = fine
            return
        here, there = _matches(seen, now, np.eye(3), 3)
        step = _sane_fit(here, there, now.box)
        motion = np.eye(3) if step is None else step
        if self._begins(frame, fine, motion):
            self._begin(frame, now, self._scene[before] + 1)
            self.cuts_found.append(frame)
            self.layers.begin()
            self._seen = fine
            return
        self._scene[frame] = self._scene[before]
        self._place[frame] = self._place[before] @ inverse(motion)
        if fine.shows or not self._seen.shows:
            self.layers.add(before, frame, here, there)
            self.tracks.go_on(
                before,
                frame,
                lambda points: _found(seen, points, now, motion, 3, FAINT),
                *_points(now),
            )
            # A black frame tells nothing: the next one is held against the last that did.
            self._anchor(frame, now, DRIFT * now.box.width if step is not None else np.inf)
            self._last, self._seen = (frame, now), fine

    def _begins(self, frame: int, fine: Detail, motion: Homography) -> bool:
        if self.cuts.chosen is not None:
            return self.cuts.begins(frame, 1.0)
        if not (fine.shows and self._seen.shows):
            return False
        return self.cuts.begins(frame, likeness(self._seen, fine, motion, self.size))

    def _begin(self, frame: int, now: View, scene: int) -> None:
        self._scene[frame], self._place[frame] = scene, np.eye(3)
        self._keys = [(frame, now)]
        self._last = frame, now
        self.tracks.begin(frame, *_points(now))

    def _anchor(self, frame: int, now: View, furthest: float) -> None:
        """Replace the motion summed up along the way by one straight from a key frame that overlaps.

        One that is `furthest` pixels away from it, or more, follows something else than the background.
        """
        shares = [
            (self._overlap(key, frame, now.box), -age) for age, (key, _) in enumerate(self._keys)
        ]
        # The oldest key that overlaps enough: the fewest steps from the scene's first frame.
        for (share, _), (key, seen) in zip(shares, self._keys, strict=True):
            if share < OVERLAP:
                continue
            guess = inverse(self._place[frame]) @ self._place[key]
            motion = track(seen, now, guess)
            if motion is not None and moves(inverse(guess) @ motion, now.box) < furthest:
                self._place[frame] = self._place[key] @ inverse(motion)
                return
        if len(now.points) >= TRUST:
            self._keys.append((frame, now))
            if len(self._keys) > KEYS:
                del self._keys[1]

    def _overlap(self, key: int, frame: int, box: FrameBox) -> float:
        motion = inverse(self._place[frame]) @ self._place[key]
        if not is_sane(motion, box):
            return 0.0
        seen = mapped(motion, box, box.height, box.width)
        return 0.0 if seen is None else seen.width * seen.height / (box.width * box.height)
