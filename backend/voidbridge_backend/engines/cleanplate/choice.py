"""Chooses how the sources of a hole are moved: by one plane, by several, or by a relief.

A freer motion fits what is beside the hole better than a plane does even where it is wrong: a pillow that gives way
has no depth that a camera explains. So it has to leave clearly less than the plane leaves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .combine import Combination
from .geometry import Mask
from .motion.align import WarpedSource
from .motion.relief import fits_better

FREER = 0.68
"""Layers and reliefs are used if the samples stray by less than this fraction of what they do by one plane."""
SURER, SUREST = 0.05, 0.1
"""Layers have to add more than SURER to the mean confidence that one plane has in the hole: water, too, has layers
that fit beside the hole. With SUREST more they are used alone."""


def fittest(
    plane: list[WarpedSource], layers: list[WarpedSource], relief: list[WarpedSource]
) -> list[WarpedSource]:
    """`plane` itself where nothing else fits clearly better beside the hole."""
    found = relief if fits_better(relief, layers) else layers
    return found if found is plane or _strays(found) < FREER * _strays(plane) else plane


def gained(flat: Combination, seen: Combination, hole: Mask) -> float:
    """The share, 0 to 1, of what was `seen` by several planes in a picture with what one plane shows, `flat`.

    It grows with what they add to the sources' agreement in the hole. A sudden change would be seen as a jump.
    """
    sure, other = (float(one.confidence[hole].mean()) for one in (seen, flat))
    return min(max((sure - other - SURER) / (SUREST - SURER), 0.0), 1.0)


def faded(flat: Combination, seen: Combination, share: float) -> Combination:
    """Both mixed, with a `share` of what was `seen`; the one that is known, where only one is."""
    part = np.where(flat.known & seen.known, np.float32(share), seen.known.astype(np.float32))
    confidence = flat.confidence + part * (seen.confidence - flat.confidence)
    light = flat.light + part[..., None] * (seen.light - flat.light)
    return Combination(light, flat.known | seen.known, confidence)


def _strays(laid: Sequence[WarpedSource]) -> float:
    return sum(one.stray for one in laid) / max(len(laid), 1)
