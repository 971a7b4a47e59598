"""Refines the finished picture at the plate's resolution, in tiles of the model's own size.

The low-resolution result is enlarged, gets a little noise, and goes through the last steps again. All tiles cut
their noise from one field and are blended after every step, so no tile edge shows (MultiDiffusion, arXiv
2302.08113). Latents are [1, frames, 16, h/8, w/8], float32, on the CPU; the device holds one tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from voidbridge_backend.engines.base import Clip, Pixels, Quadmask

from .sampling import Predict

OVERLAP = 16
"""Minimum overlap of neighboring tiles in latents: 128 pixels."""

FINEST = 4
"""Maximum enlargement of the picture."""

Place = tuple[slice, slice]
"""Rows and columns of a tile, in latents."""

PredictTile = Callable[[Tensor, slice, Place, int], Tensor]
"""(latents of a run in a tile, the run, the tile, timestep) -> velocity of the same shape."""


@dataclass(frozen=True)
class Tiling:
    """Tiles of `tile` latents (height, width) over a picture of `size`; one if the picture is no larger."""

    size: tuple[int, int]
    tile: tuple[int, int]

    @property
    def places(self) -> list[Place]:
        """Returns every tile, row by row. Starts are even, because the transformer takes latents in squares of
        two.
        """
        rows, columns = (
            _starts(size, tile) for size, tile in zip(self.size, self.tile, strict=True)
        )
        high, wide = self.tile
        return [
            (
                slice(row, min(row + high, self.size[0])),
                slice(column, min(column + wide, self.size[1])),
            )
            for row in rows
            for column in columns
        ]

    def tiled(self, predict: PredictTile) -> Predict:
        """Returns `predict` for whole pictures: the blended outputs of all tiles, or the unchanged output of a
        single tile.
        """
        places = self.places

        def whole(latents: Tensor, run: slice, timestep: int) -> Tensor:
            if len(places) == 1:
                return predict(latents, run, places[0], timestep)
            total, weight = torch.zeros_like(latents), latents.new_zeros(self.size)
            for rows, columns in places:
                answer = predict(latents[..., rows, columns], run, (rows, columns), timestep)
                ramp = _tent(rows, latents)[:, None] * _tent(columns, latents)
                total[..., rows, columns] += answer * ramp
                weight[rows, columns] += ramp
            return total / weight

        return whole


def enlargement(region: tuple[int, int], model: tuple[int, int]) -> int:
    """Returns how many times larger a plate region is than the model's size, rounded up, at most `FINEST`.

    It is a whole number, so that each small frame maps exactly onto a large one.
    """
    ratio = max(length / seen for length, seen in zip(region, model, strict=True))
    return min(max(int(np.ceil(ratio)), 1), FINEST)


class Smaller:
    """A clip with height and width divided by `times`: the model's view before the detail pass."""

    def __init__(self, clip: Clip, times: int) -> None:
        self.clip, self.times = clip, times
        self.height, self.width = clip.height // times, clip.width // times

    @property
    def frames(self) -> Sequence[int]:
        return self.clip.frames

    def plate(self, frame: int) -> Pixels:
        """Averages squares of pixels."""
        blocks = self.clip.plate(frame).reshape(*self._squares(), 3)
        mean: Pixels = blocks.mean(axis=(1, 3), dtype=np.float32)
        return mean

    def quadmask(self, frame: int) -> Quadmask:
        """Returns remove if any pixel of a square is removed, otherwise affected if any is affected."""
        least: Quadmask = self.clip.quadmask(frame).reshape(self._squares()).min(axis=(1, 3))
        return least

    def has_hole(self, frame: int) -> bool:
        return self.clip.has_hole(frame)

    def _squares(self) -> tuple[int, int, int, int]:
        return self.height, self.times, self.width, self.times


def enlarged(frames: Iterator[Tensor], size: tuple[int, int]) -> Iterator[Tensor]:
    """Enlarges decoded frames [1, 3, 1, h, w] to `size` (height, width) by bicubic interpolation."""
    for frame in frames:
        if frame.shape[-2:] == size:
            yield frame
        else:
            large = F.interpolate(frame[:, :, 0], size=size, mode="bicubic", align_corners=False)
            yield large[:, :, None]


def _starts(length: int, tile: int) -> list[int]:
    if length <= tile:
        return [0]
    step = max(tile - OVERLAP, 2)
    return [*range(0, length - tile, step), length - tile]


def _tent(span: slice, like: Tensor) -> Tensor:
    """Weights that rise from both ends: 1, 2, 3, 2, 1."""
    length = span.stop - span.start
    rise = torch.arange(1, length + 1, device=like.device, dtype=like.dtype)
    return torch.minimum(rise, rise.flip(0))
