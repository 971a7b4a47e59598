"""A training in the processes of accelerate's launcher, without a daemon: each process drives one card.

The processes share no socket with a daemon's worker, whose sandbox has none. Only the first one writes and reports.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

from voidbridge_backend.client.outputs import check_foreign, is_sidecar
from voidbridge_backend.client.progress import ProgressView
from voidbridge_backend.client.training.run import TrainingPlan, is_lora
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_backend.render import train as rendering
from voidbridge_backend.render.job import RenderJob
from voidbridge_backend.worker.daemon_pipes import die_with_parent
from voidbridge_backend.worker.process import translated
from voidbridge_protocol.errors import JobCancelled, VoidbridgeError
from voidbridge_protocol.operations.train import LORA, PLOT, TrainSettings

RECORD = "provenance.json"
JOB = "launched"
"""In place of a job's id in the record: no daemon gave one."""


class LaunchedContext:
    """Reports to the view of the first process; `JobCancelled` after Ctrl-C or SIGTERM in any process."""

    def __init__(self, view: ProgressView | None, cancelled: threading.Event) -> None:
        self._view, self._cancelled = view, cancelled

    def step(self, stage: str, done: int, total: int) -> None:
        if self._cancelled.is_set():
            raise JobCancelled("the training was stopped")
        if self._view:
            self._view.stage(stage, done, total)

    def warn(self, text: str) -> None:
        if self._view:
            self._view.message(f"note: {text}")
            self._view.event("warning", text=text)


def train(
    plan: TrainingPlan,
    dataset: Path,
    models: Path,
    device: str,
    view: ProgressView,
    cancelled: threading.Event,
) -> VoidbridgeError | None:
    """Trains with all processes of the launcher, and writes the files of `plan`.

    `device` is "cuda" or "cpu". Checkpoints stand in a hidden folder beside the LoRA until it is there; the same
    command goes on from them. Raises the error of any process in the first one. In the others it is returned.
    """
    die_with_parent()
    folder = _folder(plan.places[LORA])
    from voidbridge_backend.engines.void_lora.engine import VoidTrainer, launched_group

    group = launched_group(device)
    context = LaunchedContext(view if group.leads else None, cancelled)
    try:
        provenance = _trained(plan, dataset, VoidTrainer(models, device, group), context, folder)
        group.finish()
    except Exception as error:  # the others would wait for this process
        told = translated(error)
        group.tell(told)
        if group.leads:
            raise told from error
        return told
    group.accelerator.end_training()
    if group.leads:
        _publish(plan, folder)
        plan.finish(provenance, view)
    return None


def _trained(
    plan: TrainingPlan, dataset: Path, trainer: Any, context: LaunchedContext, folder: Path
) -> dict[str, Any]:
    """Trains; the first process writes the results into `folder`. Returns the record, empty in the others."""

    def should_cancel() -> bool:
        context.step("reading pairs", 0, 0)
        return False

    task = plan.task(
        dataset, lambda done, of: context.step("reading pairs", done, of), should_cancel
    )
    paths = dict(zip((file.sha256 for file in task.request.files), task.sources, strict=True))
    order = RenderJob(JOB, task.request, paths.__getitem__, folder)
    if trainer.group.leads:
        folder.mkdir(parents=True, exist_ok=True)
        return rendering.run(order, trainer, context, lambda _: None)
    settings = task.request.settings
    assert isinstance(settings, TrainSettings)
    pairs, held = rendering.pairs_of(order)
    trainer.train(pairs, held, folder / rendering.CHECKPOINT, settings, context)
    return {}


def _folder(lora: Path) -> Path:
    """Returns the folder of a training on its way. Raises `OutputExists` if files of others have its names."""
    folder = lora.with_name(f".{lora.stem}.training")
    check_foreign(
        [
            (folder / rendering.CHECKPOINT, is_lora),
            (folder / f"{LORA}.exr", is_lora),
            (folder / f"{PLOT}.exr", is_marked),
            (folder / RECORD, is_sidecar),
        ],
        "Choose another name with -o.",
    )
    return folder


def _publish(plan: TrainingPlan, folder: Path) -> None:
    for number, place in plan.places.items():
        os.replace(folder / f"{number}.exr", place)
    (folder / RECORD).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a file of somebody else may stand there
        folder.rmdir()
