"""Fits a clip's length to the model's: padding, windows, and their blending weights.

Counts and indices only; no pixels. `latents_of` relates pixel frames and latent frames: the first latent stands
for one frame, each further one for four.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from voidbridge_protocol.errors import EngineFailed

FRAMES_PER_LATENT = 4
"""Temporal compression of the autoencoder."""

WINDOW = 85
"""Frames that the model sees at once, as in training (22 latents)."""

OVERLAP = 16
"""Frames that neighboring windows share (4 latents). The published scripts call this number a stride."""

SMALLEST_WINDOW = 21
"""Frames. Six latents are the fewest that can overlap by four and still advance by an even number."""


def latents_of(frames: int) -> int:
    """Returns the latent frames of `frames` pixel frames."""
    return (frames - 1) // FRAMES_PER_LATENT + 1


def latents_for(frames: int) -> int:
    """Returns the latent frames to decode for the first `frames` pixel frames."""
    return -(-(frames - 1) // FRAMES_PER_LATENT) + 1


def padded(frames: int, window: int = WINDOW) -> int:
    """Returns the padded length of `frames`: at least a window, and an even number of latents (8k + 5).

    The transformer takes latents in pairs, so their number must be even.
    """
    wanted = max(frames, window)
    return wanted + (5 - wanted) % 8


def mirrored(frames: int, length: int) -> list[int]:
    """Returns the source index of each of `length` frames: the clip forwards, backwards, forwards, and so on.

    Its first `frames` entries are the clip itself, so cutting the result there removes the padding.
    """
    there_and_back = [*range(frames), *reversed(range(frames))]
    return [there_and_back[index % len(there_and_back)] for index in range(length)]


def padded_range(hole: tuple[int, int], frames: int, window: int = WINDOW) -> tuple[int, int]:
    """Returns the part [first, stop) of a clip of `frames` that the model sees for a hole in [first, stop).

    Padding is taken from the clip's own frames on both sides of the hole, as far as there are any. A real
    neighbor carries more information than a mirrored one.
    """
    first, stop = hole
    length = min(padded(stop - first, window), frames)
    before = (length - (stop - first)) // 2
    begin = min(max(first - before, 0), frames - length)
    return begin, begin + length


@dataclass(frozen=True)
class Windows:
    """The runs of latents in which a clip is denoised, and their weights in overlaps."""

    runs: tuple[slice, ...]
    latents: int
    overlap: int

    def weights(self, run: slice) -> Tensor:
        """[run length], float32: 1, but .2 .4 .6 .8 into and .8 .6 .4 .2 out of a neighbor.

        Neighbors' weights need not sum to 1; the blend divides by their sum.
        """
        weights = torch.ones(run.stop - run.start)
        ramp = torch.arange(1, self.overlap + 1) / (self.overlap + 1)
        if run.start > 0:
            weights[: self.overlap] = ramp
        if run.stop < self.latents:
            weights[len(weights) - self.overlap :] = ramp.flip(0)
        return weights


def windows(latents: int, window: int = WINDOW, overlap: int = OVERLAP) -> Windows:
    """Returns the runs of a clip of `latents`, for a window and an overlap in pixel frames.

    A run begins `overlap` before the end of the one before, and the last one takes the remaining frames. Raises
    `EngineFailed` if the window is too short to advance.
    """
    # As in the published pipeline: a window with an odd number of latents loses one.
    size = latents_of(window) // 2 * 2
    shared = overlap // FRAMES_PER_LATENT
    if latents <= max(size, 2):
        return Windows((slice(0, latents),), latents, shared)
    if size <= shared:
        raise EngineFailed(
            f"a window of {window} frames cannot advance with an overlap of {overlap} frames",
            f"Choose a window of at least {SMALLEST_WINDOW} frames.",
        )
    runs = [slice(0, size)]
    while runs[-1].stop < latents:
        start = runs[-1].stop - shared
        runs.append(slice(start, min(start + size, latents)))
    return Windows(tuple(runs), latents, shared)
