"""The encoder of CorridorKey: Hiera, a vision transformer that attends in windows first and over everything later.

Source of the architecture: Ryali et al., "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles"
(2023). Names of modules are the names of the published state dictionary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, scaled_dot_product_attention

PATCH = 4
"""Pixels of the network's input along one side of a cell of the first grid."""
WINDOWS = (8, 4, 0, 0)
"""Side of the attention window of each stage, in cells of that stage's grid; 0 is the whole grid."""


@dataclass(frozen=True)
class Layout:
    """The sizes of a network. The defaults are those of the published weights."""

    embed: int = 112
    """Channels of the first stage, doubled at each later one."""
    heads: int = 2
    """Heads of the first stage, doubled at each later one."""
    stages: tuple[int, int, int, int] = (2, 3, 16, 3)
    """Blocks of each stage."""
    size: int = 2048
    """Side of the square input in pixels, a multiple of 32."""
    refiner: bool = True

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four features."""
        return tuple(self.embed << stage for stage in range(4))

    @property
    def starts(self) -> tuple[int, ...]:
        """The first block of each stage."""
        return tuple(sum(self.stages[:stage]) for stage in range(4))


class Attention(nn.Module):
    """Attention within windows of a grid. Queries are pooled 2x2 when `pool` is set; keys and values never are."""

    def __init__(self, width: int, out: int, heads: int, window: int, pool: bool) -> None:
        super().__init__()
        self.heads, self.window, self.pool = heads, window, pool
        self.qkv = nn.Linear(width, 3 * out)
        self.proj = nn.Linear(out, out)

    def forward(self, grid: Tensor) -> Tensor:
        """[batch, height, width, channels] to the same, or to half of height and width if queries are pooled."""
        batch, height, width, _ = grid.shape
        rows, columns = self.window or height, self.window or width
        down, across = height // rows, width // columns
        cells = self.qkv(grid).reshape(batch, down, rows, across, columns, 3, self.heads, -1)
        # To [3, batch * windows, heads, rows, columns, features].
        cells = cells.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(1, 3)
        query, key, value = cells.unbind(0)
        if self.pool:
            query = _pooled(query)
            rows, columns = rows // 2, columns // 2
        out = scaled_dot_product_attention(
            query.flatten(2, 3), key.flatten(2, 3), value.flatten(2, 3)
        )
        out = out.reshape(batch, down, across, self.heads, rows, columns, -1)
        out = out.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, down * rows, across * columns, -1)
        done: Tensor = self.proj(out)
        return done


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.act = nn.GELU()

    def forward(self, grid: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(grid)))
        return out


class Block(nn.Module):
    """One transformer block. The first block of a later stage doubles the channels and halves the grid."""

    def __init__(self, width: int, out: int, heads: int, window: int) -> None:
        super().__init__()
        grows = width != out
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, out, heads, window, pool=grows)
        self.norm2 = nn.LayerNorm(out, eps=1e-6)
        self.mlp = Mlp(out)
        self.proj = nn.Linear(width, out) if grows else None

    def forward(self, grid: Tensor) -> Tensor:
        normed = self.norm1(grid)
        skip = grid
        if self.proj is not None:
            # The projection is of the normed input, unlike the skip of every other block.
            skip = max_pool2d(self.proj(normed).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        grid = skip + self.attn(normed)
        out: Tensor = grid + self.mlp(self.norm2(grid))
        return out


class PatchEmbed(nn.Module):
    def __init__(self, embed: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(4, embed, kernel_size=7, stride=PATCH, padding=3)

    def forward(self, picture: Tensor) -> Tensor:
        out: Tensor = self.proj(picture)
        return out


class Hiera(nn.Module):
    """[batch, 4, S, S] to four features [batch, channels, h, w] at 1/4, 1/8, 1/16 and 1/32 of S."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        side = layout.size // PATCH
        self.patch_embed = PatchEmbed(layout.embed)
        self.pos_embed = nn.Parameter(torch.zeros(1, side * side, layout.embed))
        self.blocks = nn.ModuleList(_blocks(layout))
        self._last = [
            start + count - 1 for start, count in zip(layout.starts, layout.stages, strict=True)
        ]

    def forward(self, picture: Tensor) -> list[Tensor]:
        grid = self.patch_embed(picture).permute(0, 2, 3, 1)
        grid = grid + self.pos_embed.reshape(1, *grid.shape[1:])
        features = []
        for number, block in enumerate(self.blocks):
            grid = block(grid)
            if number in self._last:
                features.append(grid.permute(0, 3, 1, 2))
        return features


def _blocks(layout: Layout) -> list[Block]:
    blocks = []
    for stage, count in enumerate(layout.stages):
        for number in range(count):
            first = number == 0 and stage > 0
            width = layout.widths[stage - 1 if first else stage]
            # The first block of a stage still attends as the stage before it does.
            window = WINDOWS[stage - 1 if first else stage]
            blocks.append(Block(width, layout.widths[stage], layout.heads << stage, window))
    return blocks


def _pooled(query: Tensor) -> Tensor:
    """[windows, heads, rows, columns, features], each feature pooled 2x2 in space."""
    windows, heads, rows, columns, features = query.shape
    query = query.reshape(windows, heads, rows // 2, 2, columns // 2, 2, features)
    return query.amax(dim=(3, 5))
