"""Runs the operation `evaluate`: held-out pairs and a LoRA in, figures and a contact sheet out."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from voidbridge_backend.engines.base import JobContext
from voidbridge_backend.engines.evaluate_base import Evaluator
from voidbridge_backend.quality import strength_sheet
from voidbridge_backend.render.job import (
    Announce,
    NotedContext,
    RenderJob,
    check_files,
    provenance_of,
    write_provenance,
)
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.evaluate import SHEET, EvaluateSettings
from voidbridge_protocol.transfer.atomic_files import write_whole
from voidbridge_protocol.wire.values import ResultFile

from .comparison import Comparison


def run(
    order: RenderJob, engine: Evaluator, watch: JobContext, announce: Announce
) -> dict[str, Any]:
    """Evaluates, and writes 1.exr (the sheet, PNG): the spool's name of the result.

    Returns the provenance, with the figures, also written. Raises `RequestError` or `JobError`.
    """
    settings = order.request.settings
    assert isinstance(settings, EvaluateSettings)
    if (order.request.first, order.request.last) != (SHEET, SHEET):
        raise BadSetting(f"an evaluation has one result, {SHEET}")
    watch = noted = NotedContext(_Once(watch))
    held, lora = _files(order, watch)
    comparison = Comparison(settings)
    removals = engine.removals(held, lora, settings, watch)
    of = len(held) * (1 + len(settings.values))
    for done, removal in enumerate(removals):
        watch.step("comparing", done, of)
        comparison.add(removal)
    watch.step("comparing", of, of)
    data = strength_sheet.draw(comparison.title, comparison.rows())
    write_whole(order.folder / f"{SHEET}.exr", data)
    announce(ResultFile(SHEET, hashlib.sha256(data).hexdigest(), len(data)))
    provenance = {**provenance_of(order, engine), "evaluation": comparison.described()}
    provenance["notes"] = noted.notes
    write_provenance(order, provenance)
    return provenance


def _files(order: RenderJob, watch: JobContext) -> tuple[list[Path], Path]:
    check_files(order, lambda done, of: watch.step("checking the pairs", done, of))
    files = sorted(order.request.files, key=lambda file: file.frame)
    held = [order.source(file.sha256) for file in files if file.role == "held"]
    loras = [order.source(file.sha256) for file in files if file.role == "lora"]
    if len(loras) != 1:
        raise BadSetting(f"{len(loras)} LoRAs; an evaluation has one")
    return held, loras[0]


class _Once:
    """A job context that tells each warning once, although every removal may repeat it."""

    def __init__(self, context: JobContext) -> None:
        self.step, self._warn, self._told = context.step, context.warn, set[str]()

    def warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._warn(text)
