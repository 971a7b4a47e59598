"""The network of CorridorKey: encoder, two decoders, and a refiner that corrects their logits at full size.

Written from a description of the network's arithmetic. Modules are named as in the published state dictionary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from .hiera import Hiera, Layout

FUSED = 256
"""Channels to which a decoder brings every feature."""
REFINED = 64
"""Channels of the refiner."""
DELTA_GAIN = 10.0
"""The refiner's last convolution is multiplied by this much."""


@dataclass(frozen=True)
class Prediction:
    """The outputs of one pass. Logits and features are kept for tests against stored values.

    `alpha` [batch, 1, S, S] and `foreground` [batch, 3, S, S] (straight, sRGB-encoded) are from 0 to 1.
    """

    alpha: Tensor
    foreground: Tensor
    features: list[Tensor]
    alpha_logits: Tensor
    foreground_logits: Tensor
    coarse: Tensor
    deltas: Tensor | None


class Encoder(nn.Module):
    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.model = Hiera(layout)

    def forward(self, picture: Tensor) -> list[Tensor]:
        features: list[Tensor] = self.model(picture)
        return features


class Projection(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, FUSED)

    def forward(self, feature: Tensor) -> Tensor:
        out: Tensor = self.proj(feature.permute(0, 2, 3, 1))
        return out.permute(0, 3, 1, 2)


class Decoder(nn.Module):
    """Four features to logits [batch, channels, S/4, S/4]."""

    def __init__(self, layout: Layout, channels: int) -> None:
        super().__init__()
        for number, width in enumerate(layout.widths, 1):
            self.add_module(f"linear_c{number}", Projection(width))
        self.linear_fuse = nn.Conv2d(4 * FUSED, FUSED, 1, bias=False)
        self.bn = nn.BatchNorm2d(FUSED)
        self.classifier = nn.Conv2d(FUSED, channels, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        size = features[0].shape[-2:]
        projected = []
        for number in (4, 3, 2, 1):
            grid = self.get_submodule(f"linear_c{number}")(features[number - 1])
            projected.append(grid if grid.shape[-2:] == size else _resized(grid, size))
        fused = relu(self.bn(self.linear_fuse(torch.cat(projected, 1))))
        logits: Tensor = self.classifier(fused)
        return logits


class Residual(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(REFINED, REFINED, 3, padding=dilation, dilation=dilation)
        self.gn1 = nn.GroupNorm(8, REFINED)
        self.conv2 = nn.Conv2d(REFINED, REFINED, 3, padding=dilation, dilation=dilation)
        self.gn2 = nn.GroupNorm(8, REFINED)

    def forward(self, grid: Tensor) -> Tensor:
        inner = relu(self.gn1(self.conv1(grid)))
        return relu(grid + self.gn2(self.conv2(inner)))


class Refiner(nn.Module):
    """Normalised RGB and coarse probabilities [batch, 7, S, S] to corrections of the logits [batch, 4, S, S]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(7, REFINED, 3, padding=1), nn.GroupNorm(8, REFINED))
        self.res1, self.res2, self.res3, self.res4 = (Residual(1 << power) for power in range(4))
        self.final = nn.Conv2d(REFINED, 4, 1)

    def forward(self, grid: Tensor) -> Tensor:
        grid = relu(self.stem(grid))
        for block in (self.res1, self.res2, self.res3, self.res4):
            grid = block(grid)
        deltas: Tensor = self.final(grid) * DELTA_GAIN
        return deltas


class KeyNetwork(nn.Module):
    """Normalised RGB and hint [batch, 4, S, S] to alpha and straight foreground."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.encoder = Encoder(layout)
        self.alpha_decoder = Decoder(layout, 1)
        self.fg_decoder = Decoder(layout, 3)
        self.refiner = Refiner() if layout.refiner else None

    def forward(self, picture: Tensor, refiner_strength: float = 1.0) -> Prediction:
        """`refiner_strength` multiplies the refiner's corrections; 0 gives the coarse result."""
        features = self.encoder(picture)
        alpha, foreground = self.alpha_decoder(features), self.fg_decoder(features)
        logits = torch.cat([_resized(part, picture.shape[-2:]) for part in (alpha, foreground)], 1)
        coarse = torch.sigmoid(logits)
        deltas, final = None, coarse
        if self.refiner is not None:
            deltas = self.refiner(torch.cat([picture[:, :3], coarse], 1)) * refiner_strength
            final = torch.sigmoid(logits + deltas)
        return Prediction(final[:, :1], final[:, 1:], features, alpha, foreground, coarse, deltas)


def _resized(grid: Tensor, size: torch.Size) -> Tensor:
    return interpolate(grid, size=list(size), mode="bilinear", align_corners=False)
