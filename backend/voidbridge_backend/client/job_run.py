"""Runs one job from files to files: sends it, waits, and writes the results and their sidecar."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voidbridge_backend.sequences.patterns import FrameRange, Sequence
from voidbridge_protocol.job_task import JobTask, Listener, Outcome
from voidbridge_protocol.operations import operation
from voidbridge_protocol.transfer.atomic_files import write_whole
from voidbridge_protocol.transfer.upload import hash_file
from voidbridge_protocol.wire.messages import FrameFile, Request

from . import outputs
from .content_credentials import CredentialSigner, is_manifest
from .content_credentials import beside as signature_file
from .daemon_client import ClientOptions, open_client
from .file_names import named
from .listener import job_listener
from .progress import ProgressView
from .stream_input import StreamInput
from .submission import Submission, placed, sidecar, sound_file

PrepareSubmission = Callable[[ProgressView, threading.Event, contextlib.ExitStack], Submission]
"""Makes a job. Resources that it needs until the job has ended go onto the stack."""


def run_job(
    submission: Submission,
    result: Sequence,
    client_options: ClientOptions,
    view: ProgressView,
    cancelled: threading.Event,
    frames_from_stdin: bool = False,
    overwrite: bool = False,
    announce: bool = True,
) -> Outcome:
    """Runs a shot from files to files and reports progress.

    Without `announce` neither frames nor the end are told: the result is a step of something larger.
    Raises `OverwritesSource` or, without `overwrite`, `OutputExists` before anything is sent.
    """
    began = time.monotonic()
    outputs.check_run(submission, result, overwrite, frames_from_stdin)
    _check_credentials(submission, result, overwrite)
    client_options = client_options.sharing(
        folder for sequence in submission.files.values() for folder in sequence.folders
    )
    listener = job_listener(
        view,
        result if announce else None,
        cancelled,
        is_temporary=client_options.is_local,
        sound=submission.sound,
    )
    with named(submission.files):
        if frames_from_stdin:
            outcome = _run_streamed(submission, result, client_options, view, listener)
        else:
            task = job_task(submission, result, view, listener)
            with open_client(client_options) as client:
                outcome = client.run(task, listener)
    paths = {role: files.absolute() for role, files in submission.files.items()}
    finish(outcome, result, view, began, {"files": paths}, announce=announce)
    return outcome


def _check_credentials(submission: Submission, result: Sequence, overwrite: bool) -> None:
    """Raises `BadKey`, `BadSetting` or `OutputExists` before anything is sent, if new frames are to be signed."""
    if submission.operation != "generate" or submission.frames is None:
        return
    if CredentialSigner.configured() is None:
        return
    frames = range(submission.frames.first, submission.frames.last + 1)
    targets = [(signature_file(result.path(frame)), is_manifest) for frame in frames]
    outputs.check_files(targets, [], overwrite)


def _run_streamed(
    submission: Submission,
    result: Sequence,
    client_options: ClientOptions,
    view: ProgressView,
    listener: Listener,
) -> Outcome:
    with (
        open_client(client_options) as client,
        StreamInput(submission, open(0, "rb", 0, closefd=False)) as stream,
    ):
        ahead = client.prefetch(
            stream.more, listener, submission.operation, submission.settings.engine
        )
        view.event("rendered", sent=ahead.uploaded)
        outcome = client.run(job_task(submission, result, view, listener, stream.hash_of), listener)
    outcome.uploaded += ahead.uploaded
    outcome.imported += ahead.imported
    return outcome


def job_task(
    submission: Submission,
    result: Sequence,
    view: ProgressView,
    listener: Listener,
    hash_of: Callable[[Path, str, int], FrameFile] = hash_file,
) -> JobTask:
    def on_file(done: int, total: int) -> None:
        view.stage("reading files", done, total)

    place: Callable[[int], Path] = result.path
    if submission.frames and submission.sound is not None:
        place = placed(result, submission.frames, submission.sound)
    task = submission.task(place, on_file, listener.should_cancel, hash_of)
    outputs.check_sources(task.request, result)
    show_request(task.request, view)
    return task


def show_request(request: Request, view: ProgressView) -> None:
    plate = [file.frame for file in request.files if file.role == "plate"]
    handles = [0, 0]
    if any(role.name == "plate" and role.covers_all for role in operation(request.operation).roles):
        handles = [request.first - min(plate), max(plate) - request.last]
    frames = [request.pictures[0], request.pictures[-1]]
    view.event("request", frames=frames, handles=handles, files=len(request.files))
    if any(handles):
        view.message(
            "handles: {} frames before and {} after the range are seen too".format(*handles)
        )


def finish(
    outcome: Outcome,
    result: Sequence,
    view: ProgressView,
    began: float,
    more: dict[str, Any] | None = None,
    announce: bool = True,
) -> None:
    """Writes the sidecar, which holds the provenance and `more`; with `announce` it tells the end."""
    provenance = json.loads(outcome.provenance)
    has_sound = "sound" in provenance
    frames = FrameRange(outcome.frames[0], outcome.frames[-1] - has_sound)
    beside = sidecar(result, frames)
    if "credentials" in provenance and (signer := CredentialSigner.configured()):
        claims = provenance["credentials"]
        files = {name: result.path(int(name)) for name in claims["assets"]}
        claims["signature"] = signer.sign(claims, files)
    write_whole(beside, outputs.record_bytes({**provenance, **(more or {})}))
    if not announce:
        return
    is_preview = bool(provenance.get("preview"))
    seconds = time.monotonic() - began
    if has_sound:
        view.event("sound", path=str(sound_file(result, frames)))
    view.event(
        "done",
        job=outcome.job,
        frames=[frames.first, frames.last],
        result=str(result),
        sidecar=str(beside),
        from_store=outcome.from_store,
        preview=is_preview,
        uploaded=outcome.uploaded,
        imported=outcome.imported,
        warnings=list(outcome.warnings),
        seconds=round(seconds, 2),
    )
    how = "from the store" if outcome.from_store else f"in {seconds:.1f} s"
    view.message(f"done {how}: {result} {frames}" + (", PREVIEW QUALITY" if is_preview else ""))
