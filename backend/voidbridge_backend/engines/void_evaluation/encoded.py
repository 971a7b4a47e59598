"""A removal from a pair's latents: the passes of the engine `void`, without encoding anything again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from voidbridge_backend.engines.base import Pixels, Quadmask
from voidbridge_backend.engines.evaluate_base import HeldPair, Hole
from voidbridge_backend.engines.void.inputs import Footage
from voidbridge_backend.engines.void.model.denoiser import Conditions, Text
from voidbridge_backend.engines.void.passes.timeline import FRAMES_PER_LATENT
from voidbridge_backend.engines.void.run import Job
from voidbridge_backend.engines.void_lora.pairs import TrainingPair
from voidbridge_protocol.errors import BadPair, EngineFailed

CELL = 8
"""Pixels of a latent."""


class EncodedClip:
    """`engines.base.Clip` that has a size and frames and no pictures: a pair's are encoded already."""

    def __init__(self, frames: int, height: int, width: int) -> None:
        self.frames = range(frames)
        self.height, self.width = height, width

    def plate(self, frame: int) -> Pixels:
        raise EngineFailed(f"frame {frame} of an encoded pair is asked for as a picture")

    def quadmask(self, frame: int) -> Quadmask:
        raise EngineFailed(f"frame {frame} of an encoded pair is asked for as a quadmask")

    def has_hole(self, frame: int) -> bool:
        return True


def footage_of(pair: TrainingPair, window: int) -> Footage:
    """Returns the pair's clip as the passes count it, padding included.

    Raises `BadPair` if it was not encoded with a window of that many frames.
    """
    latents, _, height, width = pair.target.shape
    frames = (latents - 1) * FRAMES_PER_LATENT + 1
    found = Footage(EncodedClip(frames, height * CELL, width * CELL), range(frames), window)
    if found.latents != latents:
        raise BadPair(
            f"the pair {pair.record.name} has {latents} latents; "
            f"with a window of {window} frames it has {found.latents}",
            "Encode the dataset again with the models and options of this daemon.",
        )
    return found


class EncodedJob(Job):
    """A run of the engine `void` whose conditions and prompt come from `pair`."""

    pair: TrainingPair

    def _text(self) -> Text:
        engine = self.engine
        negative = engine.prompts.embeddings(
            [self.options.negative_prompt], str(engine.placement.device)
        )[0]
        text = self.pair.text
        if text.shape != negative.shape[1:]:
            raise BadPair(
                f"the pair {self.pair.record.name} has embeddings of {list(text.shape)}; "
                f"this model has {list(negative.shape[1:])}"
            )
        return Text(text[None].to(negative), negative)

    def _conditions(self) -> Conditions:
        return Conditions(self.pair.mask[None], self.pair.plate[None])

    def decoded(self, latents: Tensor, count: int) -> Iterator[Pixels]:
        """Yields the first `count` frames of latents [frames, 16, h/8, w/8]."""
        yield from self._decoded(latents[None], count, "decoding the pair")


def held_pair(job: EncodedJob, number: int) -> HeldPair:
    """Returns the pictures of the job's pair, which has the place `number`."""
    pair, count = job.pair, job.footage.length
    *_, shown = job.decoded(pair.plate, count // 2 + 1)
    return HeldPair(
        number,
        pair.record.name,
        shown,
        list(job.decoded(pair.target, count)),
        [_hole(pair, frame) for frame in range(count)],
    )


def _hole(pair: TrainingPair, frame: int) -> Hole:
    """Returns the pair's hole in one frame, in whole cells."""
    latent = -(-frame // FRAMES_PER_LATENT)
    cells = pair.hole[latent, 0].numpy() > 0
    return np.asarray(cells.repeat(CELL, 0).repeat(CELL, 1), np.bool_)
