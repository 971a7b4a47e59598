"""Removes the objects of held-out pairs with the base, and with a LoRA at several strengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from voidbridge_backend.engines.base import JobContext, LoraChoice
from voidbridge_backend.engines.evaluate_base import EvaluatedRemoval
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks, weights
from voidbridge_backend.engines.void.model.lora_file import LoraRecord
from voidbridge_backend.engines.void_lora.pairs import read_pair, records, target_clip
from voidbridge_protocol.operations.evaluate import EvaluateSettings
from voidbridge_protocol.operations.remove import RemoveSettings

from .encoded import EncodedJob, footage_of, held_pair


class VoidEvaluator:
    """Evaluates LoRAs for VOID with the engine `void` itself, so its options and memory plans hold."""

    name = "void"

    def __init__(self, void: Void) -> None:
        self.void = void

    def describe(self) -> dict[str, Any]:
        """Returns the engine's own entry. The LoRA has the strength of the last removal."""
        return self.void.describe()

    def removals(
        self,
        held: Sequence[Path],
        lora: Path,
        settings: EvaluateSettings,
        context: JobContext,
    ) -> Iterator[EvaluatedRemoval]:
        """See `Evaluator.removals`."""
        models = self.void.models
        weights.require(models, settings.pass_number)
        found = records(held, networks.vae_weights(models).fingerprint())
        removal = RemoveSettings(
            engine="void",
            passes=settings.pass_number,
            steps=settings.steps,
            seed=settings.seed,
        )
        self._use(lora, settings.values[0], removal, context)  # refuses the file before any work
        _warn_of_known(self.void.lora_records()[0], found, context)
        for strengths in ((None,), settings.values):
            for number, path in enumerate(held):
                self._use(lora, strengths[0], removal, context)
                pair = read_pair(path)
                footage = footage_of(pair, self.void.options.window)
                job = EncodedJob(self.void, footage, removal, context)
                job.pair = pair
                pictures = held_pair(job, number)
                for strength in strengths:
                    self._use(lora, strength, removal, context)
                    yield EvaluatedRemoval(pictures, strength, job.frames(footage.length))

    def _use(
        self, lora: Path, strength: float | None, removal: RemoveSettings, context: JobContext
    ) -> None:
        choices = [] if strength is None else [LoraChoice("lora frame 1", strength, lora)]
        self.void.use_loras(choices, removal, context)


def _warn_of_known(
    record: LoraRecord, held: Sequence[Mapping[str, Any]], context: JobContext
) -> None:
    """Warns of pairs whose clip the LoRA learned from: they were not held out of its training."""
    learned = {
        target_clip(clip)
        for clip in record.clips
        if isinstance(clip, Mapping) and clip.get("held") is False
    }
    known = [pair["name"] for pair in held if target_clip(pair) in learned - {""}]
    if known:
        context.warn(
            f"the LoRA was trained on the clips of {len(known)} of {len(held)} pairs, {known[0]} first; "
            "their figures say nothing about other shots"
        )
