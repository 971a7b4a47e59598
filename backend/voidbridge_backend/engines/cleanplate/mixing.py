"""The background in a frame of a dissolve: both scenes' own, mixed as the frame's kept pixels say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voidbridge_backend.engines.cleanplate.motion.align import NEUTRAL, Surrounding, WarpedSource
from voidbridge_backend.engines.cleanplate.motion.camera import Camera
from voidbridge_backend.engines.cleanplate.motion.sources import Source
from voidbridge_backend.parallel import Pool

from .combine import Combination, combined
from .geometry import FrameBox
from .tone import Floats, Tone

ROUNDS = 6
"""Rounds in which outliers lose their say on the shares."""
FEWEST = 64
"""Kept pixels without which the share of the whole frame is taken."""
FAINT = 0.02
"""Share up to which a scene that is not known counts as black."""


def unmatched(sources: Sequence[Source], frame: int, camera: Camera) -> list[WarpedSource]:
    """The sources as the scenes move; a mixed frame is neither aligned with one of them, nor as bright."""
    return [WarpedSource(one, camera.between(one.frame, frame), NEUTRAL, 0.0) for one in sources]


def mixed(
    laid: Sequence[WarpedSource],
    frame: int,
    target: Surrounding,
    box: FrameBox,
    reach: int,
    camera: Camera,
    tone: Tone,
    pool: Pool,
) -> Combination:
    """The background of `box`, from sources of both scenes.

    `reach` is how far around the hole the shares are measured.
    """
    mix = camera.mixes[frame]
    wanted = target.near <= reach
    scenes = [camera.scene(mix.before), camera.scene(mix.behind)]
    one, two = (
        combined(
            [each for each in laid if camera.scene(each.source.frame) == scene],
            *(frame, target.box, wanted, tone, pool),
        )
        for scene in scenes
    )
    kept = one.known & two.known & (target.near > 1.5)
    shares = _shares(target.light[kept], one.light[kept], two.light[kept], mix.share)
    light = one.light * shares[0] + two.light * shares[1]
    least = [float(share.max()) <= FAINT for share in shares]
    known = (one.known | least[0]) & (two.known | least[1]) & wanted
    sure = np.minimum(one.confidence, two.confidence)
    inside = box.within(target.box)
    return Combination(
        np.ascontiguousarray(light[inside]),
        np.ascontiguousarray(known[inside]),
        np.ascontiguousarray(sure[inside]),
    )


def _shares(own: Floats, one: Floats, two: Floats, share: float) -> tuple[Floats, Floats]:
    """([3], [3]): for each channel, how much of light `one` and `two` [n, 3] makes `own`; none below 0.

    Iteratively reweighted least squares with Cauchy's weights (Holland and Welsch, 1977).
    """
    found = np.array([[1 - share] * 3, [share] * 3], np.float32)
    if len(own) < FEWEST:
        return found[0], found[1]
    for channel in range(3):
        a, b, c = (part[:, channel].astype(np.float64) for part in (one, two, own))
        weight = np.ones(len(c))
        for _ in range(ROUNDS):
            matrix = np.array([[(weight * a * a).sum(), (weight * a * b).sum()]] * 2, np.float64)
            matrix[1] = (weight * a * b).sum(), (weight * b * b).sum()
            right = np.array([(weight * a * c).sum(), (weight * b * c).sum()])
            solved, *_ = np.linalg.lstsq(matrix, right, rcond=None)
            left = np.abs(c - a * solved[0] - b * solved[1])
            weight = 1 / (1 + (left / (2 * max(float(np.median(left)), 1e-9))) ** 2)
        found[:, channel] = np.maximum(solved, 0)
    return found[0], found[1]
