"""Measures the grain of a plate, its strength by brightness and its coarseness, and synthesizes more of it.

Pixels are [height, width, 3], float32, in the file's own values; masks are [height, width]. Grain is the
difference between two frames, on the calmest blocks of each brightness, so texture is not taken for grain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .bounds import bounded, is_light
from .grain_difference import difference

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

BLOCK = 24
"""Side of the blocks in pixels. Grain coarser than half of it counts as picture."""
BLOCKS = 800
"""Maximum number of blocks sampled per frame."""
FEWEST = 60
"""Minimum number of blocks for a measurement."""
BINS, FILL = 12, 20
"""Maximum number of brightness steps, and the minimum number of blocks in each."""
CALM = 1.5
"""Blocks are flat up to this multiple of the variance that a tenth of them stays below. A flat block's own
estimate scatters by a tenth or two.
"""
STEEP, SLACK = 0.75, 1.2
"""Photon noise grows with the square root of light, and a log curve evens it out. SLACK allows for measuring
errors.
"""
ROUNDING = 3e-4
"""Deviation, as a part of the value, that comes of rounding to half floats."""
FINE = 1.0
"""Standard deviation in pixels of the blur that separates grain from picture in a generated frame."""
WINDOW = 33
"""Side in pixels of the neighborhood in which a generated picture's own grain is measured."""
FAINT = 0.2
"""Fraction of missing variance that is too small to add; it is within the measuring error."""
NONE = 1e-30
"""A variance of nothing: a channel of 8 bits can be the same in two frames, and has no grain then."""
BLACK, ON_BLACK = 2.0, 0.8
"""A picture below BLACK deviations of its grain gets less grain, down to ON_BLACK of it at 0. Displays cut off the
half below black, so grain there is mostly error and hardly seen.
"""
MEAN_OF_SIZE = 0.7979
"""Mean absolute value of a normal variable of deviation 1: sqrt(2 / pi)."""


@dataclass(frozen=True)
class Grain:
    """The measurement of a `Sample`.

    `values`, `deviations` [3][steps]: a channel's values, rising, and the grain's deviation at each. `kernels`
    [3, BLOCK - 1, BLOCK - 1]: filters that make white noise as coarse, of unit energy. `mix` [3, 3]: correlates
    independent channels like the plate's; lower triangular.
    """

    values: tuple[Floats, ...]
    deviations: tuple[Floats, ...]
    kernels: Floats
    mix: Floats

    def deviation(self, picture: Pixels) -> Pixels:
        """Returns the grain's deviation at each sample's brightness. Outside the measured range, the nearest
        value holds.
        """
        levels = np.empty_like(picture)
        for plane in range(3):
            levels[..., plane] = np.interp(
                picture[..., plane], self.values[plane], self.deviations[plane]
            )
        return levels

    def drawn(self, height: int, width: int, seed: int, frame: int) -> Pixels:
        """Returns new grain of deviation 1: the same for the same seed and frame, independent otherwise."""
        rng = np.random.default_rng((seed, frame + 2**40))
        white = rng.standard_normal((height, width, 3), np.float32)
        white = white @ self.mix.T.astype(np.float32)
        planes = [
            cv2.filter2D(
                np.ascontiguousarray(white[..., plane]), -1, self.kernels[plane].astype(np.float32)
            )
            for plane in range(3)
        ]
        return np.stack(planes, axis=-1)

    def share(self, picture: Pixels, inside: Mask) -> Pixels:
        """[height, width]: variance of the grain that `picture` already has, relative to the plate's.

        Measures only the finest details, and only `inside`. Texture counts as grain, and hides it.
        """
        calm = cv2.GaussianBlur(picture, (0, 0), FINE)
        fine = np.abs(picture - calm)
        expected = self.deviation(calm) * (self._fineness * np.float32(MEAN_OF_SIZE))
        measured = np.where(inside[..., None], fine, 0).sum(axis=-1)
        wanted = np.where(inside[..., None], expected, 0).sum(axis=-1)
        size = (WINDOW, WINDOW)
        ratio = _box(measured, size) / np.maximum(_box(wanted, size), np.float32(1e-12))
        return cast(Pixels, np.square(ratio).astype(np.float32))

    def added(
        self, picture: Pixels, alpha: Pixels, seed: int, frame: int, amount: float = 1.0
    ) -> Pixels:
        """Adds missing grain to `picture`, so that its mix with the plate by `alpha` has the plate's grain.

        A mix of two grains is weaker than either, so the picture gets more grain where `alpha` is between 0 and
        1.
        """
        weight = np.maximum(alpha, np.float32(0.05))
        # Digital black has no grain: a letterbox bar, a black frame.
        inside = (alpha > 0) & picture.any(axis=-1)
        missing = (2 - weight) / weight - self.share(picture, inside)
        missing = np.where(inside & (missing > FAINT), missing, 0)
        if not missing.any():
            return picture
        strength = np.sqrt(missing).astype(np.float32) * np.float32(amount)
        fresh = self.drawn(alpha.shape[0], alpha.shape[1], seed, frame)
        calm = cv2.GaussianBlur(picture, (0, 0), FINE)
        deviation = self.deviation(calm)
        lit = np.clip(calm / np.maximum(BLACK * deviation, np.float32(1e-12)), 0, 1)
        deviation *= ON_BLACK + (1 - ON_BLACK) * lit
        return picture + strength[..., None] * deviation * fresh

    @property
    def _fineness(self) -> Pixels:
        """[3]: the fraction of the grain's deviation that a blur of FINE leaves in the details."""
        kept = []
        for kernel in self.kernels:
            wide = np.pad(kernel, BLOCK)
            details = wide - cv2.GaussianBlur(wide, (0, 0), FINE)
            kept.append(np.sqrt(np.square(details).sum()))
        return np.array(kept, np.float32)


class Sample:
    """Blocks of the plate, collected frame by frame."""

    def __init__(self) -> None:
        self._means: list[Floats] = []
        self._residuals: list[NDArray[np.float32]] = []
        self._frames = self._places = 0

    @property
    def lacks_room(self) -> bool:
        """True if the frames have too few free blocks for a measurement, whether or not they have grain."""
        return bool(self._frames) and self._places < FEWEST

    def add(self, plate: Pixels, free: Mask, other: Pixels | None = None) -> None:
        """One frame; only blocks of light that lie wholly in `free` and are not constant are taken.

        `other` is another frame of the shot, `free` where both show what is kept. With it, fine texture that both
        show is not taken for grain.
        """
        usable = free & is_light(plate)
        high, wide = usable.shape[0] // BLOCK, usable.shape[1] // BLOCK
        tiles = usable[: high * BLOCK, : wide * BLOCK].reshape(high, BLOCK, wide, BLOCK)
        places = np.argwhere(tiles.all(axis=(1, 3))) * BLOCK
        if len(places) < FEWEST:
            places = _between(usable)
        if len(places) > BLOCKS:
            places = np.random.default_rng(0).permutation(places)[:BLOCKS]
        self._frames += 1
        self._places += len(places)
        if not len(places):
            return
        blocks = np.stack([plate[y : y + BLOCK, x : x + BLOCK] for y, x in places.tolist()])
        varied = np.ptp(blocks.reshape(len(blocks), -1, 3), axis=1).min(axis=-1) > 0
        blocks, places = blocks[varied], places[varied]
        if not len(blocks):
            return
        self._means.append(blocks.mean(axis=(1, 2), dtype=np.float64))
        residuals = _leveled(blocks)
        if other is not None:
            usable &= is_light(other)
            apart, variance = difference(bounded(plate), bounded(other), usable, places, BLOCK)
            calmer = variance.sum(1) < np.square(residuals, dtype=np.float64).mean((1, 2)).sum(1)
            residuals[calmer] = _leveled(apart[calmer])
        self._residuals.append(residuals)

    def measured(self) -> Grain | None:
        """Returns the grain, or None if there are too few blocks or no variation."""
        if sum(map(len, self._means)) < FEWEST:
            return None
        means, residuals = np.concatenate(self._means), np.concatenate(self._residuals)
        variances = np.square(residuals, dtype=np.float64).sum(axis=(1, 2)) / (BLOCK**2 - 3)
        flat = np.ones(len(means), bool)
        values, deviations = [], []
        for plane in range(3):
            steps, calm = _steps(means[:, plane], variances[:, plane])
            values.append(steps[:, 0])
            deviations.append(np.sqrt(steps[:, 1]))
            flat &= calm
        levels, sizes = np.concatenate(values), np.concatenate(deviations)
        if flat.sum() < FEWEST // 4 or (sizes <= ROUNDING * np.maximum(np.abs(levels), 1e-3)).all():
            return None
        alike = residuals[flat] / np.sqrt(np.maximum(variances[flat], NONE))[:, None, None, :]
        kernels, mix = _kernels(alike), _mix(alike)
        return Grain(tuple(values), tuple(deviations), kernels, mix)


def _between(usable: Mask) -> NDArray[np.intp]:
    """[n, 2] (row, column): blocks between many small holes, which overlap by two thirds."""
    whole = cv2.erode(
        np.pad(usable, 1).astype(np.uint8), np.ones((BLOCK, BLOCK), np.uint8), anchor=(0, 0)
    )
    places = np.argwhere(whole[1:-1, 1:-1])
    return np.asarray(places[(places % (BLOCK // 3) == 0).all(axis=1)], np.intp)


def _leveled(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns [n, BLOCK, BLOCK, 3] minus each block's best-fitting plane."""
    place = np.arange(BLOCK) - (BLOCK - 1) / 2
    down, across = np.meshgrid(place, place, indexing="ij")
    base = np.stack([np.full_like(down, 1 / BLOCK), down, across]).reshape(3, -1)
    base[1:] /= np.linalg.norm(base[1:], axis=1, keepdims=True)
    flat = blocks.reshape(len(blocks), BLOCK * BLOCK, 3).astype(np.float64)
    fitted = np.einsum("kp,npc->nkc", base, flat)
    rest = flat - np.einsum("kp,nkc->npc", base, fitted)
    return cast(NDArray[np.float32], rest.reshape(blocks.shape).astype(np.float32))


def _steps(means: Floats, variances: Floats) -> tuple[Floats, Mask]:
    """Returns [steps, 2], (value, variance) of one channel, rising, and a mask of the flat blocks."""
    order = np.argsort(means, kind="stable")
    bins = np.array_split(order, max(1, min(BINS, len(order) // FILL)))
    found, steps = [], []
    for members in bins:
        floor = np.quantile(variances[members], 0.1)
        chosen = members[variances[members] <= CALM * floor]
        found.append(chosen)
        steps.append((float(np.median(means[chosen])), float(np.median(variances[chosen]))))
    calm = np.zeros(len(means), bool)
    kept = _plausible(np.array(steps))
    for index in np.flatnonzero(kept):
        calm[found[index]] = True
    return np.array(steps)[kept], calm


def _plausible(steps: Floats) -> Mask:
    """Returns the steps that are not rougher than the other steps allow.

    If all blocks of one brightness are texture, the next brightness decides. Between two brightnesses, grain
    changes no faster than STEEP of their ratio.
    """
    values, deviations = np.maximum(np.abs(steps[:, 0]), 1e-4), np.sqrt(steps[:, 1])
    logs = np.log(values)
    allowed = SLACK * np.exp(STEEP * np.abs(logs[:, None] - logs[None, :])) * deviations[None, :]
    return np.asarray(deviations <= allowed.min(axis=1))


def _kernels(alike: NDArray[np.float32]) -> Floats:
    """Returns the filters with the spectrum of these blocks of deviation 1: no phase, unit energy.

    It uses the autocorrelation, each lag over all pairs that the blocks have. A block's own spectrum would
    treat it as repeating, so its left edge would meet its right.
    """
    reach = BLOCK // 2 - 1
    wide = (2 * BLOCK, 2 * BLOCK)
    power = np.square(np.abs(np.fft.fft2(alike, wide, axes=(1, 2)))).mean(axis=0)
    sums = np.fft.fftshift(np.fft.ifft2(power, axes=(0, 1)).real, axes=(0, 1))
    lags = np.arange(-reach, reach + 1)
    pairs = np.outer(BLOCK - np.abs(lags), BLOCK - np.abs(lags))
    near = sums[BLOCK - reach : BLOCK + reach + 1, BLOCK - reach : BLOCK + reach + 1]
    spectrum = np.fft.fft2(np.fft.ifftshift(near / pairs[..., None], axes=(0, 1)), axes=(0, 1))
    roots = np.sqrt(np.maximum(spectrum.real, 0))
    kernels = np.fft.fftshift(np.fft.ifft2(roots, axes=(0, 1)).real, axes=(0, 1))
    kernels = np.moveaxis(kernels, -1, 0)
    energy = np.square(kernels).sum(axis=(1, 2), keepdims=True)
    return np.asarray(kernels / np.sqrt(np.maximum(energy, NONE)))


def _mix(alike: NDArray[np.float32]) -> Floats:
    samples = alike.reshape(-1, 3).astype(np.float64)
    likeness = samples.T @ samples
    scale = np.sqrt(np.maximum(np.diag(likeness), NONE))
    # A gray picture's channels are identical; a small independent part keeps the root real.
    likeness = 0.9999 * likeness / np.outer(scale, scale) + 0.0001 * np.eye(3)
    return np.asarray(np.linalg.cholesky(likeness))


def _box(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    return cast(NDArray[np.float32], cv2.boxFilter(values, cv2.CV_32F, size, normalize=False))
