"""A frame between two photographed ones: every pixel fetched from both, along the motion.

Where a pixel is hidden in one frame, the other frame alone gives it. Where neither frame's motion is known, the two
are mixed as the camera saw them, which is what an editor would do.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.cleanplate.geometry import inverse

from .canvas import Canvas, Layer
from .objects import Flight
from .warp import Floats, Flow, filled, grid, mismatch, moved, sampled, splatted

CAME = 0.0015
"""Weight from which a pixel of a flow seen at another time is known."""
UNSURE = 0.02
"""Weight of a pixel whose way there and back does not end where it began."""
FRONT_PX, FRONT_STEP = 30.0, 3.0
"""Moving pixels are in front of still ones. They count e times more for each step, up to so many pixels."""
STILL_COST = 1.0
"""Gray levels by which another motion must fit better than the camera's alone."""
LARGEST = 40.0
"""A larger difference in gray says no more than this one."""
BLUR = 2.5
"""Blur in pixels of the differences that motions are compared by."""
HIDDEN = 0.9999
"""How much less a frame counts for a pixel that only the other one shows."""
POOR, HOPELESS = 6.0, 14.0
"""Differences in gray from which a motion begins to be given up, and at which it is."""
ROWS = 256
"""Rows of the result that are fetched at once."""


@dataclass(frozen=True)
class FetchPlan:
    """How to fetch the frame of one moment. All arrays are float32 [height, width] of the canvas."""

    time: float
    flow: Flow
    """[height, width, 2]: the motion over the whole gap of what is here at this moment."""
    weight: tuple[Floats, Floats]
    """Returns the weight of each frame, along the motion."""
    still: tuple[Floats, Floats]
    """Returns the weight of each frame as the camera saw it, without further motion."""
    lost: Floats
    """0 to 1: how much of the pixel is taken without further motion, because its own is not known."""


@dataclass(frozen=True)
class Motions:
    """The flows of a canvas made dense, with how far each way there and back ends from its start."""

    canvas: Canvas
    ahead: Flow
    back: Flow
    apart: tuple[Floats, Floats]

    @classmethod
    def of(cls, canvas: Canvas) -> Motions:
        ahead, back = canvas.before.flow, canvas.behind.flow
        apart = mismatch(ahead, back), mismatch(back, ahead)
        return cls(canvas, filled(ahead, apart[0] < 1), filled(back, apart[1] < 1), apart)

    def at(self, time: float) -> FetchPlan:
        """How to fetch the moment `time`, 0 to 1."""
        known = [np.where(apart < 1, 1, UNSURE).astype(np.float32) for apart in self.apart]
        candidates = []
        for flow, share, weight, sign in (
            (self.ahead, time, known[0], 1),
            (self.back, 1 - time, known[1], -1),
        ):
            length = np.minimum(np.linalg.norm(flow, axis=-1), FRONT_PX)
            found, came = splatted(flow, share, weight * np.exp(length / np.float32(FRONT_STEP)))
            candidates.append(np.float32(sign) * filled(found, came > CAME))
        candidates.append(np.zeros_like(candidates[0]))
        flow, cost = self._best(candidates, time)
        return self._weighed(flow, cost, time)

    def _best(self, candidates: list[Flow], time: float) -> tuple[Flow, Floats]:
        """For each pixel the motion by which both frames agree most, and their difference in gray levels."""
        before, behind = (
            layer.grey.astype(np.float32) for layer in (self.canvas.before, self.canvas.behind)
        )
        costs = []
        for flow in candidates:
            ends = _ends(flow, time)
            apart = np.abs(sampled(before, *ends[0]) - sampled(behind, *ends[1]))
            costs.append(cv2.GaussianBlur(np.minimum(apart, LARGEST), (0, 0), BLUR))
        costs[-1] = costs[-1] + STILL_COST
        every = np.stack(costs)
        choice = every.argmin(0)[None, ..., None]
        flow = np.take_along_axis(np.stack(candidates), choice, 0)[0]
        calm = [cv2.medianBlur(np.ascontiguousarray(flow[..., axis]), 5) for axis in (0, 1)]
        return np.dstack(calm).astype(np.float32), np.asarray(every.min(0), np.float32)

    def _weighed(self, flow: Flow, cost: Floats, time: float) -> FetchPlan:
        ends = _ends(flow, time)
        apart = [
            sampled(np.minimum(one, 4), *end) for one, end in zip(self.apart, ends, strict=True)
        ]
        alone = [1 / (1 + np.exp(-4 * (one - np.float32(1.2)))) for one in apart]
        lost = np.clip(np.minimum(*apart) - 1, 0, 1)
        lost = lost * np.clip((cost - POOR) / (HOPELESS - POOR), 0, 1)
        lost = cv2.GaussianBlur(cv2.dilate(lost, np.ones((5, 5), np.uint8)), (0, 0), 2)
        covers = [
            _cover(layer, *end)
            for layer, end in zip((self.canvas.before, self.canvas.behind), ends, strict=True)
        ]
        still = [_cover(layer, None, None) for layer in (self.canvas.before, self.canvas.behind)]
        return FetchPlan(
            time,
            flow,
            (
                _float((1 - time) * (1 - HIDDEN * alone[1] * (1 - alone[0])) * covers[0]),
                _float(time * (1 - HIDDEN * alone[0] * (1 - alone[1])) * covers[1]),
            ),
            (_float((1 - time) * still[0]), _float(time * still[1])),
            _float(lost),
        )


def rendered(motions: Motions, time: float) -> Pixels:
    """The plate's frame of the moment `time`, 0 to 1, at the plate's size and in its light."""
    canvas, moment = motions.canvas, motions.at(time)
    frame = canvas.before.frame
    height, width = frame.light.shape[:2]
    to_canvas = inverse(canvas.to_moment(time)) @ inverse(frame.to_plate)
    result = np.empty((height, width, 3), np.float32)
    for top in range(0, height, ROWS):
        xs, ys = grid(min(ROWS, height - top), width)
        x, y = moved(to_canvas, xs, ys + np.float32(top))
        result[top : top + ROWS] = _band(canvas, moment, x, y)
    return result


def _band(canvas: Canvas, moment: FetchPlan, x: Floats, y: Floats) -> Pixels:
    flow = sampled(moment.flow, x, y)
    picture = _mixed(
        canvas, [sampled(one, x, y) for one in moment.weight], *_along(flow, moment.time, x, y)
    )
    lost = sampled(moment.lost, x, y)[..., None]
    if lost.any():
        still = _mixed(canvas, [sampled(one, x, y) for one in moment.still], (x, y), (x, y))
        picture += (still - picture) * lost
    for flight in canvas.flights:
        _lay_over(picture, canvas, flight, moment.time, x, y)
    return picture


def _lay_over(
    picture: Pixels, canvas: Canvas, flight: Flight, time: float, x: Floats, y: Floats
) -> None:
    """Lays a flying object over the picture, in place: from both frames, where each shows it."""
    ends = _along(np.broadcast_to(np.array(flight.way, np.float32), (*x.shape, 2)), time, x, y)
    areas = [sampled(a, *end) for a, end in zip((flight.gone, flight.come), ends, strict=True)]
    alpha = np.maximum(*areas)[..., None]
    if alpha.any():
        weights = [(1 - time) * areas[0], time * areas[1]]
        picture += (_mixed(canvas, weights, *ends) - picture) * alpha


def _mixed(
    canvas: Canvas,
    weights: list[Floats],
    before: tuple[Floats, Floats],
    behind: tuple[Floats, Floats],
) -> Pixels:
    share = (weights[0] / np.maximum(weights[0] + weights[1], np.float32(1e-12)))[..., None]
    one = _fetched(canvas.before, *before)
    other = _fetched(canvas.behind, *behind)
    return np.asarray(other + (one - other) * share, np.float32)


def _fetched(layer: Layer, x: Floats, y: Floats) -> Pixels:
    """The frame's light at these places of the canvas; a cubic kernel's undershoot beside a lamp is cut off."""
    to_frame = layer.frame.to_plate @ inverse(layer.place)
    place = moved(to_frame, x, y)
    sharp = sampled(layer.frame.light, *place, cv2.INTER_CUBIC)
    return np.asarray(np.maximum(sharp, np.minimum(layer.frame.light.min(), 0)), np.float32)


def _along(
    flow: Flow, time: float, x: Floats, y: Floats
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Where a pixel that moves by `flow` is in both frames."""
    there, rest = np.float32(time), np.float32(1 - time)
    return (
        (x - there * flow[..., 0], y - there * flow[..., 1]),
        (x + rest * flow[..., 0], y + rest * flow[..., 1]),
    )


def _ends(flow: Flow, time: float) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    return _along(flow, time, *grid(*flow.shape[:2]))


def _cover(layer: Layer, x: Floats | None, y: Floats | None) -> Floats:
    """How much a frame counts by what it shows: next to nothing beyond its edge."""
    cover = layer.cover if x is None or y is None else sampled(layer.cover, x, y)
    return np.asarray(np.clip(cover, 1e-4, 1) ** 4, np.float32)


def _float(values: Floats) -> Floats:
    return np.ascontiguousarray(values, np.float32)
