"""The two passes of VOID, following the paper: encode the conditions, denoise, decode.

Callers supply networks, noise and frames, place them on devices, and use the result. Latents are [1, frames,
16, h/8, w/8], float32, on the CPU except while denoising; pixels are [1, 3, frames, h, w].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from voidbridge_backend.engines.void.model.denoiser import Conditions, Denoiser, Text
from voidbridge_backend.engines.void.model.vae import Vae, VaeTiles, decode_chunks

from . import sampling
from .conditioning import Levels, augmented, mask_levels, without_removed
from .detail import Place, Tiling
from .evaluation import Evaluation
from .sampling import Kind
from .sharing import Sharing
from .timeline import OVERLAP, WINDOW, Windows, latents_for, latents_of, windows

Read = Callable[[slice], Tensor]
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Method:
    """The parameters of one pass. `window` and `overlap` count frames, not latents.

    `guidance` 1 evaluates the network once per step, any other value twice. `strength` below 1 starts from the
    plate with added noise and runs only the last part of the steps. `reuse` above 0 is for previews, see
    `Denoiser.reusing`.
    """

    scheduler: Kind
    steps: int = 50
    guidance: float = 1.0
    window: int = WINDOW
    overlap: int = OVERLAP
    strength: float = 1.0
    reuse: float = 0.0


ON_DEVICE = 1 << 28
"""Maximum bytes of a clip's latents on the device while denoising; larger ones stay on the host.

The margin of the memory plans includes it. 85 frames of 384 x 672 take 46 MB, 480 frames all of it.
"""
COPIES = 8
"""Tensors as large as a clip's latents that denoising holds at once."""

FIRST = Method("ddim", guidance=1.0)
SECOND = Method("cogvideox-ddim", guidance=6.0)


def encoded_mask(
    vae: Vae, quadmask: Read, frames: int, levels: Levels, tiles: VaeTiles | None, on_step: OnStep
) -> Tensor:
    """Returns the mask's latents, [1, t, 16, h/8, w/8], from quadmasks [1, 1, t, h, w].

    The autoencoder gets the mask's levels in [0, 1] as a grey picture, although pictures are in [-1, 1]. The
    model was trained that way.
    """

    def read(span: slice) -> Tensor:
        return mask_levels(quadmask(span), levels).expand(-1, 3, -1, -1, -1)

    return _gathered(vae.encode(read, frames, tiles), frames, on_step)


def encoded_plate(
    vae: Vae,
    plate: Read,
    noise: Read,
    frames: int,
    tiles: VaeTiles | None,
    on_step: OnStep,
    *,
    blanked: Read | None = None,
) -> Tensor:
    """Returns the plate's latents, [1, t, 16, h/8, w/8], from pictures [1, 3, t, h, w] and unit noise of that
    shape.

    The object stays in the plate: the model sees the pixels that it should remove. `blanked` gives quadmasks
    [1, 1, t, h, w] whose removed pixels become black first. The published scripts offer this and do not use it.
    """

    def read(span: slice) -> Tensor:
        seen = plate(span)
        if blanked is not None:
            seen = without_removed(seen, mask_levels(blanked(span)))
        return augmented(seen, noise(span))

    return _gathered(vae.encode(read, frames, tiles), frames, on_step)


def encoded_frames(
    vae: Vae, frames: Iterator[Tensor], count: int, tiles: VaeTiles | None, on_step: OnStep
) -> Tensor:
    """Returns the latents of `count` decoded frames [1, 3, 1, h, w], read on demand."""

    def read(span: slice) -> Tensor:
        seen = torch.cat([next(frames) for _ in range(span.stop - span.start)], dim=2)
        if span.stop == count:
            next(frames, None)  # Ends the decoding, which holds its state on the device.
        return seen

    return _gathered(vae.encode(read, count, tiles), count, on_step)


def denoised(
    denoiser: Denoiser,
    config: Mapping[str, Any],
    conditions: Conditions,
    noise: Tensor,
    text: Text,
    method: Method,
    on_step: OnStep,
    *,
    start: Tensor | None = None,
    tiling: Tiling | None = None,
    sharing: Sharing | None = None,
) -> Tensor:
    """Runs one pass: from `noise` to the latents of a clip without the object. `config` is the scheduler's file.

    `start` is the beginning for a strength below 1, by default the plate. With `tiling` the network processes
    one tile at a time. With `sharing` lent devices answer some of each step's windows and tiles.

    The second pass differs from the first in its transformer, its scheduler, its guidance, and its noise, which
    moves with the first pass's picture.
    """
    scheduler = sampling.scheduler(method.scheduler, config)
    steps = sampling.timesteps(scheduler, method.steps, method.strength)
    latents = sampling.begun(
        scheduler, noise, conditions.plate if start is None else start, steps[0], method.strength
    )
    runs = windows(conditions.latents, method.window, method.overlap)
    device = denoiser.network.device
    text = text.on(device)
    if latents.nbytes * COPIES <= ON_DEVICE:
        latents, conditions = latents.to(device), conditions.on(device)
    size = (noise.shape[-2], noise.shape[-1])
    tiles = tiling or Tiling(size, size)
    parts = _Parts(denoiser, conditions, text, method, runs, tiles, sharing)
    with denoiser.reusing(method.reuse):
        return sampling.denoise(
            latents,
            tiles.tiled(parts.velocity),
            scheduler,
            steps,
            runs,
            on_step=on_step,
            prepare=parts.share if sharing else None,
        ).cpu()


class _Parts:
    """The windows and tiles of every step. With `sharing`, answers of all parts of a step are there before it."""

    def __init__(
        self,
        denoiser: Denoiser,
        conditions: Conditions,
        text: Text,
        method: Method,
        runs: Windows,
        tiles: Tiling,
        sharing: Sharing | None,
    ) -> None:
        self._denoiser, self._conditions, self._text = denoiser, conditions, text
        self._guidance, self._sharing = method.guidance, sharing
        self._whole = conditions.in_run(runs.runs[0]) if len(runs.runs) == 1 else None
        self._places = {f"{r} {place}": (r, place) for r in runs.runs for place in tiles.places}
        self._shared: dict[str, Tensor] = {}
        if sharing:
            sharing.begin(len(self._places), method.guidance)

    def velocity(self, seen: Tensor, run: slice, place: Place, timestep: int) -> Tensor:
        """Returns the velocity of the latents `seen` of a part."""
        part = f"{run} {place}"
        if part in self._shared:
            return self._shared.pop(part).to(seen.device)
        known = self._known(run, place)
        return self._denoiser.velocity(seen, known, self._text, timestep, self._guidance, part)

    def share(self, latents: Tensor, timestep: int) -> None:
        """Computes the velocities of a step on all lent devices, if there are any."""

        def ask(part: str) -> Evaluation:
            run, place = self._places[part]
            seen = latents[:, run][..., place[0], place[1]]
            known = self._known(run, place)
            return Evaluation(seen, known, self._text, timestep, self._guidance)

        if self._sharing:
            self._shared = self._sharing.answers(list(self._places), ask)

    def _known(self, run: slice, place: Place) -> Tensor:
        known = self._conditions.in_run(run) if self._whole is None else self._whole
        return known[..., place[0], place[1]]


def decoded(
    vae: Vae, latents: Tensor, frames: int, tiles: VaeTiles | None, on_step: OnStep
) -> Iterator[Tensor]:
    """Yields the first `frames` frames of `latents`, [1, 3, 1, h, w] each, as soon as each is decoded.

    Latents that only the padding needs are not decoded.
    """
    of = len(decode_chunks(latents_for(frames)))
    given = 0
    stop = decode_chunks(latents.shape[1])[of - 1].stop
    chunks = vae.decode(latents[:, :stop].permute(0, 2, 1, 3, 4), tiles)
    for done in range(of):
        on_step(done, of)
        chunk = next(chunks)
        for index in range(min(chunk.shape[2], frames - given)):
            yield chunk[:, :, index : index + 1]
            given += 1
    on_step(of, of)


def _gathered(chunks: Iterator[Tensor], frames: int, on_step: OnStep) -> Tensor:
    parts: list[Tensor] = []
    of = latents_of(frames)
    on_step(0, of)
    for latents in chunks:
        parts.append(latents)
        on_step(sum(part.shape[2] for part in parts), of)
    return torch.cat(parts, dim=2).permute(0, 2, 1, 3, 4).contiguous()
