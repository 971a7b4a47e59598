"""Computes prompt embeddings once per prompt and caches them on disk.

The text encoder is by far the largest network and the one used most briefly. It is loaded for a new prompt, run
once, and released.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from voidbridge_protocol.errors import ModelMissing

from . import networks, weights
from .weights import BASE

TOKENS = 226
"""Token count to which every prompt is cut or padded. The model attends to the padding too."""

END, PAD = 1, 0
"""Ids of T5's end of text and padding."""


class Tokenizer:
    """T5's tokenizer, from its sentencepiece model alone."""

    def __init__(self, models: Path) -> None:
        self.path = models / BASE / "tokenizer" / "spiece.model"
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(self.path))
        except (OSError, RuntimeError) as error:
            raise ModelMissing(f"{self.path} is not a readable tokenizer: {error}") from error

    def ids(self, text: str) -> Tensor:
        """Returns [1, 226] int64: the text's ids, cut if too long, its end, padding."""
        found = self._pieces.encode(text)[: TOKENS - 1]
        return torch.tensor([[*found, END, *[PAD] * (TOKENS - 1 - len(found))]])


class PromptEmbeddings:
    """Embeddings [1, 226, width] of texts for the model in one folder, of one type.

    `cache` is the folder that keeps them between runs; without one, each new process computes its own. Devices
    round differently, so each kind of device has its own embeddings.
    """

    def __init__(self, models: Path, dtype: torch.dtype, cache: Path | None = None) -> None:
        self.models, self.dtype, self.cache = models, dtype, cache
        self._known: dict[tuple[str, str], Tensor] = {}
        self._origin = ""

    def embeddings(self, texts: Sequence[str], device: str) -> list[Tensor]:
        """Returns one embedding per text, on the CPU. Loads the encoder onto `device` for new texts only."""
        new = sorted(set(self.lacking(texts, device)))
        if new:
            self._known |= self._computed(new, device)
        return [self._known[text, device] for text in texts]

    def lacking(self, texts: Sequence[str], device: str) -> list[str]:
        """Returns the texts that still need the encoder on this device."""
        return [text for text in texts if self._kept(text, device) is None]

    def _kept(self, text: str, device: str) -> Tensor | None:
        if (text, device) not in self._known and self.cache is not None:
            path = self._path(self.cache, text, device)
            try:
                self._known[text, device] = load_file(path)["embedding"]
            except (OSError, SafetensorError, KeyError):
                return None  # Absent, or cut short by a crash or another version: computed again.
        return self._known.get((text, device))

    @torch.inference_mode()
    def _computed(self, texts: list[str], device: str) -> dict[tuple[str, str], Tensor]:
        tokenizer = Tokenizer(self.models)
        encoder: Any = networks.text_encoder(self.models, self.dtype).to(device)
        found = {(text, device): encoder(tokenizer.ids(text).to(device))[0].cpu() for text in texts}
        for (text, _), embedding in found.items():
            self._keep(text, device, embedding)
        return found

    def _keep(self, text: str, device: str, embedding: Tensor) -> None:
        if self.cache is None:
            return
        path = self._path(self.cache, text, device)
        unfinished = path.with_suffix(".tmp")
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            save_file({"embedding": embedding.contiguous()}, unfinished)
            unfinished.replace(path)
        except (OSError, SafetensorError):
            return  # A read-only models folder is normal; the embedding stays in memory.

    def _path(self, cache: Path, text: str, device: str) -> Path:
        """Named after everything that affects the numbers: text, tokenizer, encoder, type, device, torch."""
        if not self._origin:
            encoder = networks.text_weights(self.models).fingerprint()
            words = weights.fingerprint(self.models / BASE / "tokenizer" / "spiece.model")
            self._origin = f"{words} {encoder} {self.dtype} {torch.__version__}"
        name = f"{self._origin} {kind(device)} {text}"
        return cache / f"{hashlib.sha256(name.encode()).hexdigest()}.safetensors"


def kind(device: str) -> str:
    """Returns the name of a card, the same for each card of its kind; other devices are "cpu" and the like."""
    found = torch.device(device)
    return torch.cuda.get_device_name(found) if found.type == "cuda" else found.type
