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
from itertools import chain
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

    def places(self, height: int, width: int) -> list[Place]:
        """Returns the rows and columns of every tile of a picture of this size, all in latents."""
        return [
            (top, left)
            for top in _spans(height, self.height, self.overlap)
            for left in _spans(width, self.width, self.overlap)
        ]


Place = tuple[slice, slice]
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
        chunks = (read(span) for span in encode_chunks(frames))
        return self._coded(chunks, self._encode_chunk, tiles, PIXELS_PER_LATENT, 1)

    def decode(self, latents: Tensor, tiles: VaeTiles | None = None) -> Iterator[Tensor]:
        """Yields the pixels [1, 3, t, h, w], float32 on the CPU, of `latents` [1, 16, t, h/8, w/8].

        Frames are final and come as soon as their chunk is decoded.
        """
        chunks = (latents[:, :, chunk] for chunk in decode_chunks(latents.shape[2]))
        return self._coded(chunks, self._decode_chunk, tiles, 1, PIXELS_PER_LATENT)

    def _coded(
        self,
        chunks: Iterator[Tensor],
        run: Network,
        tiles: VaeTiles | None,
        unit_in: int,
        unit_out: int,
    ) -> Iterator[Tensor]:
        """Yields `run` of each chunk, float32 on the CPU.

        `unit_in` and `unit_out` are the sizes of a latent in the input and in the output.
        """
        first = next(chunks)
        height, width = (size // unit_in for size in first.shape[-2:])
        chunks = chain([first], chunks)
        tiles = tiles and tiles.turned(height, width)
        if tiles is None or (height <= tiles.height and width <= tiles.width):
            cache: Cache = None
            for chunk in chunks:
                coded, cache = run(self._here(chunk), cache)
                yield coded.to("cpu", torch.float32)
            return
        held = [chunk.to("cpu", self.network.dtype) for chunk in chunks]
        yield from self._in_tiles(held, run, tiles.places(height, width), unit_in, unit_out)

    def _in_tiles(
        self, chunks: list[Tensor], run: Network, places: list[Place], unit_in: int, unit_out: int
    ) -> Iterator[Tensor]:
        """Runs a network over overlapping rectangles and cross-fades the results, on the host.

        Time is inside: one rectangle goes through all chunks before the next. So the device holds the state of one
        rectangle, about 4 GiB at 384 x 672, and not of all, which are 91 GiB at four times that size.
        """
        totals: list[Tensor] = []
        height, width = (size // unit_in * unit_out for size in chunks[0].shape[-2:])
        weight = torch.zeros(height, width, dtype=self.network.dtype)
        for place in places:
            cache: Cache = None
            rows, columns = (_scaled(span, unit_in) for span in place)
            here = (..., _scaled(place[0], unit_out), _scaled(place[1], unit_out))
            for index, chunk in enumerate(chunks):
                part, cache = run(self._here(chunk[..., rows, columns]), cache)
                ramp = _tent(part.shape[-2], part)[:, None] * _tent(part.shape[-1], part)
                if len(totals) == index:
                    totals.append(torch.zeros(*part.shape[:-2], height, width, dtype=part.dtype))
                totals[index][here] += (part * ramp).cpu()
                if not index:
                    weight[here] += ramp.cpu()
        for index, total in enumerate(totals):
            totals[index] = total.new_empty(0)  # The caller has it from here on.
            yield (total / weight).float()

    @torch.inference_mode()
    def _encode_chunk(self, pixels: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        moments, cache = self.compiled.run(lambda: self.network.encoder(pixels, conv_cache=cache))
        return moments[:, : self.channels] * self.scale, cache

    @torch.inference_mode()
    def _decode_chunk(self, latents: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        latents = latents / self.scale
        for upsampler in self._upsamplers:
            upsampler.is_first = cache is None
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


def _spans(length: int, size: int, overlap: int) -> list[slice]:
    """Returns slices of `size` that cover `length`; the last one shifts back instead of being shorter.

    Small ones overlap by half at most, or a picture would have dozens.
    """
    size = min(size, length)
    starts = [*range(0, length - size, max(size - overlap, size // 2, 1)), length - size]
    return [slice(start, start + size) for start in starts]


def _scaled(span: slice, unit: int) -> slice:
    return slice(span.start * unit, span.stop * unit)


def _tent(length: int, like: Tensor) -> Tensor:
    """Weights that rise from both ends: 1, 2, 3, 2, 1."""
    rise = torch.arange(1, length + 1, device=like.device, dtype=like.dtype)
    return torch.minimum(rise, rise.flip(0))
