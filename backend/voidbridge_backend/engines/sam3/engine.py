"""The engine `sam3`: the tracker for clicks, and the detector with its own tracker for nouns.

The second network is loaded with the first noun. It has the same image encoder, but its weights are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from voidbridge_backend.engines.mask_base import Pictures, Prompts, Tracked
from voidbridge_backend.engines.sam2.engine import HALF, SamTracker
from voidbridge_backend.engines.sam2.weights import HINT, load
from voidbridge_protocol.errors import ModelMissing

from .nouns import NounTracker


class Sam3(SamTracker):
    """Tracks objects that are clicked on or named."""

    def __init__(self, network: Any, session: type[Any], device: str, folder: Path) -> None:
        super().__init__("sam3", network, session, device, folder.name, HALF)
        self._folder = folder
        self._place = device
        self._nouns: NounTracker | None = None

    def track(
        self,
        pictures: Pictures,
        frames: Sequence[int],
        prompts: Prompts,
        heartbeat: Callable[[], None],
    ) -> Iterator[Tracked]:
        """See `Masker.track`. A noun gives everything in the shot that is one, as one matte.

        Raises `BadSetting` for a noun that is too long, `ModelMissing` for weights without a detector.
        """
        if not prompts.noun:
            yield from super().track(pictures, frames, prompts, heartbeat)
            return
        if self._nouns is None:
            self._nouns = self._loaded()
        yield from self._nouns.track(prompts.noun, pictures, frames, heartbeat)

    def _loaded(self) -> NounTracker:
        from transformers import AutoTokenizer, Sam3VideoModel

        network = load(self._folder, Sam3VideoModel, ("sam3_video",), self._place)
        words = self._folder / "tokenizer.json"
        if not words.is_file():  # transformers would make an empty tokenizer
            raise ModelMissing(f"sam3 needs a tokenizer for nouns, and {words} is not there", HINT)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelMissing(
                f"the tokenizer in {self._folder} cannot be loaded: {str(error)[:200]}", HINT
            ) from error
        return NounTracker(network, tokenizer, self.prepared, self._device)
