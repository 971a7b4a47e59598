"""Creates the second pass's initial noise, which moves with the first pass's picture.

Pictures come one by one, as float32 [height, width, 3], about 0 to 1 for the displayable range, and are not
kept. The result is [1, latents, 16, h/8, w/8], float32, on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.void.model.vae import PIXELS_PER_LATENT
from voidbridge_backend.engines.void.passes.timeline import FRAMES_PER_LATENT, latents_of

from .flow import Flow, Picture, Steady
from .warped_noise import Warper, blend

FINENESS = 8
"""Pixels of the noise grid per flow pixel, in each direction. 4 costs a quarter and follows more coarsely."""

REFERENCE_FRAMES = 72
REFERENCE_SIZE = (480, 720)
"""Size to which the published script scales every clip before it estimates motion."""


def aligned(
    pictures: Iterable[Pixels],
    size: tuple[int, int],
    frames: int,
    seed: int,
    flow: Flow,
    *,
    degradation: float = 0.0,
    fineness: int = FINENESS,
    device: str = "cpu",
) -> Tensor:
    """Returns noise for `frames` pictures of `size` (height, width) that follows the picture.

    Motion is estimated at half size in the picture's own proportions, from each frame to the next. Each latent
    takes the field of its own frame. All windows share one field, whatever the clip's length. `degradation`
    above 0 replaces that fraction of the field by new noise at each latent.
    """
    height, width = size
    warper: Warper | None = (
        None  # Made at the first picture: decoding in tiles has left the device by then.
    )
    steady = Steady()
    taken: list[Tensor] = []
    before: Picture | None = None
    for index, picture in enumerate(pictures):
        warper = warper or Warper(
            height // PIXELS_PER_LATENT,
            width // PIXELS_PER_LATENT,
            seed,
            box=fineness * PIXELS_PER_LATENT // 2,
            device=device,
        )
        seen = _displayed(
            cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        )
        if before is not None:
            warper.advance(steady(flow(before, seen)))
        before = seen
        if index % FRAMES_PER_LATENT == 0 and len(taken) < latents_of(frames):
            taken.append(_degraded(warper, degradation))
    return torch.stack(taken)[None]


def pixels(height: int, width: int, fineness: int) -> int:
    """Returns the pixels of the fine grid of `aligned` for a picture of this size."""
    box = fineness * PIXELS_PER_LATENT // 2
    return (height // PIXELS_PER_LATENT * box) * (width // PIXELS_PER_LATENT * box)


def reference(
    pictures: Iterable[Pixels],
    size: tuple[int, int],
    frames: int,
    seed: int,
    flow: Flow,
    *,
    degradation: float = 0.0,
    fineness: int = FINENESS,
    device: str = "cpu",
) -> Tensor:
    """Returns noise for `frames` pictures of `size`, made as in the published script.

    The clip becomes 72 frames of 480 x 720, cropped at its sides, and the result is stretched back. The noise
    therefore moves too far, in steps, and its deviation is about 2/3 instead of 1. The network was published
    with that.
    """
    wanted = [
        round(index * (frames - 1) / (REFERENCE_FRAMES - 1)) for index in range(REFERENCE_FRAMES)
    ]
    height, width = REFERENCE_SIZE
    warper = Warper(
        height // PIXELS_PER_LATENT,
        width // PIXELS_PER_LATENT,
        seed,
        box=fineness * PIXELS_PER_LATENT // 2,
        device=device,
        pool_fresh=True,
    )
    noises: list[NDArray[np.float16]] = []
    before: Picture | None = None
    for index, picture in enumerate(pictures):
        for _ in range(wanted.count(index)):
            covered = _covering(_displayed(picture), height, width)
            seen = cv2.resize(covered, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            if before is not None:
                warper.advance(flow(before, seen))
            before = seen
            latent = _degraded(warper, degradation).permute(1, 2, 0)
            noises.append(latent.numpy().astype(np.float16))
    return fitted(np.stack(noises), latents_of(frames), size)


def fitted(noises: NDArray[np.float16], latents: int, size: tuple[int, int]) -> Tensor:
    """Converts `noises` [t, h, w, channels] to [1, latents, channels, height/8, width/8]: nearest before in
    time, bilinear.

    As published. Interpolation averages neighbors, which reduces the variance of white noise.
    """
    height, width = size[0] // PIXELS_PER_LATENT, size[1] // PIXELS_PER_LATENT
    if noises.shape[:3] == (latents, height, width):
        return torch.from_numpy(noises.astype(np.float32)).permute(0, 3, 1, 2)[None]
    chosen = noises[np.linspace(0, len(noises) - 1, latents).astype(int)].astype(np.float32)
    planes = [
        [
            cv2.resize(
                np.ascontiguousarray(frame[..., c]), (width, height), interpolation=cv2.INTER_LINEAR
            )
            for c in range(frame.shape[2])
        ]
        for frame in chosen
    ]
    return torch.from_numpy(np.array(planes))[None]


def _degraded(warper: Warper, amount: float) -> Tensor:
    latent = warper.latent()
    return latent if amount == 0 else blend(latent, warper.white(tuple(latent.shape)), amount)


def _displayed(picture: Pixels) -> Picture:
    """Converts to 8 bits, all that motion search uses. Values brighter than white become white."""
    shown: Picture = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return shown


def _covering(picture: Picture, height: int, width: int) -> Picture:
    """Scales `picture` in proportion until it covers `height` x `width`, then crops it to the center."""
    scale = max(height / picture.shape[0], width / picture.shape[1])
    rows, columns = math.ceil(picture.shape[0] * scale), math.ceil(picture.shape[1] * scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    grown = cv2.resize(picture, (columns, rows), interpolation=how)
    top, left = (rows - height) // 2, (columns - width) // 2
    out: Picture = grown[top : top + height, left : left + width]
    return out
