"""Runs a training from a dataset to a LoRA: sends the pairs, waits, writes the file, the plot and the record."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voidbridge_backend.client.daemon_client import ClientOptions, open_client
from voidbridge_backend.client.listener import job_listener
from voidbridge_backend.client.outputs import check_files, is_sidecar, record_bytes
from voidbridge_backend.client.progress import ProgressView
from voidbridge_backend.client.submission import SIDECAR, Submission
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_backend.sequences.patterns import FrameRange, ListedFiles
from voidbridge_backend.sequences.patterns import Sequence as FileSequence
from voidbridge_protocol.errors import OutputFormat
from voidbridge_protocol.job_task import JobTask, Outcome
from voidbridge_protocol.operations.train import LORA, PLOT, TrainSettings
from voidbridge_protocol.transfer.atomic_files import write_whole
from voidbridge_protocol.transfer.hashing import sha256_of

from .dataset_list import FILE, ListedPair, check_unchanged, is_pair_record, read_list, record_of

ENDING = ".safetensors"
OTHER_TRAINING = (
    "Only the same training replaces its LoRA. Choose another name with -o, or add --overwrite."
)


def targets(lora: Path) -> dict[int, Path]:
    """Returns the files of the results, by number. Raises `OutputFormat` for another ending than safetensors."""
    if lora.suffix != ENDING:
        raise OutputFormat(f"{lora} does not end in {ENDING}", f"Name the LoRA NAME{ENDING}.")
    return {LORA: lora, PLOT: lora.with_suffix(".png")}


@dataclass(frozen=True)
class TrainingPlan:
    """A checked training: its job, and where its results go."""

    submission: Submission
    places: Mapping[int, Path]
    record: Path
    pairs: Sequence[ListedPair]

    def task(
        self, dataset: Path, on_file: Callable[[int, int], None], should_cancel: Callable[[], bool]
    ) -> JobTask:
        """Hashes the pairs and makes the request. Raises `BadPair` if one changed since the dataset was made."""
        task = self.submission.task(lambda number: self.places[number], on_file, should_cancel)
        check_unchanged(dataset, self.pairs, task.request.files)
        return task

    def finish(self, provenance: Mapping[str, Any], view: ProgressView) -> None:
        """Writes the record beside the LoRA, and tells that it is there."""
        results = {path.name: sha256_of(path)[0] for path in self.places.values()}
        write_whole(self.record, record_bytes({**provenance, "results": results}))
        lora, plot = self.places[LORA], self.places[PLOT]
        view.event(
            "trained",
            job=provenance["job"],
            lora=str(lora),
            plot=str(plot),
            record=str(self.record),
        )
        history = provenance["training"]
        view.message(f"done: {lora}, the LoRA of step {history['best_step'] or history['step']}")


def planned(
    dataset: Path,
    settings: TrainSettings,
    lora: Path,
    overwrite: bool = False,
    force: bool = False,
    sources: Iterable[Path] = (),
) -> TrainingPlan:
    """Checks the dataset and the places of LORA, its plot (.png) and its record (.voidbridge.json).

    `sources` are files that are never replaced, besides the pairs. Without `overwrite`, files that are there are
    replaced only if this very training made them: same pairs, same settings, not changed since.
    Raises `BadPair`, `OverwritesSource`, `OutputExists`, `OutputFormat`.
    """
    places = targets(lora)
    record = lora.with_suffix(SIDECAR)
    pairs = read_list(dataset)
    roles = _roles(pairs)
    made = _made_before(record, roles, settings)
    check_files(
        [(path, lambda path: _is_made(path, made)) for path in places.values()]
        + [(record, lambda path: bool(made) and path == record)],
        [dataset / FILE, *(dataset / pair.file for pair in pairs), *sources],
        overwrite,
        OTHER_TRAINING,
    )
    files: dict[str, FileSequence] = {
        role: ListedFiles.of({n: dataset / pair.file for n, pair in found.items()})
        for role, found in roles.items()
    }
    submission = Submission(files, settings, FrameRange(LORA, PLOT), operation="train", force=force)
    return TrainingPlan(submission, places, record, pairs)


def train(
    dataset: Path,
    plan: TrainingPlan,
    client_options: ClientOptions,
    view: ProgressView,
    cancelled: threading.Event,
) -> Outcome:
    """Trains with a daemon, and writes the files of `plan`. Raises what the daemon answers."""
    listener = job_listener(view, None, cancelled, is_temporary=client_options.is_local)
    task = plan.task(
        dataset, lambda done, of: view.stage("reading pairs", done, of), listener.should_cancel
    )
    with open_client(client_options.sharing([dataset])) as client:
        outcome = client.run(task, listener)
    plan.finish(json.loads(outcome.provenance), view)
    return outcome


def _roles(pairs: Iterable[ListedPair]) -> dict[str, dict[int, ListedPair]]:
    """The pairs by role and number, as the daemon gets them; a role without pairs is left out."""
    listed = list(pairs)
    found = {
        role: dict(enumerate([pair for pair in listed if pair.held == held], 1))
        for role, held in (("pair", False), ("held", True))
    }
    return {role: numbered for role, numbered in found.items() if numbered}


def _made_before(
    record: Path, roles: Mapping[str, Mapping[int, ListedPair]], settings: TrainSettings
) -> dict[str, str]:
    """SHA-256 by name of the files that `record` says this very training made; empty for another training."""
    if not is_sidecar(record):
        return {}
    found: dict[str, Any] = json.loads(record.read_bytes())
    sources = {f"{role}/{n}": pair.sha256 for role, of in roles.items() for n, pair in of.items()}
    if (found.get("sources"), found.get("settings")) != (sources, asdict(settings)):
        return {}
    results = found.get("results")
    return dict(results) if isinstance(results, dict) else {}


def _is_made(path: Path, made: Mapping[str, str]) -> bool:
    """Whether `made` lists the file as it is, or a stopped command left it under a temporary name."""
    if path.suffix == ".tmp":
        return is_lora(path) or is_marked(path)
    try:
        return sha256_of(path)[0] == made.get(path.name)
    except OSError:
        return False


def is_lora(path: Path) -> bool:
    """Returns True for a safetensors file with a record of this tool that is no pair. It may be half."""
    record = record_of(path)
    return record is not None and not is_pair_record(record)
