"""Runs the operation `train`: encoded pairs in, a LoRA and a picture of its losses out."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from voidbridge_backend.engines.base import JobContext
from voidbridge_backend.engines.train_base import Trainer
from voidbridge_backend.quality.loss_plot import plot
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.train import LORA, PLOT, TrainSettings
from voidbridge_protocol.transfer.atomic_files import write_whole
from voidbridge_protocol.wire.values import ResultFile

from .job import Announce, NotedContext, RenderJob, check_files, provenance_of, write_provenance

CHECKPOINT = "checkpoint.safetensors"
"""In the job's folder, from which a killed training goes on. It goes when the training has ended."""


def pairs_of(order: RenderJob) -> tuple[list[Path], list[Path]]:
    """Returns the files of the pairs to train on and of the held-out ones, in the order of their numbers."""
    files = sorted(order.request.files, key=lambda file: file.frame)
    pairs, held = (
        [order.source(file.sha256) for file in files if file.role == role]
        for role in ("pair", "held")
    )
    return pairs, held


def run(order: RenderJob, engine: Trainer, watch: JobContext, announce: Announce) -> dict[str, Any]:
    """Trains, and writes 1.exr (the LoRA, safetensors) and 2.exr (the plot, PNG): the spool's names of results.

    Returns the provenance, also written. Raises `RequestError` or `JobError`.
    """
    settings = order.request.settings
    assert isinstance(settings, TrainSettings)
    if (order.request.first, order.request.last) != (LORA, PLOT):
        raise BadSetting(f"a training has the results {LORA} and {PLOT}")
    watch = noted = NotedContext(watch)
    check_files(order, lambda done, of: watch.step("checking the pairs", done, of))
    pairs, held = pairs_of(order)
    if not held:
        watch.warn("no pair is held out: nothing measures the training, and it does not stop early")
    checkpoint = order.folder / CHECKPOINT
    trained = engine.train(pairs, held, checkpoint, settings, watch)
    provenance = {**provenance_of(order, engine), "training": dict(trained.history)}
    for number, data in (
        (LORA, trained.data),
        (PLOT, plot(trained.history["loss"], trained.history["held"], settings.show)),
    ):
        write_whole(order.folder / f"{number}.exr", data)
        announce(ResultFile(number, hashlib.sha256(data).hexdigest(), len(data)))
    provenance["notes"] = noted.notes
    write_provenance(order, provenance)
    checkpoint.unlink(missing_ok=True)
    return provenance
