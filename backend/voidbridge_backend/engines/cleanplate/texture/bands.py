"""The broad and the fine part of a synthesized picture, taken from different guesses.

Pieces copied from different places meet at different brightness, and their seams show. So only the fine detail is
copied. The broad part is the mean of all patches that lie over a pixel, which blurs where they disagree. Where the
patches fit the known pixels at the gap's edge no better than a blur does, nothing continues into the gap, and a
smooth fill is the likelier guess. Bands are blended apart as in Burt and Adelson, "A Multiresolution Spline With
Application to Image Mosaics", 1983. In a texture the smooth fill is a membrane to which the fine part is added
without a seam (Perez, Gangnet and Blake, "Poisson Image Editing", 2003).

All pictures are the reduced one, logarithmic, [height, width, 3], if nothing else is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.cleanplate.geometry import Mask
from voidbridge_backend.engines.cleanplate.tone import Floats, Tone

from .evenness import energy, is_even, surroundings
from .fill import smooth, spread

BROAD = 3.0
"""Deviation of the blur that parts the bands, in pixels of the reduced picture: about a patch's radius."""
AROUND = 8.0
"""Deviation of the blur over which the fit of the patches is measured along the edge."""
FITS, GUESSES = 0.5, 0.8
"""Error of the copies beside the gap, over that of a blur: structure continues below, above it is random."""
SMOOTHEST = 0.8
"""Share of the smooth fill in the broad part where nothing continues, in a picture that is no texture."""
DEVIATIONS, FINE = (0.7, 1.0, 1.5, 2.0, 3.0, 4.5, 6.5, 9.0), 0.4
"""Blurs that may part the bands of a texture, and the share of the gradient's energy that the fine part has."""
STRENGTH, TURNS = 0.9, 4
"""Energy of the gradient in a texture over that of its surroundings, and turns in which that is reached: invented
detail misses the truth, so a bit less of it errs less."""
LEAST, MOST, FREE = 0.8, 1.0, (0.3, 1.7)
"""Factors that make the fine part weaker or stronger, at most; FREE where a texture is random. A
continued texture is not made weaker."""
SMALLEST, ROUNDS = 16, 60
"""Side of the smallest picture of a membrane, and its rounds on each scale."""
CROSS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)


@dataclass(frozen=True)
class Bands:
    """How the known picture is parted, and where in it nothing continues.

    `low` is its broad part, by a blur of `deviation`. `random` [height, width], 0 to 1, tells how little of the
    picture beside the gap its copies explain. `is_texture`: fine detail is about as strong everywhere.
    """

    deviation: float
    low: Floats
    random: Floats
    is_texture: bool


def parted(known: Floats, sources: NDArray[np.intp], active: Mask, gap: Mask) -> Bands:
    """`known` is valid without the `gap`. Each `active` pixel is a copy of its `sources` [height, width, 2]."""
    low, deviation = _low(known, gap, BROAD), BROAD
    copies = np.where(active[..., None], known[sources[..., 0], sources[..., 1]], known)
    random = _randomness(known, copies, low, active & ~gap)
    is_texture = is_even(known - low, gap)
    if is_texture:
        deviation, low = _least_blurred(known, gap)
    return Bands(deviation, low, random, is_texture)


def broad(
    bands: Bands,
    known: Floats,
    voted: Floats,
    sources: NDArray[np.intp],
    active: Mask,
    gap: Mask,
) -> Floats:
    """The broad part of the picture with the gap filled; `voted` has the gap filled by the mean of the patches."""
    guess = np.where(gap[..., None], voted, known)
    random = bands.random[..., None]
    if not bands.is_texture:
        filled = smooth(known, gap)
        guess += (filled - guess) * (random * SMOOTHEST)
        return _blurred(guess, bands.deviation)
    beside, rest = active & ~gap, known.copy()
    from_y, from_x = sources[beside].T
    rest[beside] -= (known - bands.low)[from_y, from_x]
    filled = membrane(rest, gap)
    guess = _blurred(guess, bands.deviation)
    return np.asarray(guess + (filled - guess) * random, np.float32)


def joined(
    copied: Floats,
    light: Floats,
    gap: Mask,
    broad_parts: tuple[Floats, Floats],
    bands: Bands,
    tone: Tone,
) -> Floats:
    """The fine part of what was `copied` into the `gap` of `light`, with another broad part.

    `broad_parts` are those of the copies' sources and of the result, reduced. The fine part becomes about as
    strong as the surroundings are.
    """
    old, new = full_size(broad_parts, gap, tone)
    size = gap.shape[::-1]
    fine = tone.compress(copied[gap]) - old
    random = cv2.resize(bands.random, size, interpolation=cv2.INTER_LINEAR)[gap][:, None]
    wanted = energy(light, surroundings(gap)) * (STRENGTH if bands.is_texture else 1)
    filled, gain = copied.copy(), 1.0
    for _ in range(TURNS):
        fit = np.float32(min(max(gain, 1.0 if bands.is_texture else LEAST), MOST))
        if bands.is_texture:
            fit = fit + random * (np.float32(min(max(gain, FREE[0]), FREE[1])) - fit)
        filled[gap] = tone.expand(new + fit * fine)
        gain *= (wanted / max(energy(filled, gap), 1e-12)) ** 0.5
    return filled


def full_size(parts: tuple[Floats, Floats], gap: Mask, tone: Tone) -> tuple[Floats, Floats]:
    """Both, reduced and encoded, as compressed light of the pixels of the `gap` at full size."""
    scale = tone.compress(np.ones(1, np.float32)) / tone.encode(np.ones(1, np.float32))
    old, new = (
        cv2.resize(scale * one, gap.shape[::-1], interpolation=cv2.INTER_LINEAR)[gap]
        for one in parts
    )
    return old, new


def membrane(light: Floats, gap: Mask) -> Floats:
    """`light` with each pixel of the `gap` the mean of its four neighbors (Laplace's equation).

    It begins with that of half the size, so that few rounds are enough.
    """
    height, width = gap.shape
    filled = smooth(light, gap)
    if min(height, width) >= SMALLEST:
        size = (width + 1) // 2, (height + 1) // 2
        share = cv2.resize((~gap).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        inside = np.where(gap[..., None], np.float32(0), light)
        total = cv2.resize(inside, size, interpolation=cv2.INTER_AREA)
        half = membrane(_over(total, share[..., None]), share < 1e-3)
        filled[gap] = cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)[gap]
    for _ in range(ROUNDS):
        filled[gap] = cv2.filter2D(filled, -1, CROSS, borderType=cv2.BORDER_REPLICATE)[gap]
    return filled


def _least_blurred(known: Floats, gap: Mask) -> tuple[float, Floats]:
    """(deviation, broad part) of the least blur that leaves enough of the gradient to the fine part."""
    ring = surroundings(gap)
    enough = FINE * energy(known, ring)
    for deviation in DEVIATIONS:
        low = _low(known, gap, deviation)
        if energy(known - low, ring) >= enough:
            break
    return deviation, low


def _low(known: Floats, gap: Mask, deviation: float) -> Floats:
    share = (~gap).astype(np.float32)
    blurred = _blurred(known * share[..., None], deviation)
    return _over(blurred, _blurred(share, deviation)[..., None])


def _randomness(known: Floats, copied: Floats, low: Floats, edge: Mask) -> Floats:
    """[height, width], 0 to 1: how little of the picture beside the gap its copies explain."""
    weight = edge.astype(np.float32)
    missed, detail = (
        _blurred(np.square(known - guess).sum(-1) * weight, AROUND) for guess in (copied, low)
    )
    near = _blurred(weight, AROUND)
    errors = np.stack([_over(missed, near), _over(detail, near)], -1)
    errors *= weight[..., None]
    missed, detail = np.moveaxis(spread(errors, weight), -1, 0)
    ratio = missed / np.maximum(detail, 1e-12)
    return np.asarray(np.clip((ratio - FITS) / (GUESSES - FITS), 0, 1), np.float32)


def _over(total: Floats, weight: Floats) -> Floats:
    return np.asarray(total / np.maximum(weight, 1e-6), np.float32)


def _blurred(picture: Floats, deviation: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation), np.float32)
