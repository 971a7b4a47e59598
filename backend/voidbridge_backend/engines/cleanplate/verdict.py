"""The engine's verdict on its own result: how much of a hole it invented, and how well it predicts known pixels.

Kept pixels at the edge of a hole are fetched from the other frames, as the hole is, and compared with the plate.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import cv2
import numpy as np

from voidbridge_backend.sequences.patterns import compact

from .geometry import Mask
from .tone import Floats, Tone

INVENTED = 0.03
"""Part of a hole from which on it is told that no frame showed it."""
TRUSTED_DB = 36.0
"""A result can be trusted if the kept pixels at the edge of the hole are predicted this well."""
CLEAR = 4
"""Pixels beside the artist's matte that may show a part of the object."""
NARROW = 4
"""Width in pixels of the edge that is checked, at least; otherwise half of the soft edge."""
GAP = 4
"""Frames between two that are not predicted are told too: what passes may be wholly behind the object there."""
EVEN = 0.012
"""Deviation in display values, after a mean of 3 x 3 pixels, up to which a surrounding has no picture to miss."""
SHALLOW = 0.08
"""Part of the picture's height up to which an even surrounding is trusted to go on."""
THIN = 4.5
"""Pixels from its surroundings up to which a whole gap is trusted, such as that of a wire."""
TOE = 0.002
"""Light below which the display's curve is straight: grain on black counts for no more than it shows."""
TRY = "paint a frame (--clean), or try the engine void, or more frames around the range (--handles)"
FEWEST = 64
"""Pixels beside the hole without which nothing is told."""


def edge(beyond: Floats, grow: int, soften: int) -> Mask:
    """The pixels on which a prediction is checked: those next to the matte's growth.

    There the plate shows the background, and the result still counts: it fades out over `soften` pixels. Passers
    farther out do no harm. `beyond` [height, width] is the distance from the artist's matte in pixels.
    """
    begin = min(max(grow, CLEAR), grow + soften)
    return np.asarray((beyond > begin) & (beyond <= begin + max(soften / 2, NARROW)))


def check(plate: Floats, predicted: Floats, where: Mask, tone: Tone) -> float:
    """Peak signal to noise ratio in dB of what is `predicted` [height, width, 3]; NaN where too little is known."""
    at = np.nonzero(where)
    if len(at[0]) < FEWEST:
        return float("nan")
    apart = np.zeros(plate.shape, np.float32)
    apart[at] = display(predicted[at], tone) - display(plate[at], tone)
    share = cv2.blur(where.astype(np.float32), (3, 3))[at]
    mean = cv2.blur(apart, (3, 3))[at] / np.maximum(share, 1e-3)[..., None]
    return float(-10 * np.log10(max(float(np.square(mean).mean()), 1e-12)))


def display(light: Floats, tone: Tone) -> Floats:
    """Light as a display shows it, up to a constant; nothing above white."""
    shown = np.clip(light * np.float32(tone.exposure), 0, 1)
    return np.asarray(np.sqrt(shown + np.float32(TOE)), np.float32)


def risky(missing: Mask, picture: Floats, deep: float, tone: Tone) -> Mask:
    """The `missing` pixels that an invention may get wrong: not a shallow gap of an even surface or a thin one.

    `picture` [height, width, 3] is valid where nothing is missing. A gap is shallow up to `deep` pixels.
    """
    seen = (~missing).astype(np.float32)
    share = np.maximum(cv2.blur(seen, (3, 3)), 1e-3)
    luma = display(picture, tone).mean(-1) * seen
    luma = cv2.blur(luma, (3, 3)) / share
    size = 11, 11
    share = np.maximum(cv2.blur(seen, size), 1e-3)
    mean, square = (cv2.blur(one * seen, size) / share for one in (luma, luma * luma))
    is_even = np.sqrt(np.maximum(square - mean * mean, 0)) < EVEN
    away, labels = cv2.distanceTransformWithLabels(
        missing.view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros(int(labels.max()) + 1, bool)
    by_label[labels[~missing]] = is_even[~missing]
    _, gaps = cv2.connectedComponents(missing.view(np.uint8))
    thickness = np.zeros(int(gaps.max()) + 1, np.float32)
    np.maximum.at(thickness, gaps, away)
    is_thin = thickness[gaps] <= THIN
    return np.asarray(missing & ~is_thin & ~(by_label[labels] & (away <= deep)))


def notes(unseen: Mapping[int, float], predicted: Mapping[int, float]) -> list[str]:
    """Returns warnings about frames whose result cannot be trusted; both values are by frame."""
    told = []
    invented = {frame: share for frame, share in unseen.items() if share > INVENTED}
    if invented:
        least, most = min(invented.values()), max(invented.values())
        range_ = (
            f"{most:.0%}" if round(least, 2) == round(most, 2) else f"{least:.0%} to {most:.0%}"
        )
        told.append(
            f"{range_} of the hole in frames {compact(invented)} was seen in no frame and is invented; {TRY}"
        )
    missed = [frame for frame, quality in sorted(predicted.items()) if quality < TRUSTED_DB]
    missed += [
        frame
        for before, behind in itertools.pairwise(missed)
        if behind - before <= GAP
        for frame in range(before + 1, behind)
        if frame in predicted
    ]
    if missed:
        told.append(
            f"the background beside the hole is not predicted in frames {compact(missed)}: the shot has depth, "
            f"changes focus, or something moves there, that cleanplate does not follow; {TRY}"
        )
    return told
