"""Encodes pairs once: latents, embeddings, and for pass 2 noise that moves with the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.void import options
from voidbridge_backend.engines.void.files import networks, weights
from voidbridge_backend.engines.void.files.prompts import PromptEmbeddings
from voidbridge_backend.engines.void.inputs import Footage, grain, pictures
from voidbridge_backend.engines.void.noise import flow, picture_noise
from voidbridge_backend.engines.void.passes import pipeline
from voidbridge_backend.engines.void.passes.timeline import FRAMES_PER_LATENT
from voidbridge_backend.engines.void_lora.pairs import PairRecord, TrainingPair

from .clips import MemoryClip

DRAWS = 4
"""Fields of moving noise that are kept for each pair."""
CELL = 8
"""Pixels of a latent."""


class PairEncoder:
    """The networks that encode, on one device. The transformer is not needed."""

    def __init__(self, models: Path, device: str, pass_number: int) -> None:
        """Raises `ModelMissing` with everything that the models folder lacks."""
        self.models = weights.require(models, pass_number)
        self.options = options.from_folder(models)
        self._pass_number = pass_number
        self._dtype = torch.float32 if device == "cpu" else torch.bfloat16
        self._device = device
        self._vae = networks.vae(models, self._dtype)
        self._vae.network.to(device)
        self._prompts = PromptEmbeddings(models, self._dtype, models / "prompts")
        self._flow = flow.best(models, device)
        self._print = networks.vae_weights(models).fingerprint()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the model's picture."""
        return self.options.height, self.options.width

    @property
    def frames(self) -> int:
        """Frames that the model sees at once."""
        return self.options.window

    def encoded(
        self, shown: MemoryClip, target: Sequence[Pixels], record: PairRecord, seed: int
    ) -> TrainingPair:
        """Encodes the clip that the model is shown, with its quadmask, and the frames that it should answer."""
        seen = Footage(shown, shown.frames, self.frames)
        wanted = Footage(MemoryClip(target), shown.frames, self.frames)
        height, width = seen.height, seen.width

        def nothing(span: slice) -> Tensor:
            return torch.zeros(1, 3, span.stop - span.start, height, width)

        def noise(span: slice) -> Tensor:
            return grain(seed, span, height, width)

        count = seen.length
        text, no_text = self._prompts.embeddings([record.prompt, ""], self._device)
        return TrainingPair(
            target=self._plate(wanted, nothing),
            plate=self._plate(seen, noise),
            mask=pipeline.encoded_mask(self._vae, seen.quadmask, count, "tri", None, _quiet)[
                0
            ].float(),
            hole=_hole(seen),
            text=text[0].float(),
            no_text=no_text[0].float(),
            moving_noise=self._moving(wanted, seed),
            record=PairRecord(**{**vars(record), "vae": self._print}),
        )

    def _plate(self, footage: Footage, noise: pipeline.Read) -> Tensor:
        return pipeline.encoded_plate(
            self._vae, footage.plate, noise, footage.length, None, _quiet
        )[0].float()

    def _moving(self, footage: Footage, seed: int) -> Tensor:
        shape = (footage.latents, 16, footage.height // CELL, footage.width // CELL)
        if self._pass_number == 1:
            return torch.zeros(0, *shape)
        fields = [
            picture_noise.aligned(
                (pictures(footage.plate(slice(n, n + 1)))[0] for n in range(footage.length)),
                (footage.height, footage.width),
                footage.length,
                seed * DRAWS + draw,
                self._flow,
                fineness=self.options.fineness,
            )[0]
            for draw in range(DRAWS)
        ]
        return torch.stack(fields).float()


def _hole(footage: Footage) -> Tensor:
    """Returns the share of removed and affected pixels, [latents, 1, h/8, w/8]; a latent's largest frame counts."""
    whole = (footage.quadmask(slice(0, footage.length))[0, 0] != 255).float()
    cells = torch.nn.functional.avg_pool2d(whole[:, None], CELL)
    groups = [cells[:1], *torch.split(cells[1:], FRAMES_PER_LATENT)]
    return torch.stack([group.amax(0) for group in groups])


def _quiet(done: int, of: int) -> None:
    """Progress inside a pair is not told."""
