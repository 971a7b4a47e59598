"""Looks at the rim of a hole for remains of the object, which a matte that is too tight leaves there.

The rim is what the result takes from the plate beside the matte. The other frames tell what it should show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from voidbridge_backend.sequences.patterns import compact

from .geometry import Mask
from .tone import Floats, Tone
from .verdict import display

APART = 0.06
"""Display difference from which on the plate is not what the other frames show, after a mean of 3 x 3 pixels."""
MIXED = 0.25, 1.3
"""Share of the object's color in a pixel of the rim that counts as remains."""
STRAY = 0.35
"""Part of the difference that may point elsewhere than to the object's color."""
SHADOW = 0.85
"""A shadow leaves at most this part of the light."""
AREA = 9
"""Side in pixels of the area over which a shadow is looked for."""
TINT = 0.15
"""Difference between the channels' shares of light up to which it is a shadow."""
NEAREST, MOSTLY = 4.0, 0.6
"""Of the pixels that differ this near to the grown matte, this part differs toward the object's color."""
CLEARLY = 3
"""How many times as many pixels must be darker as are lighter."""
TELL, TELL_SHADED = 0.08, 0.04
"""Parts of the rim from which on remains and a shadow are told."""
SIDE = 512
"""Pixels of a longer side are skipped evenly."""
FEWEST = 64
"""Pixels without which nothing is told."""


@dataclass(frozen=True)
class Rim:
    """`remains` and `shaded` are parts of the rim; `reach` is the remains' distance from the matte in pixels."""

    remains: float
    reach: float
    shaded: float


def looked_at(
    plate: Floats, predicted: Floats, known: Mask, beyond: Floats, grow: int, tone: Tone
) -> Rim:
    """Returns the remains of the object on the rim.

    `plate` and `predicted` are light [height, width, 3], valid where `known`.

    `beyond` [height, width] is the distance from the artist's matte in pixels, 0 or less inside.
    """
    skip = -(-max(beyond.shape) // SIDE)
    part = np.s_[::skip, ::skip]
    plate, predicted = np.ascontiguousarray(plate[part]), np.ascontiguousarray(predicted[part])
    known, beyond = known[part], beyond[part]
    zone, core = known & (beyond > grow), beyond <= 0
    if zone.sum() < FEWEST or core.sum() < FEWEST:
        return Rim(0.0, 0.0, 0.0)
    shown = np.asarray(cv2.blur(display(plate, tone), (3, 3)), np.float32)
    expected = np.asarray(cv2.blur(display(predicted, tone), (3, 3)), np.float32)
    difference = shown - expected
    apart = zone & (np.abs(difference).max(-1) > APART)
    remains = apart.copy()
    remains[apart] = _toward(difference[apart], _nearest(shown, core, apart) - expected[apart])
    near = zone & (beyond <= grow + NEAREST)
    if (remains & near).sum() < MOSTLY * (apart & near).sum():
        remains[:] = False  # a background that is not predicted differs anyhow
    darker, lighter = _shaded(plate, predicted, zone & ~remains)
    count = int(zone.sum())
    reach = float(np.percentile(beyond[remains], 95)) if remains.any() else 0.0
    shaded = darker / count if darker > CLEARLY * lighter else 0.0
    return Rim(float(remains.sum()) / count, reach, shaded)


def _nearest(colors: Floats, core: Mask, where: Mask) -> Floats:
    """[n, 3]: for each pixel of `where`, the color of the nearest pixel of `core`."""
    _, labels = cv2.distanceTransformWithLabels(
        (~core).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros((int(labels.max()) + 1, 3), np.float32)
    by_label[labels[core]] = colors[core]
    return np.asarray(by_label[labels[where]], np.float32)


def _toward(difference: Floats, whole: Floats) -> Mask:
    """[n]: whether a difference [n, 3] is a part of the `whole` difference between object and background."""
    length = np.square(whole).sum(-1)
    part = (difference * whole).sum(-1) / np.maximum(length, 1e-6)
    stray = np.linalg.norm(difference - part[..., None] * whole, axis=-1)
    is_near = stray < STRAY * np.linalg.norm(difference, axis=-1)
    return np.asarray(is_near & (part > MIXED[0]) & (part < MIXED[1]) & (length > APART**2))


def _shaded(plate: Floats, predicted: Floats, zone: Mask) -> tuple[int, int]:
    """Pixels of `zone` that have less of the same light over an area, and those that have more."""
    area = (AREA, AREA)
    shown, expected = (
        cv2.blur(cv2.copyTo(light, zone.view(np.uint8)), area)[zone] for light in (plate, predicted)
    )
    if not shown.size:
        return 0, 0
    share = shown / np.maximum(expected, 1e-5)
    is_even = np.ptp(share, axis=-1) < TINT
    mean = share.mean(-1)
    return int((is_even & (mean < SHADOW)).sum()), int((is_even & (mean > 1 / SHADOW)).sum())


def tight(rims: Mapping[int, Rim]) -> list[int]:
    """The frames with remains on the rim. A tight matte is tight in most frames; less than half is chance."""
    found = [frame for frame, rim in rims.items() if rim.remains > TELL]
    return found if 2 * len(found) > len(rims) else []


def shaded(rims: Mapping[int, Rim]) -> list[int]:
    """The frames with a shadow on the rim, of which the same holds."""
    found = [frame for frame, rim in rims.items() if rim.shaded > TELL_SHADED]
    return found if 2 * len(found) > len(rims) else []


def notes(rims: Mapping[int, Rim]) -> list[str]:
    """Returns notes for the artist, with advice."""
    told = []
    if frames := tight(rims):
        grow = int(np.ceil(max(rims[frame].reach for frame in frames))) + 2
        told.append(
            f"the object's color remains at the edge of the hole in frames {compact(frames)}: the matte is "
            f"too tight; try --grow {grow}"
        )
    if frames := shaded(rims):
        told.append(
            f"the plate is darker than its background beside the hole in frames {compact(frames)}: the object's "
            "shadow reaches beyond the matte; give --affected, or try a larger --grow"
        )
    return told
