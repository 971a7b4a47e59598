"""Runs a training from a dataset to a LoRA: sends the pairs, waits, writes the file, the plot and the record."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path

from voidbridge_backend.client.daemon_client import ClientOptions, open_client
from voidbridge_backend.client.listener import job_listener
from voidbridge_backend.client.outputs import check_files, is_sidecar
from voidbridge_backend.client.progress import ProgressView
from voidbridge_backend.client.submission import SIDECAR, Submission
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_backend.sequences.patterns import FrameRange, ListedFiles, Sequence
from voidbridge_protocol.errors import BadPair, OutputFormat
from voidbridge_protocol.job_task import Outcome
from voidbridge_protocol.operations.train import LORA, PLOT, TrainSettings
from voidbridge_protocol.transfer.atomic_files import write_whole

from .dataset_list import FILE, is_pair_record, read_list, record_of

ENDING = ".safetensors"


def targets(lora: Path) -> dict[int, Path]:
    """Returns the files of the results, by number. Raises `OutputFormat` for another ending than safetensors."""
    if lora.suffix != ENDING:
        raise OutputFormat(f"{lora} does not end in {ENDING}", f"Name the LoRA NAME{ENDING}.")
    return {LORA: lora, PLOT: lora.with_suffix(".png")}


def train(
    dataset: Path,
    settings: TrainSettings,
    lora: Path,
    client_options: ClientOptions,
    view: ProgressView,
    cancelled: threading.Event,
    overwrite: bool = False,
    force: bool = False,
    sources: Iterable[Path] = (),
) -> Outcome:
    """Trains and writes LORA, its plot (.png) and its record (.voidbridge.json).

    `sources` are files that are never replaced, besides the pairs.
    Raises `BadPair`, `OverwritesSource`, `OutputExists`, `OutputFormat`, and what the daemon answers.
    """
    places = targets(lora)
    record = lora.with_suffix(SIDECAR)
    pairs = read_list(dataset)
    check_files(
        [(lora, is_lora), (places[PLOT], is_marked), (record, is_sidecar)],
        [dataset / FILE, *(dataset / pair.file for pair in pairs), *sources],
        overwrite,
    )
    files: dict[str, Sequence] = {}
    for role, held in (("pair", False), ("held", True)):
        chosen = [dataset / pair.file for pair in pairs if pair.held == held]
        if chosen:
            files[role] = ListedFiles.of(dict(enumerate(chosen, 1)))
    submission = Submission(files, settings, FrameRange(LORA, PLOT), operation="train", force=force)
    listener = job_listener(view, None, cancelled, is_temporary=client_options.is_local)
    task = submission.task(
        lambda number: places[number],
        lambda done, of: view.stage("reading pairs", done, of),
        listener.should_cancel,
    )
    hashes = {pair.sha256 for pair in pairs}
    if changed := [file for file in task.request.files if file.sha256 not in hashes]:
        raise BadPair(
            f"the {changed[0].role} {changed[0].frame} of {dataset} changed since it was made"
        )
    with open_client(client_options.sharing([dataset])) as client:
        outcome = client.run(task, listener)
    provenance = json.loads(outcome.provenance)
    write_whole(record, json.dumps(provenance, indent=1).encode() + b"\n")
    view.event(
        "trained", job=outcome.job, lora=str(lora), plot=str(places[PLOT]), record=str(record)
    )
    history = provenance["training"]
    view.message(f"done: {lora}, the LoRA of step {history['best_step'] or history['step']}")
    return outcome


def is_lora(path: Path) -> bool:
    """Returns True for a safetensors file with a record of this tool that is no pair."""
    record = record_of(path)
    return record is not None and not is_pair_record(record)
