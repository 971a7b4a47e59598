"""Encodes and decodes pixels chunk by chunk, in the schedule of the training.

The network is diffusers' `AutoencoderKLCogVideoX`, except for its time upsampler. Besides the weights, two
things decide the numbers. One is the chunks, because group normalization takes its statistics over one chunk.
The other is the meaning of a chunk with a single latent. The stock decoder pairs latents from the first one on.
It takes any single latent for a first frame, so 22 latents become 88 frames. Here the first latent is decoded
alone and the others in pairs. A single one at the end still stands for four frames, so 22 latents are 85 frames.

Tensors are [1, channels, frames, height, width]; pixels about [-1, 1], latents scaled to about unit variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXResnetBlock3D
from torch import Tensor, nn

from .compiled import Compiled

ENCODED_AT_ONCE = 8
"""Frames of one encoder chunk. The first chunk also takes the remainder."""

DECODED_AT_ONCE = 2
"""Latents of one decoder chunk. The first chunk is one latent."""

PIXELS_PER_LATENT = 8


def encode_chunks(frames: int) -> list[slice]:
    """Returns the frames of each chunk: 13, 8, 8, ... for the model's own lengths of 8k + 5."""
    count = max(frames // ENCODED_AT_ONCE, 1)
    first = frames - ENCODED_AT_ONCE * (count - 1)
    stops = [first + ENCODED_AT_ONCE * index for index in range(count)]
    return [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]


def decode_chunks(latents: int) -> list[slice]:
    """Returns the latents of each chunk: 1, 2, 2, ..., and 1 at the end if their number is even."""
    starts = [0, *range(1, latents, DECODED_AT_ONCE)]
    return [
        slice(start, min(start + (DECODED_AT_ONCE if start else 1), latents)) for start in starts
    ]


@dataclass(frozen=True)
class VaeTiles:
    """Rectangles, in latents, that are coded one by one if memory is low.

    This is not lossless: each tile has its own normalization statistics. The published picture of 48 x 84 latents
    takes four tiles. Upright pictures take upright tiles.
    """

    height: int = 30
    width: int = 46
    overlap: int = 8

    def turned(self, height: int, width: int) -> VaeTiles:
        """The tiles for a picture of this size, in latents: upright for an upright one."""
        if (height > width) == (self.height > self.width) or height == width:
            return self
        return VaeTiles(self.width, self.height, self.overlap)


Cache = dict[str, Any] | None
Network = Callable[[Tensor, Cache], tuple[Tensor, Cache]]


class Vae:
    """The autoencoder, on its current device and in its current type. (diffusers has no types.)"""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.scale = float(network.config.scaling_factor)
        self.channels = int(network.config.latent_channels)
        self._upsamplers = _with_carried_time(network)
        blocks = [part for part in network.modules() if isinstance(part, CogVideoXResnetBlock3D)]
        self.compiled = Compiled("the autoencoder", "vae_compile", blocks)

    def parts(self) -> list[Any]:
        """The modules of coding a chunk, in small pieces. A compiled block allows no callbacks inside."""
        within = self.compiled.blocks if self.compiled.is_on else []
        inner = {id(part) for block in within for part in block.modules()}
        convolutions = (
            part for part in self.network.modules() if isinstance(part, nn.Conv2d | nn.Conv3d)
        )
        return within + [part for part in convolutions if id(part) not in inner]

    def encode(
        self, read: Callable[[slice], Tensor], frames: int, tiles: VaeTiles | None = None
    ) -> Iterator[Tensor]:
        """Yields the latents [1, 16, t, h/8, w/8], float32 on the CPU, of `frames` frames, chunk by chunk.

        `read` returns the pixels [1, 3, t, h, w] of the frames in a slice; it is called once per chunk, in
        order. The mode of the distribution is taken, so nothing is random.
        """
        run: Network = self._encode_chunk
        if tiles is not None:
            run = _Tiled(run, tiles, PIXELS_PER_LATENT, 1)
        cache: Cache = None
        for chunk in encode_chunks(frames):
            latents, cache = run(self._here(read(chunk)), cache)
            yield latents.to("cpu", torch.float32)

    def decode(self, latents: Tensor, tiles: VaeTiles | None = None) -> Iterator[Tensor]:
        """Yields the pixels [1, 3, t, h, w], float32 on the CPU, of `latents` [1, 16, t, h/8, w/8].

        Frames are final and come as soon as their chunk is decoded.
        """
        run: Network = self._decode_chunk
        if tiles is not None:
            run = _Tiled(run, tiles, 1, PIXELS_PER_LATENT)
        cache: Cache = None
        for chunk in decode_chunks(latents.shape[2]):
            for upsampler in self._upsamplers:
                upsampler.is_first = chunk.start == 0
            pixels, cache = run(self._here(latents[:, :, chunk]), cache)
            yield pixels.to("cpu", torch.float32)

    @torch.inference_mode()
    def _encode_chunk(self, pixels: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        moments, cache = self.compiled.run(lambda: self.network.encoder(pixels, conv_cache=cache))
        return moments[:, : self.channels] * self.scale, cache

    @torch.inference_mode()
    def _decode_chunk(self, latents: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        latents = latents / self.scale
        pixels, cache = self.compiled.run(lambda: self.network.decoder(latents, conv_cache=cache))
        return pixels, cache

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.network.device, self.network.dtype)


class _CarriedUpsample(nn.Module):
    """Doubles the size and, except for the clip's first frame, the frames; then applies the stock convolution."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.is_first = True

    def forward(self, inputs: Tensor) -> Tensor:
        if self.is_first:
            grown = F.interpolate(inputs[:, :, 0], scale_factor=2.0)[:, :, None]
        else:
            grown = F.interpolate(inputs, scale_factor=2.0)
        batch, channels, frames, height, width = grown.shape
        flat = grown.permute(0, 2, 1, 3, 4).reshape(batch * frames, channels, height, width)
        out: Tensor = self.conv(flat)
        return out.reshape(batch, frames, *out.shape[1:]).permute(0, 2, 1, 3, 4)


def _with_carried_time(network: Any) -> list[_CarriedUpsample]:
    """Replaces the upsamplers that double time; their weights and weight names stay."""
    found = []
    for block in network.decoder.up_blocks:
        for index, upsampler in enumerate(block.upsamplers or ()):
            if isinstance(upsampler, _CarriedUpsample):
                found.append(upsampler)
            elif upsampler.compress_time:
                block.upsamplers[index] = carried = _CarriedUpsample(upsampler.conv)
                found.append(carried)
    return found


class _Tiled:
    """Runs a network over overlapping rectangles, each with its own cache, and cross-fades the results.

    `unit_in` and `unit_out` are the sizes of a latent in the input and in the output.
    """

    def __init__(self, run: Network, tiles: VaeTiles, unit_in: int, unit_out: int) -> None:
        self.run, self.tiles = run, tiles
        self.unit_in, self.unit_out = unit_in, unit_out

    def __call__(self, chunk: Tensor, caches: Cache) -> tuple[Tensor, Cache]:
        caches = caches or {}
        height, width = (size // self.unit_in for size in chunk.shape[-2:])
        tiles = self.tiles.turned(height, width)
        if height <= tiles.height and width <= tiles.width:
            part, caches["whole"] = self.run(chunk, caches.get("whole"))
            return part, caches
        total: Tensor | None = None
        weight: Tensor | None = None
        for top in _spans(height, tiles.height, tiles.overlap):
            for left in _spans(width, tiles.width, tiles.overlap):
                name = f"{top.start},{left.start}"
                part, caches[name] = self.run(
                    chunk[..., _scaled(top, self.unit_in), _scaled(left, self.unit_in)],
                    caches.get(name),
                )
                if total is None or weight is None:
                    size = (height * self.unit_out, width * self.unit_out)
                    total = part.new_zeros((*part.shape[:-2], *size))
                    weight = part.new_zeros(size)
                ramp = _tent(part.shape[-2], part)[:, None] * _tent(part.shape[-1], part)
                here = (..., _scaled(top, self.unit_out), _scaled(left, self.unit_out))
                total[here] += part * ramp
                weight[here] += ramp
        if total is None or weight is None:
            raise AssertionError("a chunk has at least one tile")
        return total / weight, caches


def _spans(length: int, size: int, overlap: int) -> list[slice]:
    """Returns slices of `size` that cover `length`; the last one shifts back instead of being shorter."""
    size = min(size, length)
    starts = [*range(0, length - size, max(size - overlap, 1)), length - size]
    return [slice(start, start + size) for start in starts]


def _scaled(span: slice, unit: int) -> slice:
    return slice(span.start * unit, span.stop * unit)


def _tent(length: int, like: Tensor) -> Tensor:
    """Weights that rise from both ends: 1, 2, 3, 2, 1."""
    rise = torch.arange(1, length + 1, device=like.device, dtype=like.dtype)
    return torch.minimum(rise, rise.flip(0))
