"""Runs an evaluation of a LoRA on the held-out pairs of its dataset: sends them, waits, writes sheet and record."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from voidbridge_backend.client.daemon_client import ClientOptions, open_client
from voidbridge_backend.client.listener import job_listener
from voidbridge_backend.client.outputs import check_files, is_sidecar, record_bytes
from voidbridge_backend.client.progress import ProgressView
from voidbridge_backend.client.submission import SIDECAR, Submission
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_backend.sequences.patterns import FrameRange, ListedFiles
from voidbridge_protocol.errors import BadLora, BadPair
from voidbridge_protocol.operations.evaluate import SHEET, EvaluateSettings
from voidbridge_protocol.transfer.atomic_files import write_whole

from .dataset_list import FILE, ListedPair, check_unchanged, read_list

PICTURE = ".evaluation.png"


def evaluate(
    dataset: Path,
    settings: EvaluateSettings,
    lora: Path,
    client_options: ClientOptions,
    view: ProgressView,
    cancelled: threading.Event,
    overwrite: bool = False,
    force: bool = False,
    sources: Iterable[Path] = (),
) -> list[dict[str, Any]]:
    """Writes NAME.evaluation.png and NAME.evaluation.voidbridge.json beside NAME.safetensors.

    Returns the rows of the table: means over the held-out pairs. `sources` are files that are never replaced.
    Raises `BadPair`, `BadLora`, `OverwritesSource`, `OutputExists`, and what the daemon answers.
    """
    sheet = lora.with_suffix(PICTURE)
    record = sheet.with_suffix(SIDECAR)
    pairs = _held(dataset, lora)
    paths = [dataset / pair.file for pair in pairs]
    check_files(
        [(sheet, is_marked), (record, is_sidecar)],
        [lora, dataset / FILE, *paths, *sources],
        overwrite,
    )
    files = {
        "held": ListedFiles.of(dict(enumerate(paths, 1))),
        "lora": ListedFiles.of({1: lora}),
    }
    submission = Submission(
        {**files}, settings, FrameRange(SHEET, SHEET), operation="evaluate", force=force
    )
    listener = job_listener(view, None, cancelled, is_temporary=client_options.is_local)
    task = submission.task(
        lambda number: sheet,
        lambda done, of: view.stage("reading pairs", done, of),
        listener.should_cancel,
    )
    check_unchanged(dataset, pairs, task.request.files)
    with open_client(client_options.sharing([dataset, lora.parent])) as client:
        outcome = client.run(task, listener)
    provenance = json.loads(outcome.provenance)
    write_whole(record, record_bytes(provenance))
    rows: list[dict[str, Any]] = provenance["evaluation"]["rows"]
    view.event(
        "evaluated",
        job=outcome.job,
        lora=str(lora),
        sheet=str(sheet),
        record=str(record),
        rows=rows,
    )
    return rows


def _held(dataset: Path, lora: Path) -> list[ListedPair]:
    """Returns the held-out pairs. Raises `BadLora` without a LoRA, and `BadPair` without such pairs."""
    if not lora.is_file():
        raise BadLora(
            f"there is no LoRA {lora}", "Train it first: voidbridge train, without --evaluate."
        )
    pairs = [pair for pair in read_list(dataset) if pair.held]
    if not pairs:
        raise BadPair(
            f"{dataset} holds no pair out, so nothing that the LoRA never saw can be compared",
            "Add a second clip to the show, and make the dataset again.",
        )
    return pairs
