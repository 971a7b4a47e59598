"""Noise that moves with a picture and stays white: Go-with-the-Flow (arXiv 2501.08331) on integer pixels.

One step carries a field of noise along a flow. If several old pixels merge into one, they are averaged by
weight and divided by the root of the sum of squares. If one old pixel spreads to several, each gets its share
plus noise that sums to zero over them. Newly visible pixels get new noise. Given white noise and an independent
flow, the result is white with unit variance, exactly.

Pixels are grouped by the number of their source pixel, so still pixels keep every bit. The field is [pixels,
channels], rows first. Flows are [2, height, width], (right, down) in pixels of that grid, from the frame before
to this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .seeds import seeded

FRESH = -1
"""The source of a pixel that comes from nowhere."""

WEIGHT_FLOOR, WEIGHT_POWER = 1e-5, 0.9999
"""Each step pulls the weights towards one another, so that none vanishes and none dominates."""

Draw = Callable[[Tensor], Tensor]
"""(indices into [scattered | gathered] copies, 2 * pixels) -> standard normal noise [indices, channels]."""


@dataclass
class Field:
    """A field of noise [pixels, channels] and each pixel's weight [pixels] > 0, over `height` rows."""

    noise: Tensor
    weight: Tensor
    height: int

    @property
    def width(self) -> int:
        return len(self.weight) // self.height


@dataclass(frozen=True)
class _Copies:
    """The mapping of a grid's pixels by a flow.

    `landing` [p] target of the copy that p sends forward, `FRESH` if it has none. `source` [2p] source pixel of
    each forward copy, then of each backward copy, `FRESH` for none. `merged` [q] number of forward copies that
    arrive at q; with none, the backward copy is taken.
    """

    landing: Tensor
    source: Tensor
    merged: Tensor


def step(field: Field, flow: Tensor, draw: Draw, *, pool_fresh: bool = False) -> Field:
    """Carries `field` along `flow` [2, height, width].

    With `pool_fresh`, as in the published code, all pixels without a source form one group, and its mean is
    subtracted. Without it they are new noise, and only the used part is drawn.
    """
    copies = _copied(flow)
    division = _divided(copies, draw, pool_fresh)

    # One copy for each pixel: its backward one, or the only forward one that arrives there.
    pixels = len(field.weight)
    chosen = torch.arange(pixels, 2 * pixels, device=flow.device)
    arriving = torch.nonzero(copies.landing >= 0)[:, 0]
    company = copies.merged[copies.landing[arriving]]
    alone, together = arriving[company == 1], arriving[company > 1]
    chosen[copies.landing[alone]] = alone
    noise, weight = division.of(field, chosen)

    if len(together):
        parts, shares = division.of(field, together)
        targets, group = torch.unique(copies.landing[together], return_inverse=True)
        squares = summed(group, shares.square(), len(targets))
        noise[targets] = (
            summed(group, parts * shares[:, None], len(targets)) / squares.sqrt()[:, None]
        )
        weight[targets] = summed(group, shares, len(targets))
    return Field(noise, _levelled(weight), field.height)


@dataclass(frozen=True)
class _Division:
    """Division of pixels among their copies.

    `source` [2p] as in `_Copies`. `shares` [p] copies that each pixel has. `slot` [2p] row of `added` that a
    copy gets on top of its share, -1 for none. `added` [n, channels], summing to zero over the copies of one
    pixel.
    """

    source: Tensor
    shares: Tensor
    slot: Tensor
    added: Tensor

    def of(self, field: Field, copies: Tensor) -> tuple[Tensor, Tensor]:
        """Returns noise [n, channels] and weight [n] of these copies."""
        source = self.source[copies]
        known = source >= 0
        source = source.clamp(min=0)
        noise = field.noise[source]
        fresh_weight = 1 / (self.source == FRESH).sum().clamp(min=1)
        weight = torch.where(known, field.weight[source], fresh_weight)

        changed = torch.nonzero(self.slot[copies] >= 0)[:, 0]
        share = torch.where(known[changed], self.shares[source[changed]], 1).to(noise.dtype)
        kept = torch.where(known[changed], share.rsqrt(), 0.0)
        noise[changed] = noise[changed] * kept[:, None] + self.added[self.slot[copies[changed]]]
        weight[changed] /= share
        return noise, weight


def _divided(copies: _Copies, draw: Draw, pool_fresh: bool) -> _Division:
    source = copies.source
    known = source >= 0
    shares = torch.bincount(source[known], minlength=len(copies.landing))
    split = torch.zeros_like(known)
    split[known] = shares[source[known]] > 1
    used = torch.cat([copies.landing >= 0, copies.merged == 0])
    fresh = ~known if pool_fresh else ~known & used

    drawn = torch.nonzero(split | fresh)[:, 0]
    added = _zero_sum(draw(drawn), source[drawn], pool_fresh)
    slot = torch.full_like(source, -1)
    slot[drawn] = torch.arange(len(drawn), device=slot.device)
    return _Division(source, shares, slot, added)


def _copied(flow: Tensor) -> _Copies:
    _, height, width = flow.shape
    pixels = height * width
    right, down = flow[0], flow[1]
    rows = torch.arange(height, device=flow.device)[:, None]
    columns = torch.arange(width, device=flow.device)[None, :]

    def number(row: Tensor, column: Tensor) -> Tensor:
        """Returns each pixel's number, `FRESH` outside the grid."""
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return torch.where(inside, row * width + column, FRESH).long().flatten()

    itself = torch.arange(pixels, device=flow.device)
    # The rounded sum decides if a pixel leaves, but the sum of the rounded is its target. At exact halves these
    # differ, and a target outside the grid is lost.
    leaves = number((rows + down).round(), (columns + right).round()) == FRESH
    landing = number(rows + down.round(), columns + right.round())
    landing = torch.where(leaves, itself, landing)
    forward = torch.where(leaves, FRESH, itself)
    merged = torch.bincount(landing[landing >= 0], minlength=pixels)
    backward = number((rows - down).round(), (columns - right).round())
    backward = torch.where(merged > 0, FRESH, backward)
    return _Copies(landing, torch.cat([forward, backward]), merged)


def _zero_sum(drawn: Tensor, source: Tensor, pool_fresh: bool) -> Tensor:
    """Subtracts from `drawn` [n, channels] its mean over each source group. Fresh ones stay unless they are
    pooled.
    """
    chosen = torch.nonzero((source >= 0) | pool_fresh)[:, 0]
    if not len(chosen):
        return drawn
    groups, group = torch.unique(source[chosen], return_inverse=True)
    sums = summed(group, drawn[chosen], len(groups))
    counts = torch.bincount(group, minlength=len(groups))
    out = drawn.clone()
    out[chosen] -= (sums / counts[:, None])[group]
    return out


def _levelled(weight: Tensor) -> Tensor:
    levelled: Tensor = (weight / weight.mean() + WEIGHT_FLOOR) ** WEIGHT_POWER
    return levelled


def summed(group: Tensor, values: Tensor, groups: int) -> Tensor:
    """Returns [groups, ...] sums of the rows of `values` by `group` [rows]; groups without rows are 0.

    Neighbors are added in pairs until one row is left per group, always in the same order. The scattered
    additions of a GPU would differ each time.
    """
    order = torch.argsort(group, stable=True)
    group, values = group[order], values[order]
    while True:
        counts = torch.bincount(group, minlength=groups)
        starts = counts.cumsum(0) - counts
        rank = torch.arange(len(group), device=group.device) - starts[group]
        second = torch.nonzero(rank % 2 == 1)[:, 0]
        if not len(second):
            break
        values[second - 1] += values[second]
        first = torch.nonzero(rank % 2 == 0)[:, 0]
        group, values = group[first], values[first]
    total = values.new_zeros((groups, *values.shape[1:]))
    total[group] = values
    return total


class Warper:
    """A noise field on a fine grid that follows a picture and is read at the size of latents.

    The fine grid has `box` pixels per latent in each direction. The flow's grid is any coarser one of the same
    proportions. Noise is drawn on the CPU, so a seed gives the same on every device.
    """

    def __init__(
        self,
        latent_height: int,
        latent_width: int,
        seed: int,
        *,
        box: int = 32,
        channels: int = 16,
        device: str = "cpu",
        pool_fresh: bool = False,
    ) -> None:
        self.box, self.channels, self.pool_fresh = box, channels, pool_fresh
        self._generator = seeded(seed, "warped noise")
        pixels = latent_height * latent_width * box * box
        noise = self.white((pixels, channels)).to(device)
        self.field = Field(noise, torch.ones(pixels, device=device), latent_height * box)

    def advance(self, flow: Tensor) -> None:
        """Advances by one frame along `flow` [2, h, w], in pixels of its own grid."""
        fine = upsampled(flow.to(self.field.noise.device), self.field.height, self.field.width)
        if not fine.round().any():
            return  # No pixel moves by half a pixel: the field stays unchanged, bit for bit.
        self.field = step(self.field, fine, self._draw, pool_fresh=self.pool_fresh)

    def latent(self) -> Tensor:
        """Returns the current frame's noise, [channels, latent height, latent width], unit variance, on the CPU."""
        box = self.box
        field = self.field
        blocks = field.noise.view(field.height // box, box, field.width // box, box, self.channels)
        return (blocks.mean(dim=(1, 3)) * box).permute(2, 0, 1).cpu()

    def white(self, shape: tuple[int, ...]) -> Tensor:
        """Returns new noise from this warper's own sequence, on the CPU."""
        return torch.randn(shape, generator=self._generator)

    def _draw(self, copies: Tensor) -> Tensor:
        return self.white((len(copies), self.channels)).to(copies.device)


def upsampled(flow: Tensor, height: int, width: int) -> Tensor:
    """Returns `flow` [2, h, w] on a finer grid, in pixels of that grid."""
    fine = interpolate(flow[None], size=(height, width), mode="bilinear", align_corners=False)[0]
    scale = torch.tensor([width / flow.shape[2], height / flow.shape[1]], device=flow.device)
    scaled: Tensor = fine * scale[:, None, None]
    return scaled


def blend(background: Tensor, foreground: Tensor, amount: float) -> Tensor:
    """Mixes `amount` of one noise with the rest of the other at the variance of both, which must be independent."""
    rest = 1 - amount
    scale = (amount * amount + rest * rest) ** 0.5
    mixed: Tensor = (foreground * amount + background * rest) / scale
    return mixed
