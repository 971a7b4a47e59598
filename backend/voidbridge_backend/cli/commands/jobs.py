"""The commands about jobs, with parsed arguments: run, submit, fetch, status, cancel."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from voidbridge_backend.client import outputs, status_file
from voidbridge_backend.client.daemon_client import ClientOptions, open_client
from voidbridge_backend.client.job_run import PrepareSubmission, finish, run_job, show_request
from voidbridge_backend.client.listener import job_listener
from voidbridge_backend.client.progress import count, left, show_health, watched
from voidbridge_backend.client.submission import Submission, placed, result_sequence
from voidbridge_backend.log_format import one_line
from voidbridge_backend.sequences.patterns import FrameRange, Sequence
from voidbridge_protocol.errors import BadPattern
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import Request, Status

SAFE_START = 1001
"""The usual first frame of a plate, which leaves room before it."""
UNCUT = 10_000
"""Width of a table that goes to a program or a file, in columns: nothing is cut."""


def run(
    submission: PrepareSubmission,
    client_options: ClientOptions,
    output: str,
    as_json: bool,
    status: Path | None = None,
    frames_from_stdin: bool = False,
    overwrite: bool = False,
    openjd: bool = False,
) -> None:
    """Runs one job to its end: sends it, waits, writes the results and their sidecar.

    The file `status` tells its progress.

    With `frames_from_stdin` the host still renders frames, and standard input names the complete ones.
    """
    with (
        watched(as_json, openjd) as (shown, cancelled),
        status_file.kept(status, shown, cancelled) as view,
        contextlib.ExitStack() as stack,
    ):
        # Prepared here, so that the status file names what is wrong with the shot.
        prepared = submission(view, cancelled, stack)
        plate, *others = prepared.files.values()
        new = prepared.frames if prepared.operation == "generate" else None
        result = result_sequence(output, plate, others, new)
        notes = [*left_out_notes(prepared.files.values())]
        notes += new_frames_notes(plate, result, new) if new else ()
        for text in notes:
            view.message(f"note: {text}")
            view.event("warning", text=text)
        run_job(prepared, result, client_options, view, cancelled, frames_from_stdin, overwrite)


def left_out_notes(files: Iterable[Sequence]) -> Iterator[str]:
    """Names files that look like frames of a sequence, and are none of it because of the form of their number."""
    for sequence in files:
        if found := sequence.otherwise_spelled():
            (name, own), count = found[0], len(found)
            yield (
                f"{count} {'file is' if count == 1 else 'files are'} left out of {sequence}, as {name}: "
                f"the pattern spells that number {own}. Rename them, or name them by a pattern of their own"
            )


def new_frames_notes(plate: Sequence, result: Sequence, new: FrameRange) -> Iterator[str]:
    """What an artist has to know of the names of new frames."""
    begin = min(plate.scan(), default=0)
    if new.first < 0 <= begin:
        yield (
            f"{min(new.last, -1) - new.first + 1} of {len(new)} new frames have a number below 0, as "
            f"{result.path(new.first).name}, which many programs do not read; with --plate-start "
            f"{SAFE_START} the plate counts from {SAFE_START} and the new frames from "
            f"{new.first - begin + SAFE_START}"
        )
    if str(result) == str(plate):
        yield (
            f"the new frames {new} have the plate's name and folder, so they count as the plate's from now on: "
            "the same command again would go on from them"
        )


def submit(
    submission: Callable[[], Submission], client_options: ClientOptions, as_json: bool
) -> None:
    """Uploads and returns; prints the job's id on standard output."""
    with watched(as_json) as (view, cancelled):
        task = submission().task(
            lambda frame: Path(),
            lambda done, of: view.stage("reading files", done, of),
            cancelled.is_set,
        )
        show_request(task.request, view)
        with open_client(client_options) as client:
            outcome = client.run(task, job_listener(view, None, cancelled), wait=False)
        view.event("submitted", job=outcome.job)
    if not as_json:
        print(outcome.job)


def fetch(
    client_options: ClientOptions, job: str, output: str, as_json: bool, overwrite: bool = False
) -> None:
    """Waits for a job and writes its results, to result.FRAME.exr if `output` is a folder or empty.

    Raises `OverwritesSource` or, without `overwrite`, `OutputExists` before the first byte is written.
    """
    output = output or job + "/"
    if output.endswith(("/", "\\")) or os.path.isdir(output):
        output = os.path.join(output, "result.%04d.exr")
    result = Sequence.parse(output)
    began = time.monotonic()
    with watched(as_json) as (view, cancelled):
        with open_client(client_options) as client:
            request = client.request(job)
            if result.single is not None:
                result = replace(result, single=_only_frame(request, job, result))
            outputs.check_fetch(request, result, overwrite)
            frames = FrameRange(request.pictures[0], request.pictures[-1])
            outcome = client.fetch(
                job,
                placed(result, frames, request.sound),
                job_listener(view, result, cancelled, sound=request.sound),
            )
        finish(outcome, result, view, began)


def status(client_options: ClientOptions, job: str | None, as_json: bool) -> None:
    """Prints one job, or a table of all; above it the daemon's problems, if any."""
    with open_client(client_options) as client:
        health = client.health()
        found = [client.status(job)] if job else client.jobs()
    show_health(health)
    if as_json:
        for item in found:
            print(json.dumps(asdict(item)))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("job", "user", "engine", "state", "frames", "where"):
        table.add_column(column, no_wrap=column == "job", overflow="fold")
    for item in found:
        table.add_row(*cells_of(item))
    width = None if sys.stdout.isatty() else UNCUT
    Console(highlight=False, markup=False, soft_wrap=True, width=width).print(table)


def cells_of(status: Status) -> list[str]:
    """A job's cells of the table, without characters that would steer the terminal."""
    ready = f"{status.ready} of {status.frames}"
    cells = (status.job, status.user, status.engine, status.state.value, ready, _where(status))
    return [one_line(cell) for cell in cells]


def cancel(client_options: ClientOptions, job: str, as_json: bool) -> None:
    """Cancels a job; an ended one stays unchanged."""
    with open_client(client_options) as client:
        found = client.cancel(job)
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        print(f"job {job} is {found.state.value}")


def _only_frame(request: Request, job: str, result: Sequence) -> int:
    """Returns the frame of a one-frame job, for a result that is one file."""
    if len(request.pictures) != 1:
        raise BadPattern(f"{result} is one file, but job {job} has {len(request.pictures)} frames")
    return request.first


def _where(status: Status) -> str:
    if status.state is JobState.FAILED:
        return f"{status.text} [{status.code}]"
    if status.state is JobState.QUEUED:
        place = f"{status.ahead} ahead" if status.ahead else "next"
        return f"{place}: {status.text} [{status.code}]" if status.code else place
    if status.state in (JobState.RUNNING, JobState.RECEIVING):
        return status.stage + count(status.step, status.of) + left(status.seconds_left)
    return ""
