"""Finds cross dissolves, and how both scenes move in the frames that show both.

A frame of a dissolve is a mix of two scenes. If they do not look alike, the energy of fine detail falls and rises
by the squares of their shares (Alattar, "Detecting and compressing dissolve regions in video sequences with a DVI
multimedia image compression algorithm", 1993). It counts as a dissolve if a mix of its last unmixed frames, moved
as each scene moves, explains the frames in between, and neither scene does alone.

Pictures are 8 bit lumas [height, width] at the camera's size.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Homography
from voidbridge_backend.engines.cleanplate.motion.brightness import Grey
from voidbridge_backend.engines.cleanplate.motion.camera import Mix, View, track, view
from voidbridge_backend.engines.cleanplate.motion.cuts import (
    CUT,
    WIDTH,
    Detail,
    blurred,
    detail,
    likeness,
)
from voidbridge_backend.engines.cleanplate.tone import Floats, Tone

LONGEST, SHORTEST = 48, 3
"""Frames of a dissolve at most and at least."""
BEFORE = 2
"""Unmixed frames that a dissolve needs on each side: they tell how a scene moves."""
SHAPE = 0.85
"""Part of the energies' variance that their curve has to explain."""
DIP = 0.9
"""Part of the lesser scene's energy that the energy in a dissolve falls below."""
MIXED, ALONE, LEFT = 0.15, 3.0, 0.2
"""Part of a frame's detail that a mix may leave over; how many times as much, and which part, either scene leaves
alone in the middle."""
LATER, NEARLY, SPARE = 4, 1.5, 0.02
"""Frames within which a later begin is compared; by which factor and which part more may be left over than there.
A frame too many does no harm, one too few does."""
EVEN = 0.1
"""Energy of one scene, as a part of the other's, below which it is a fade."""
BROAD = 0.06
"""Deviation of the blur that takes broad shading off, as a part of the width."""
SIDES = 0.1
"""Share below which a scene is not followed: nothing of it can be seen."""
SEEN = 64
"""Pixels without which nothing is fitted."""


@dataclass(frozen=True)
class Look:
    """A frame to be fed to the camera: its luma, and 255 where its background is free."""

    frame: int
    grey: Grey
    free: Grey


@dataclass
class Dissolves:
    """Takes looks in order and gives them back in order, with the mixes among them, some frames later."""

    tone: Tone
    _window: deque[Look] = field(default_factory=deque)
    _details: deque[Detail] = field(default_factory=deque)
    _energies: deque[float] = field(default_factory=deque)

    def push(self, look: Look) -> Iterator[tuple[Look, Mix | None]]:
        """The looks that are settled now that this one is known."""
        self._window.append(look)
        self._details.append(detail(look.grey, look.free))
        self._energies.append(_energy(self._details[-1], self.tone))
        if len(self._window) > LONGEST + 2 * BEFORE:
            yield from self._settle()

    def rest(self) -> Iterator[tuple[Look, Mix | None]]:
        """All other looks, after the last was pushed."""
        while self._window:
            yield from self._settle()

    def _settle(self) -> Iterator[tuple[Look, Mix | None]]:
        found = self._begins()
        for mix in found:
            yield self._pop(), mix
        yield self._pop(), None

    def _pop(self) -> Look:
        self._details.popleft()
        self._energies.popleft()
        return self._window.popleft()

    def _begins(self) -> list[Mix | None]:
        """For the looks up to the first one behind a dissolve, if one begins behind the first BEFORE of them."""
        energies = np.array(self._energies)
        first = BEFORE - 1
        left, last = _curve(energies, first)
        later = [_curve(energies, first + k)[0] for k in range(1, LATER)]
        if left > 1 - SHAPE or left > NEARLY * min(later) + SPARE:
            return []
        if likeness(self._details[first], self._details[last], np.eye(3), self._size) >= CUT:
            return []
        mixes = _followed(list(self._window)[first - 1 : last + 2], self.tone)
        return [] if mixes is None else [*[None] * (first + 1), *mixes]

    @property
    def _size(self) -> tuple[int, int]:
        grey = self._window[0].grey
        return grey.shape[1], grey.shape[0]


def _energy(one: Detail, tone: Tone) -> float:
    """Of the fine light where background is free."""
    if not one.free.any():
        return 0.0
    light = tone.light_of_grey(one.grey)
    return float(np.square(_fine(light, one.free)[one.free]).mean())


def _fine(light: Floats, shown: NDArray[np.bool_]) -> Floats:
    return np.asarray(light - blurred(light, shown, BROAD * light.shape[1]), np.float32)


def _curve(energies: NDArray[np.float64], first: int) -> tuple[float, int]:
    """(the part that the curve of a dissolve behind `first` leaves over, the first frame behind it).

    (1, `first`) if no curve fits.
    """
    found = [(1.0, first)]
    for last in range(first + SHORTEST + 1, min(first + LONGEST + 2, len(energies) - BEFORE + 1)):
        begin, end = first - BEFORE + 1, last + BEFORE
        some = energies[begin:end]
        share = np.clip((np.arange(begin, end) - first) / (last - first), 0, 1)
        low, high = energies[begin : first + 1].mean(), energies[last:end].mean()
        if some.min() > DIP * min(low, high) or min(low, high) < EVEN * max(low, high):
            continue
        left = some - (1 - share) ** 2 * low - share**2 * high
        found.append((float(np.square(left).mean() / max(some.var(), 1e-12)), last))
    least, _ = min(found)
    return least, max(last for left, last in found if left <= NEARLY * least + SPARE)


def _followed(looks: Sequence[Look], tone: Tone) -> list[Mix] | None:
    """The frames between the second look and the last but one, if both scenes explain them; else None."""
    chain = _Chain(looks, tone)
    for step in (chain.forward, chain.backward, chain.forward):
        step()
    return chain.mixes() if chain.explains() else None


class _Chain:
    """The motions of two scenes through the frames of a dissolve, from its last unmixed frames on both sides."""

    def __init__(self, looks: Sequence[Look], tone: Tone) -> None:
        self._looks, self._tone = looks, tone
        self._views = [view(looks[1].grey, looks[1].free), view(looks[-2].grey, looks[-2].free)]
        self._luma = [self._light(one.grey) for one in self._views]
        self._inside = range(2, len(looks) - 2)
        count = len(looks) - 3
        steps = [self._step(looks[0], looks[1]), self._step(looks[-1], looks[-2])]
        self._motions = [
            {k: _power(steps[0], k - 1) for k in self._inside},
            {k: _power(steps[1], count + 1 - k) for k in self._inside},
        ]
        self._steps = steps

    def _step(self, one: Look, two: Look) -> Homography:
        found = track(view(one.grey, one.free), view(two.grey, two.free), np.eye(3))
        return np.eye(3) if found is None else found

    def _light(self, grey: Grey) -> Floats:
        """Linear light of a luma, up to a constant: light mixes, its logarithm does not."""
        return np.asarray(self._tone.light_of_grey(grey), np.float32)

    def forward(self) -> None:
        self._sweep(0, self._inside)

    def backward(self) -> None:
        self._sweep(1, self._inside[::-1])

    def _sweep(self, side: int, order: range) -> None:
        """Follow one scene, with what is known of the other taken off."""
        last = np.eye(3)
        for k in order:
            guess = self._steps[side] @ last
            share = self._share(k)
            own = 1 - share if side == 0 else share
            if own < SIDES:
                self._motions[side][k] = last = guess
                continue
            other, seen = self._moved(1 - side, k)
            own_light = self._light(self._looks[k].grey)
            rest = np.asarray((own_light - (1 - own) * other) / own, np.float32)
            target = View(
                self._tone.grey_of_light(rest),
                seen & self._looks[k].free,
                np.zeros((0, 2), np.float32),
            )
            found = track(self._views[side], target, guess)
            ways = [self._motions[side][k], guess, *([] if found is None else [found])]
            left = [self._left_by(side, k, way) for way in ways]
            self._motions[side][k] = last = ways[int(np.argmin(left))]

    def _left_by(self, side: int, k: int, way: Homography) -> float:
        """The part of frame `k` that no mix explains if a side moves by `way`."""
        before, self._motions[side][k] = self._motions[side][k], way
        own, *both = self._parts(k)
        self._motions[side][k] = before
        if len(own) < SEEN:
            return np.inf
        return _left(own, both) / max(float((own * own).sum()), 1e-12)

    def _moved(self, side: int, k: int) -> tuple[Floats, Grey]:
        """(light, 255 where it is known) of the unmixed frame of a side at frame `k`."""
        size = self._luma[side].shape[1], self._luma[side].shape[0]
        motion = self._motions[side][k]
        light = cv2.warpPerspective(
            self._luma[side], motion, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        seen = cv2.warpPerspective(self._views[side].free, motion, size, flags=cv2.INTER_NEAREST)
        return np.asarray(light, np.float32), np.asarray(seen, np.uint8)

    def _parts(self, k: int) -> list[Floats]:
        """[n] each: the fine light of a frame and of both scenes there, where all are known."""
        own = self._light(self._looks[k].grey)
        (one, seen), (two, other) = (self._moved(side, k) for side in (0, 1))
        both = seen & other & self._looks[k].free
        height, width = both.shape
        size = min(width, WIDTH), max(round(height * min(width, WIDTH) / width), 1)
        shown = cv2.resize(both, size, interpolation=cv2.INTER_AREA) > 250
        small = (cv2.resize(light, size, interpolation=cv2.INTER_AREA) for light in (own, one, two))
        return [_fine(np.asarray(light, np.float32), shown)[shown] for light in small]

    def _share(self, k: int) -> float:
        """The share of the scene behind in frame `k`, by least squares."""
        own, one, two = self._parts(k)
        apart = two - one
        energy = float((apart * apart).sum())
        if len(own) < SEEN or energy <= 0:
            return (k - 1) / (len(self._looks) - 3)
        return float(np.clip((apart * (own - one)).sum() / energy, 0, 1))

    def explains(self) -> bool:
        """Whether most of the frames are mixes of both scenes, and those in the middle of none alone."""
        mixed, alone = [], []
        for k in self._inside:
            own, *both = self._parts(k)
            if len(own) < SEEN:
                return False
            whole = max(float((own * own).sum()), 1e-12)
            mixed.append(_left(own, both) / whole)
            alone.append(min(_left(own, [one]) for one in both) / whole)
        middle = len(mixed) // 2
        if float(np.median(mixed)) > MIXED or alone[middle] < ALONE * mixed[middle]:
            return False
        return min(alone[middle], self._left_by_one(self._inside[middle])) > LEFT

    def _left_by_one(self, k: int) -> float:
        """The part of frame `k` that the scene before leaves if it is followed as if there were no other."""
        way = np.eye(3)
        for one, two in itertools.pairwise(self._looks[1 : k + 1]):
            way = self._step(one, two) @ way
        kept, self._motions[0][k] = self._motions[0][k], way
        own, before, _ = self._parts(k)
        self._motions[0][k] = kept
        if len(own) < SEEN:
            return 0.0
        return _left(own, [before]) / max(float((own * own).sum()), 1e-12)

    def mixes(self) -> list[Mix]:
        before, behind = self._looks[1].frame, self._looks[-2].frame
        return [
            Mix(before, behind, self._motions[0][k], self._motions[1][k], self._share(k))
            for k in self._inside
        ]


def _left(own: Floats, others: Sequence[Floats]) -> float:
    """The energy of `own` [n] that no weighted sum of the `others` explains."""
    matrix = np.stack(others, 1).astype(np.float64)
    found, *_ = np.linalg.lstsq(matrix.T @ matrix, matrix.T @ own, rcond=None)
    return float(np.square(own - matrix @ found).sum())


def _power(step: Homography, times: int) -> Homography:
    made = np.linalg.matrix_power(step, times)
    return np.asarray(made / made[2, 2], np.float64)
