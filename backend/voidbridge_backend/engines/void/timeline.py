"""How a clip's length meets the model's: padding, the runs of frames that it sees at once, their blending.

Counts and indices only; no pixels. Pixel frames and latent frames are related by `latents_of`: the first
latent stands for one frame, each further one for four.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from voidbridge_protocol.errors import EngineFailed

FRAMES_PER_LATENT = 4
"""Temporal compression of the autoencoder."""

WINDOW = 85
"""Frames that the model sees at once, as it was trained (22 latents)."""

OVERLAP = 16
"""Frames that neighbouring windows share (4 latents). The published scripts call this number a stride."""

SMALLEST_WINDOW = 21
"""Frames. Six latents are the fewest that can overlap by four and still move on by an even number."""


def latents_of(frames: int) -> int:
    """Latent frames that stand for `frames` pixel frames."""
    return (frames - 1) // FRAMES_PER_LATENT + 1


def latents_for(frames: int) -> int:
    """Latent frames that have to be decoded to have the first `frames` pixel frames."""
    return -(-(frames - 1) // FRAMES_PER_LATENT) + 1


def padded(frames: int, window: int = WINDOW) -> int:
    """The length that `frames` are padded to: at least a window, and an even number of latents (8k + 5).

    The transformer takes latents in pairs, so an odd number of them cannot be given to it.
    """
    wanted = max(frames, window)
    return wanted + (5 - wanted) % 8


def mirrored(frames: int, length: int) -> list[int]:
    """Source index of each of `length` frames: the clip forwards, backwards, forwards, and so on.

    Its first `frames` entries are the clip itself, so cutting the result there undoes the padding.
    """
    there_and_back = [*range(frames), *reversed(range(frames))]
    return [there_and_back[index % len(there_and_back)] for index in range(length)]


def stretch(hole: tuple[int, int], frames: int, window: int = WINDOW) -> tuple[int, int]:
    """The part [first, stop) of a clip of `frames` that the model is shown for a hole in [first, stop).

    What would be padding is taken from the clip's own frames on both sides of the hole, as far as there
    are any: a real neighbour tells more than a mirrored one.
    """
    first, stop = hole
    length = min(padded(stop - first, window), frames)
    before = (length - (stop - first)) // 2
    begin = min(max(first - before, 0), frames - length)
    return begin, begin + length


@dataclass(frozen=True)
class Windows:
    """The latent runs that a clip is denoised in, and how strongly each counts where two overlap."""

    runs: tuple[slice, ...]
    latents: int
    overlap: int

    def weights(self, run: slice) -> Tensor:
        """[run length], float32: 1, but .2 .4 .6 .8 into and .8 .6 .4 .2 out of a neighbour.

        Neighbours' weights need not sum to 1; their sum is divided by.
        """
        weights = torch.ones(run.stop - run.start)
        ramp = torch.arange(1, self.overlap + 1) / (self.overlap + 1)
        if run.start > 0:
            weights[: self.overlap] = ramp
        if run.stop < self.latents:
            weights[len(weights) - self.overlap :] = ramp.flip(0)
        return weights


def windows(latents: int, window: int = WINDOW, overlap: int = OVERLAP) -> Windows:
    """The runs of a clip of `latents`, for a window and an overlap in pixel frames.

    A run begins `overlap` before the end of the one before, and the last one is as short as what is left.
    Raises `EngineFailed` when the window is too short to move on.
    """
    # As in the published pipeline: a window of an odd number of latents gives one up.
    size = latents_of(window) // 2 * 2
    shared = overlap // FRAMES_PER_LATENT
    if latents <= max(size, 2):
        return Windows((slice(0, latents),), latents, shared)
    if size <= shared:
        raise EngineFailed(
            f"a window of {window} frames cannot move on with an overlap of {overlap} frames",
            f"Choose a window of at least {SMALLEST_WINDOW} frames.",
        )
    runs = [slice(0, size)]
    while runs[-1].stop < latents:
        start = runs[-1].stop - shared
        runs.append(slice(start, min(start + size, latents)))
    return Windows(tuple(runs), latents, shared)
