"""How a background with depth moves: one camera explains all points that are followed through a scene.

A pixel x of the target lies at `way @ x + nearness * shift` in a source (plane and parallax: Sawhney, "3D geometry
from planar parallax", 1994). `way` and `shift` are the source's; the nearness is the pixel's, and the same for all
sources. Both are found in turn, by weighted least squares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Homography

from .tracks import Ids, Tracks

Values = NDArray[np.float64]

FEWEST = 24
"""Points that a source shares with the target at least."""
BRIEF, ROUNDS = 5, 15
"""Rounds of least squares, for the sources and for the points in turn: of each guess, and of the best."""
CLEAR_PX = 0.3
"""Distance from its place that a point may have with full weight."""
STIFF, FIRM = 3e-4, 1e-6
"""How much the perspective, and all other parameters, are held to those of one plane."""
CLOSE = 6
"""Frames on each side of the first one that are explained first."""
JOINT = 6
"""Rounds of least squares of all frames together."""
LOST_PX, LOST = 1.0, 0.3
"""Distance of a point from its place, and part of such points, from which on a frame is left out."""
SEEN = 3
"""Frames in which a point is seen at least whose nearness counts."""
UNEVEN, SOME = 0.3, 8
"""Difference of nearness, and points that have it, without which a frame tells nothing of depth."""
STARTS = 3
"""Sources from whose points the nearness is guessed at first."""


@dataclass(frozen=True)
class Way:
    """From pixels of the target to those of a source: `plane` [3, 3], and `shift` [3] for a nearness of 1."""

    plane: Homography
    shift: Values

    def at(self, nearness: float) -> Homography:
        """The motion of all pixels of this nearness."""
        moved = self.plane.copy()
        moved[:, 2] += nearness * self.shift
        return moved


@dataclass(frozen=True)
class Parallax:
    """The ways from one target to other frames, and points [n, 2] of known nearness in the target's pixels."""

    ways: Mapping[int, Way]
    points: Values
    nearness: Values

    def seen_from(self, target: int) -> Parallax | None:
        """The same for another target; None where that is not explained."""
        if target not in self.ways:
            return None
        here = self.ways[target]
        back = np.linalg.inv(here.plane)
        ways = {}
        for frame, way in self.ways.items():
            plane = way.plane @ back
            ways[frame] = Way(plane, way.shift - plane @ here.shift)
        whole = np.column_stack([self.points, np.ones(len(self.points))])
        moved = whole @ here.plane.T + self.nearness[:, None] * here.shift
        far = np.where(np.abs(moved[:, 2]) < 1e-9, 1e-9, moved[:, 2])
        return Parallax(ways, moved[:, :2] / far[:, None], self.nearness / far)

    def scaled(self, reduce: Homography) -> Parallax:
        """The same in other pixels, which `reduce` takes to these."""
        back = np.linalg.inv(reduce)
        ways = {
            frame: Way(back @ way.plane @ reduce, back @ way.shift)
            for frame, way in self.ways.items()
        }
        points = (self.points - reduce[:2, 2]) / np.diag(reduce)[:2]
        return Parallax(ways, points, self.nearness)


def parallax(tracks: Tracks, anchor: int, planes: Mapping[int, Homography]) -> Parallax | None:
    """The camera that explains the tracks, seen from `anchor`. `planes` are motions to begin with, by frame.

    They take pixels of the anchor to pixels of the frame. None where too few points are shared.
    """
    ids, points = tracks.of(anchor)
    if len(ids) < FEWEST:
        return None
    # Numbers of about 1 keep the least squares sound.
    half, middle = tracks.width / 2, points.astype(np.float64).mean(0)
    norm = np.array([[1 / half, 0, -middle[0] / half], [0, 1 / half, -middle[1] / half], [0, 0, 1]])
    back = np.linalg.inv(norm)
    first = {frame: _unit(norm @ plane @ back) for frame, plane in planes.items()}
    seen = {
        frame: (tracks.of(frame)[0], (tracks.of(frame)[1].astype(np.float64) - middle) / half)
        for frame in {*planes, anchor}
    }
    begun = _begun(anchor, seen, first, half)
    if begun is None:
        return None
    bundle = _Bundle(anchor, seen, first, half, *begun)
    bundle.grow()
    ways = {
        frame: Way(back @ way.plane @ norm, back @ way.shift) for frame, way in bundle.ways.items()
    }
    at, nearness = bundle.points()
    return None if not len(at) else Parallax(ways, at * half + middle, nearness)


Seen = Mapping[int, tuple[Ids, Values]]


def _begun(
    anchor: int, seen: Seen, first: Mapping[int, Homography], half: float
) -> tuple[dict[int, Way], Values] | None:
    """The ways to the frames next to the anchor, and the nearness of the anchor's points."""
    ids, x = seen[anchor]
    rows: dict[int, Values] = {}
    for frame in first:
        if frame == anchor or abs(frame - anchor) > CLOSE:
            continue
        others, there = seen[frame]
        _, one, two = np.intersect1d(ids, others, assume_unique=True, return_indices=True)
        if len(one) >= FEWEST:
            rows[frame] = np.full((len(ids), 2), np.nan)
            rows[frame][one] = there[two]
    if len(rows) < 2:
        return None
    stacked = np.stack(list(rows.values()))
    starts = np.stack([first[frame] for frame in rows])
    solver = _Solver(x, stacked, starts, half)
    tried = [solver.solved(start, BRIEF) for start in _starts(x, stacked, starts)]
    _, nearness = min(tried, key=lambda one: one[0])
    _, nearness = solver.solved(nearness, ROUNDS)
    ways = {
        frame: Way(way, shift)
        for frame, way, shift in zip(rows, solver.ways, solver.shifts, strict=True)
        if _tells(nearness[np.isfinite(rows[frame][:, 0])])
    }
    return ways, nearness


def _tells(nearness: Values) -> bool:
    """Whether points of this nearness tell how far near ones move; a frame without near points does not."""
    known = nearness[np.isfinite(nearness)]
    return bool((np.abs(known - np.median(known)) > UNEVEN).sum() >= SOME) if len(known) else False


def _unit(motion: Homography) -> Homography:
    return np.asarray(motion / motion[2, 2], np.float64)


def _along(ways: Values, x: Values) -> Values:
    """[source, point, 3]: the points `x` [point, 2] by each of `ways` [source, 3, 3]."""
    whole = np.column_stack([x, np.ones(len(x))])
    return np.asarray(np.einsum("sij,pj->spi", ways, whole), np.float64)


def _starts(x: Values, seen: Values, ways: Values) -> list[Values]:
    """Guesses of the nearness [point]: how far points are from one plane, along their common line."""
    moved = _along(ways, x)
    apart = seen - moved[..., :2] / moved[..., 2:]
    there = np.isfinite(apart[..., 0])
    sizes = [
        float(np.percentile(np.abs(one[on]).max(1), 85)) * float(on.mean()) ** 0.5
        for one, on in zip(apart, there, strict=True)
    ]
    guesses = []
    for index in np.argsort(sizes)[::-1][: 2 * STARTS : 2]:
        one, on = apart[index], there[index]
        _, _, axes = np.linalg.svd(one[on] - np.median(one[on], 0), full_matrices=False)
        along = one @ axes[0]
        guesses.append(_normal(along))
    return guesses


def _normal(nearness: Values) -> Values:
    known = nearness[np.isfinite(nearness)]
    if not len(known):
        return nearness
    middle = np.median(known)
    size = max(float(np.percentile(np.abs(known - middle), 80)), 1e-9)
    return np.asarray((nearness - middle) / size, np.float64)


class _Solver:
    """Finds `ways` [source, 3, 3], `shifts` [source, 3] and the nearness [point], in turn.

    The points `x` [point, 2] of the target are `seen` [source, point, 2] in its sources, or NaN. `half` is the unit
    in pixels. The ways are held to `first`.
    """

    def __init__(self, x: Values, seen: Values, first: Values, half: float) -> None:
        self._x, self._first, self._half = x, first, half
        self._there = np.isfinite(seen[..., 0])
        self._seen = np.nan_to_num(seen)
        self.ways, self.shifts = first.copy(), np.zeros((len(first), 3))
        a, b = (np.broadcast_to(one, self._there.shape) for one in x.T)
        u, v = self._seen[..., 0], self._seen[..., 1]
        one, none = np.ones_like(u), np.zeros_like(u)
        rows_u = np.stack([a, b, one, none, none, none, -a * u, -b * u, one, none, -u], -1)
        rows_v = np.stack([none, none, none, a, b, one, -a * v, -b * v, none, one, -v], -1)
        self._rows = np.stack([rows_u, rows_v], 2)
        hold = np.full(11, FIRM)
        hold[[6, 7, 10]] = STIFF
        self._hold = hold
        self._begin = np.column_stack([first.reshape(-1, 9)[:, :8], np.zeros((len(first), 3))])

    def solved(self, nearness: Values, rounds: int) -> tuple[float, Values]:
        """(mean distance of points from their places in pixels, nearness) from a first guess."""
        trust = self._there * np.isfinite(nearness)
        cost = 0.0
        for _ in range(rounds):
            self._fit(np.nan_to_num(nearness), trust)
            nearness = _normal(self._nearness(trust))
            away = self._away(nearness) * self._half
            known = self._there & np.isfinite(away)
            if not known.any():
                return np.inf, nearness
            away = np.where(known, away, 0)
            usual = max(2 * float(np.median(away[known])), CLEAR_PX)
            trust = np.where(known, 1 / (1 + (away / usual) ** 2), 0)
            cost = float(np.minimum(away[known], 3.0).mean())
        self._fit(np.nan_to_num(nearness), trust)
        return cost, nearness

    def fitted(self, nearness: Values) -> Way:
        """The way of the only source to points of this nearness."""
        trust = self._there.astype(np.float64)
        if self.shifts.any():
            trust = trust / (1 + (self._away(nearness) * self._half / CLEAR_PX) ** 2)
        for _ in range(3):
            self._fit(nearness, trust)
            away = self._away(nearness) * self._half
            usual = max(2 * float(np.median(away)), CLEAR_PX)
            trust = 1 / (1 + (away / usual) ** 2)
        return Way(self.ways[0], self.shifts[0])

    def _fit(self, nearness: Values, trust: Values) -> None:
        """The ways and shifts that fit best."""
        rows = self._rows.copy()
        rows[..., 8:] *= nearness[None, :, None, None]
        rows = rows.reshape(len(rows), -1, 11)
        weight = np.repeat(trust, 2, axis=1)[..., None]
        weighted = rows * weight
        hold = self._hold * np.maximum(trust.sum(1), 1)[:, None]
        # Not a product of matrices, whose last bits depend on the number of threads.
        left = np.einsum("sni,snj->sij", weighted, rows) + hold[:, None] * np.eye(11)
        right = np.einsum("sni,sn->si", weighted, self._seen.reshape(len(rows), -1))
        solved = np.linalg.solve(left, (right + hold * self._begin)[..., None])[..., 0]
        self.ways = np.column_stack([solved[:, :8], np.ones(len(rows))]).reshape(-1, 3, 3)
        self.shifts = solved[:, 8:]

    def _nearness(self, trust: Values) -> Values:
        moved = _along(self.ways, self._x)
        apart = self._seen * moved[..., 2:] - moved[..., :2]
        slope = self.shifts[:, None, :2] - self._seen * self.shifts[:, None, 2:]
        trust = np.where(self._there, np.maximum(trust, 1e-6), 0)
        energy = (trust[..., None] * slope * slope).sum((0, 2))
        total = (trust[..., None] * slope * apart).sum((0, 2))
        found = total / np.maximum(energy, 1e-15)
        return np.asarray(np.where(energy > 1e-12, found, np.nan), np.float64)

    def _away(self, nearness: Values) -> Values:
        """[source, point]: how far each point is from where it is expected."""
        moved = _along(self.ways, self._x) + nearness[None, :, None] * self.shifts[:, None]
        apart = self._seen - moved[..., :2] / moved[..., 2:]
        return np.asarray(np.hypot(apart[..., 0], apart[..., 1]), np.float64)


class _Bundle:
    """All frames of a stretch, and all points followed in it, wherever they are seen (bundle adjustment).

    A point has its place in the anchor, even where it is not seen there, and its nearness.
    """

    def __init__(
        self,
        anchor: int,
        seen: Seen,
        first: Mapping[int, Homography],
        half: float,
        ways: Mapping[int, Way],
        nearness: Values,
    ) -> None:
        self._anchor, self._first, self._half = anchor, first, half
        self.ways = {anchor: Way(np.eye(3), np.zeros(3)), **ways}
        numbers = np.unique(np.concatenate([ids for ids, _ in seen.values()]))
        self._seen = {
            frame: (np.searchsorted(numbers, ids), at) for frame, (ids, at) in seen.items()
        }
        self._place = np.full((len(numbers), 3), np.nan)
        mine, at = self._seen[anchor]
        self._place[mine] = np.column_stack([at, nearness])

    def grow(self) -> None:
        """Explain one frame after the other, the nearest first; then all together."""
        for frame in sorted(self._seen, key=lambda one: (abs(one - self._anchor), one)):
            if frame not in self.ways:
                self._locate(self._seen[frame][0])
                self._explain(frame)
        for _ in range(JOINT):
            self._locate(np.arange(len(self._place)))
            for frame in list(self.ways):
                if frame != self._anchor:
                    self._explain(frame)
        self._leave_out()

    def points(self) -> tuple[Values, Values]:
        """(places in the anchor [n, 2], nearness [n]) of those that the frames' ways explain."""
        missed, count = np.zeros(len(self._place)), np.zeros(len(self._place))
        for frame, way in self.ways.items():
            mine, _ = self._seen[frame]
            away, known = self._missed(frame, way)
            missed[mine[known]] += np.minimum(away, 10 * LOST_PX)
            count[mine[known]] += 1
        known = np.isfinite(self._place).all(1)
        sure = known & (count >= SEEN) & (missed <= LOST_PX * count)
        known = sure if sure.sum() >= SOME else known
        return self._place[known, :2], self._place[known, 2]

    def _missed(self, frame: int, way: Way) -> tuple[Values, NDArray[np.bool_]]:
        """How many pixels a frame's points are from where they are expected, and which of them are known."""
        mine, at = self._seen[frame]
        place = self._place[mine]
        known = np.isfinite(place).all(1)
        whole = np.column_stack([place[:, :2], np.ones(len(place))])
        there = np.einsum("pi,ki->pk", whole, way.plane) + place[:, 2:] * way.shift
        apart = (there[:, :2] / there[:, 2:] - at)[known] * self._half
        return np.asarray(np.hypot(apart[:, 0], apart[:, 1]), np.float64), known

    def _leave_out(self) -> None:
        """Drop the frames that too many points do not follow."""
        for frame in list(self.ways):
            away, _ = self._missed(frame, self.ways[frame])
            if (away > LOST_PX).sum() > LOST * len(away):
                del self.ways[frame]

    def _explain(self, frame: int) -> None:
        """The way to a frame, from the points whose place is known; none where these are too few."""
        mine, at = self._seen[frame]
        place = self._place[mine]
        known = np.isfinite(place).all(1)
        if known.sum() < FEWEST:
            self.ways.pop(frame, None)
            return
        place, at = place[known], at[known]
        if not _tells(place[:, 2]):
            self.ways.pop(frame, None)
            return
        begin = self.ways[frame].plane if frame in self.ways else self._first[frame]
        solver = _Solver(place[:, :2], at[None], begin[None], self._half)
        if frame in self.ways:
            solver.ways, solver.shifts = begin[None], self.ways[frame].shift[None]
        self.ways[frame] = solver.fitted(place[:, 2])

    def _locate(self, wanted: NDArray[np.intp]) -> None:
        """The places of points in the frames that are explained."""
        left = np.zeros((len(self._place), 3, 3))
        right = np.zeros((len(self._place), 3))
        count = np.zeros(len(self._place), np.intp)
        for frame, way in self.ways.items():
            mine, at = self._seen[frame]
            count[mine] += 1
            plane = way.plane
            # Rows of (place, nearness) for each of the two coordinates.
            whole = np.column_stack([plane[:, :2], way.shift])
            rows = whole[None, :2] - at[..., None] * whole[2]
            wants = at * plane[2, 2] - plane[:2, 2]
            trust = self._trust(mine, rows, wants)
            left[mine] += np.einsum("pki,pkj,p->pij", rows, rows, trust)
            right[mine] += np.einsum("pki,pk,p->pi", rows, wants, trust)
        enough = np.zeros(len(self._place), bool)
        enough[wanted] = True
        enough &= count >= 2
        left[:, [0, 1, 2], [0, 1, 2]] += 1e-9
        self._place[enough] = np.linalg.solve(left[enough], right[enough][..., None])[..., 0]
        self._place[count < 2] = np.nan

    def _trust(self, mine: NDArray[np.intp], rows: Values, wants: Values) -> Values:
        place = self._place[mine]
        known = np.isfinite(place).all(1)
        away = np.einsum("pki,pi->pk", rows, np.nan_to_num(place)) - wants
        size = np.hypot(away[:, 0], away[:, 1]) * self._half / CLEAR_PX
        return np.where(known, 1 / (1 + size**2), 1.0)
