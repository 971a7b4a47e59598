"""The commands of `voidbridge`, one function each, with parsed arguments."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from voidbridge_backend.config import Config, Setting, count_cards, devices
from voidbridge_backend.sequences.patterns import FrameRange, Sequence
from voidbridge_protocol import __version__
from voidbridge_protocol.atomic_files import write_whole
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import (
    BadPattern,
    BadSetting,
    JobCancelled,
    VoidbridgeError,
    from_code,
)
from voidbridge_protocol.job_task import JobTask, Listener, Outcome
from voidbridge_protocol.keys import Keys
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.messages import FrameFile, Request, Status
from voidbridge_protocol.shared_files import is_text
from voidbridge_protocol.upload import hash_file

from . import local_daemon, outputs, status_file
from .file_names import named
from .progress import (
    JsonView,
    LogView,
    ProgressView,
    count,
    left,
    progress_view,
    show_health,
    show_status,
)
from .stream_input import StreamInput
from .submission import Submission, result_sequence, sidecar

DEFAULT_DAEMON = Config().listen
MODEL_ACTIONS = ("list", "fetch", "prepare", "make-tiny")
UNCUT = 10_000
"""Column limit of a table for a program or a file."""


@dataclass(frozen=True)
class ClientOptions:
    """The daemon to use, and the client's identity."""

    address: str
    """Empty: a local daemon if there is a `config` for it, otherwise the default address."""
    user: str
    config: Config | None = None
    keys: Keys | None = None

    @property
    def is_embedded(self) -> bool:
        """True for a temporary local daemon."""
        return not self.address and self.config is not None

    def sharing(self, folders: Iterable[Path]) -> ClientOptions:
        """Shares these folders with a local daemon, which has only this user's rights."""
        if self.config is None or not self.is_embedded or os.name != "posix":
            return self
        paths = (os.path.abspath(folder) for folder in folders)
        ours = (path for path in paths if "=" not in path and is_text(path))
        shares = dict.fromkeys((*self.config.shares, *ours))
        listable = tuple(
            share for share in shares if "," not in share
        )  # a comma would split the list
        return replace(self, config=replace(self.config, shares=listable))


Prepare = Callable[[ProgressView, threading.Event, contextlib.ExitStack], Submission]
"""Makes a job. What it needs until the job has ended goes onto the stack."""


def run(
    submission: Prepare,
    client_options: ClientOptions,
    output: str,
    as_json: bool,
    status: Path | None = None,
    growing: bool = False,
    overwrite: bool = False,
) -> None:
    """Removes, waits, writes the results and their sidecar; keeps the file `status` up to date.

    With `growing` the host still renders frames, and standard input names the complete ones.
    """
    with (
        watched(as_json) as (shown, cancelled),
        status_file.kept(status, shown, cancelled) as view,
        contextlib.ExitStack() as stack,
    ):
        assignment = submission(
            view, cancelled, stack
        )  # here, so that the status file says what is wrong with it
        plate, *others = assignment.files.values()
        result = result_sequence(output, plate, others)
        remove(assignment, result, client_options, view, cancelled, growing, overwrite)


def remove(
    assignment: Submission,
    result: Sequence,
    client_options: ClientOptions,
    view: ProgressView,
    cancelled: threading.Event,
    growing: bool = False,
    overwrite: bool = False,
    announce: bool = True,
) -> Outcome:
    """Runs a shot from files to files and reports progress.

    Without `announce` neither frames nor the end are told: the result is a step of something larger.
    Raises `OverwritesSource` or, without `overwrite`, `OutputExists` before anything is sent.
    """
    began = time.monotonic()
    outputs.check_run(assignment, result, overwrite, growing)
    client_options = client_options.sharing(
        sequence.folder for sequence in assignment.files.values()
    )
    listener = _listener(
        view, result if announce else None, cancelled, own=client_options.is_embedded
    )
    with named(assignment.files):
        if growing:
            outcome = _run_growing(assignment, result, client_options, view, listener)
        else:
            task = _task(assignment, result, view, listener)
            with _client(client_options) as client:
                outcome = client.run(task, listener)
    paths = {role: os.path.abspath(str(files)) for role, files in assignment.files.items()}
    _finish(outcome, result, view, began, {"files": paths}, announce=announce)
    return outcome


def _run_growing(
    assignment: Submission,
    result: Sequence,
    client_options: ClientOptions,
    view: ProgressView,
    listener: Listener,
) -> Outcome:
    with (
        _client(client_options) as client,
        StreamInput(assignment, open(0, "rb", 0, closefd=False)) as growing,
    ):
        ahead = client.prefetch(
            growing.more, listener, assignment.operation, assignment.settings.engine
        )
        view.event("rendered", sent=ahead.uploaded)
        outcome = client.run(_task(assignment, result, view, listener, growing.hash_of), listener)
    outcome.uploaded += ahead.uploaded
    outcome.imported += ahead.imported
    return outcome


def _task(
    assignment: Submission,
    result: Sequence,
    view: ProgressView,
    listener: Listener,
    hash_of: Callable[[Path, str, int], FrameFile] = hash_file,
) -> JobTask:
    def on_file(done: int, of: int) -> None:
        view.stage("reading frames", done, of)

    task = assignment.task(result.path, on_file, listener.should_cancel, hash_of)
    outputs.check_sources(task.request, result)
    _show_request(task.request, view)
    return task


def _show_request(request: Request, view: ProgressView) -> None:
    plate = [file.frame for file in request.files if file.role == "plate"]
    handles = [request.first - min(plate), max(plate) - request.last] if plate else [0, 0]
    frames = [request.first, request.last]
    view.event("request", frames=frames, handles=handles, files=len(request.files))
    if any(handles):
        view.message(
            "handles: {} frames before and {} after the range are seen too".format(*handles)
        )


def submit(
    submission: Callable[[], Submission], client_options: ClientOptions, as_json: bool
) -> None:
    """Uploads and returns; prints the job's id on standard output."""
    with watched(as_json) as (view, cancelled):
        task = submission().task(
            lambda frame: Path(),
            lambda done, of: view.stage("reading frames", done, of),
            cancelled.is_set,
        )
        _show_request(task.request, view)
        with _client(client_options) as client:
            outcome = client.run(task, _listener(view, None, cancelled), wait=False)
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
        with _client(client_options) as client:
            if result.single is not None:
                result = replace(result, single=_only_frame(client, job, result))
            outputs.check_fetch(client.request(job), result, overwrite)
            outcome = client.fetch(job, result.path, _listener(view, result, cancelled))
        _finish(outcome, result, view, began)


def status(client_options: ClientOptions, job: str | None, as_json: bool) -> None:
    """Prints one job, or a table of all; above it the daemon's problems, if any."""
    with _client(client_options) as client:
        health = client.health()
        found = [client.status(job)] if job else client.jobs()
    show_health(health)
    if as_json:
        for item in found:
            print(json.dumps(asdict(item)))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("job", "user", "engine", "state", "frames", "where"):
        table.add_column(column, no_wrap=column == "job", overflow="fold")
    for item in found:
        ready = f"{item.ready} of {item.frames}"
        table.add_row(item.job, item.user, item.engine, item.state.value, ready, _where(item))
    width = None if sys.stdout.isatty() else UNCUT
    Console(highlight=False, markup=False, soft_wrap=True, width=width).print(table)


def cancel(client_options: ClientOptions, job: str, as_json: bool) -> None:
    """Cancels a job; an ended one stays unchanged."""
    with _client(client_options) as client:
        found = client.cancel(job)
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        print(f"job {job} is {found.state.value}")


def serve(config: Config, until_stdin_closes: bool) -> None:
    """Runs the daemon."""
    from voidbridge_backend.daemon.main import serve as serve_until_stopped

    serve_until_stopped(config, until_stdin_closes=until_stdin_closes)


def demo(client_options: ClientOptions, folder: str, as_json: bool) -> None:
    """Renders the demo shot, removes its object, measures and draws."""
    from voidbridge_backend.tools.demo import demo as demonstration

    with watched(as_json) as (view, cancelled):
        demonstration.show(
            Path(folder), view, lambda a, r: remove(a, r, client_options, view, cancelled)
        )


def report(
    files: Mapping[str, Sequence],
    chosen: Mapping[str, Any],
    picture: str,
    as_json: bool,
    overwrite: bool = False,
) -> None:
    """Measures a result from its files and prints the numbers on standard output.

    `files` are by the names of `report.Files`. `chosen` are settings that go before those that the result was made
    with. Raises `OverwritesSource` or, without `overwrite`, `OutputExists` before anything is measured.
    """
    from voidbridge_backend.quality import report

    if "affected" not in files and (affected := report.affected_of(files["result"])):
        files = {**files, "affected": affected}
    target = Path(picture) if picture else None
    if target:
        outputs.check_picture(target, files.values(), overwrite)
    settings = report.settings_of(files["result"], dict(chosen))
    with watched(as_json) as (view, cancelled):

        def on_frame(done: int, of: int) -> None:
            if cancelled.is_set():
                raise JobCancelled("cancelled while the frames were being measured")
            view.stage("measuring", done, of)

        verdict = report.review(report.Files(**files), settings, target, on_frame)
        view.event("quality", **verdict.described())
    if not as_json:
        print("\n".join(verdict.lines()))


def doctor(client_options: ClientOptions, as_json: bool) -> VoidbridgeError | None:
    """Checks the installation and prints what it finds; returns the error that keeps it from working."""
    from voidbridge_backend.tools.doctor.doctor import examine

    return examine(client_options.config or Config(), lambda: _client(client_options), as_json)


def describe(files: list[str], ocio: str, as_json: bool) -> None:
    """Prints what each of these sequences is. Raises `RequestError`."""
    from voidbridge_backend.tools.doctor.describe_files import show

    show(files, as_json, ocio)


def support_bundle(
    target: Path,
    settings: list[Setting],
    log: Path | None,
    client_options: ClientOptions,
    as_json: bool,
) -> None:
    """Writes one file for support."""
    from voidbridge_backend.tools.support_bundle import bundle

    config = client_options.config or Config()
    client_options = replace(client_options, address=client_options.address or config.listen)
    bundle.bundle(target, config, settings, log, lambda: _client(client_options))
    if as_json:
        JsonView().event("bundle", path=str(target))
    else:
        print(target)
        LogView().message("Paths, names and keys were removed. Check the file before you send it.")


def models(action: str, folder: Path | None, config: Config, whole: bool, as_json: bool) -> None:
    """Runs one of `MODEL_ACTIONS` on a models folder, then shows its content.

    `folder` is optional except for make-tiny, which must not write into the folder of real weights by default.
    """
    if action == "make-tiny" and folder is None:
        raise BadSetting("make-tiny needs a folder", "voidbridge models make-tiny FOLDER")
    try:
        from voidbridge_backend.tools import models as weights
    except ImportError as error:
        raise BadSetting(
            f"voidbridge models needs the packages of the engine void: {error}",
            "Install them where the daemon runs, with: pip install 'voidbridge[backend,void]'",
        ) from error
    where, device = folder or config.models, devices(config, count_cards())[0]
    if action == "make-tiny":
        weights.make_tiny(where)
    elif action == "fetch":
        weights.fetch(where, (JsonView() if as_json else LogView()).message)
    if action != "list":
        weights.prepare(where, device)
    weights.show(where, device, whole=whole, as_json=as_json)


def install(host: str, target: str | None, appdata: str, remove: bool) -> None:
    """Installs the plug-in of a host and prints the next step; or removes it.

    `appdata` is the Windows folder for a user's settings.
    """
    from . import install as installing

    if host not in installing.HOSTS:
        raise BadSetting(
            f"there is no plug-in for {host!r}", f"There is one for: {', '.join(installing.HOSTS)}"
        )
    plugin = installing.HOSTS[host]
    default = plugin.folder(sys.platform, Path.home(), appdata)
    folder = Path(target).expanduser().absolute() if target else default
    if remove:
        print(f"removed {len(plugin.remove(folder))} files from {folder}")
        return
    print(f"installed {len(plugin.install(folder))} files in {folder}")
    print(f"It starts: {' '.join(installing.command())}")
    print(plugin.next_step(folder))


def show_config(settings: list[Setting], as_json: bool) -> None:
    """Prints every setting, its value and its origin, and whether a temporary daemon has it too."""
    own = local_daemon.overridden("", Path())
    if as_json:
        shown = {
            s.name: {"value": _plain(s.value), "from": s.origin, "temporary": s.name not in own}
            for s in settings
        }
        print(json.dumps(shown))
        return
    for setting in settings:
        more = "; a temporary daemon has its own" if setting.name in own else ""
        print(f"{setting.name} = {json.dumps(_plain(setting.value))}  # {setting.origin}{more}")


@contextlib.contextmanager
def _client(client_options: ClientOptions) -> Iterator[Client]:
    software = f"voidbridge {__version__}"
    if client_options.address or client_options.config is None:
        address = client_options.address or DEFAULT_DAEMON
        with Client(
            address, user=client_options.user, software=software, keys=client_options.keys
        ) as client:
            yield client
        return
    with (
        local_daemon.daemon(client_options.config) as address,
        Client(address, user=client_options.user, software=software, reconnect=5.0) as client,
    ):
        yield client


@contextlib.contextmanager
def watched(as_json: bool) -> Iterator[tuple[ProgressView, threading.Event]]:
    """Yields a progress view, and an event that Ctrl-C and SIGTERM set; a second Ctrl-C ends at once."""
    cancelled = threading.Event()

    def stop(number: int, _: object) -> None:
        cancelled.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    to = progress_view(as_json)
    try:
        yield to, cancelled
    finally:
        to.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _listener(
    view: ProgressView, result: Sequence | None, cancelled: threading.Event, own: bool = False
) -> Listener:
    """`own` is True for a local daemon, which nobody repairs during the wait."""
    warned: set[str] = set()
    fetched: set[int] = set()
    last: Status | None = None

    def on_status(status: Status) -> None:
        for warning in status.warnings:
            if warning not in warned:
                warned.add(warning)
                view.message(f"note: {warning}")
                view.event("warning", text=warning)
        if status.attempt > 1 and (text := f"attempt {status.attempt}") not in warned:
            warned.add(text)
            view.message(f"note: a crash or a restart interrupted the run; this is {text}")
        nonlocal last
        if status.state is JobState.DONE and last and last.step < last.of:
            view.stage(last.stage, last.of, last.of)  # the last step and the end are told at once
        last = status if status.state is JobState.RUNNING else None
        show_status(view, status)
        if status.state is JobState.QUEUED and status.code:
            if own:
                raise from_code(status.code, status.text, status.hint)
            if status.text not in warned:
                warned.add(status.text)
                view.message(f"note: waiting: {status.text} [{status.code}]")

    def on_sent(sent: int, total: int) -> None:
        view.stage("uploading MB", sent >> 20, max(total >> 20, 1))
        view.event("uploading", sent=sent, total=total)

    def on_imported(done: int, of: int) -> None:
        view.stage("handing over", done, of)
        view.event("imported", files=done, of=of)

    def on_frame(frame: int) -> None:
        fetched.add(frame)
        if result is not None:
            view.event("frame", frame=frame, path=str(result.path(frame)))

    def on_accepted(job: str) -> None:
        view.event("accepted", job=job)
        view.message(f"job {job}")

    def on_trouble(text: str) -> None:
        view.message(f"note: {text}")
        view.event("trouble", text=text)

    return Listener(
        on_status, on_sent, on_frame, on_trouble, on_accepted, cancelled.is_set, on_imported
    )


def _finish(
    outcome: Outcome,
    result: Sequence,
    view: ProgressView,
    began: float,
    more: dict[str, Any] | None = None,
    announce: bool = True,
) -> None:
    """Writes the sidecar, which holds the provenance and `more`; with `announce` it tells the end."""
    frames = FrameRange(outcome.frames[0], outcome.frames[-1])
    beside, provenance = sidecar(result, frames), json.loads(outcome.provenance)
    write_whole(beside, json.dumps({**provenance, **(more or {})}, indent=1).encode() + b"\n")
    if not announce:
        return
    is_preview = bool(provenance.get("preview"))
    seconds = time.monotonic() - began
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


def _only_frame(client: Client, job: str, result: Sequence) -> int | None:
    """Returns the frame of a one-frame job, for a result that is one file."""
    found = client.status(job)
    if found.frames != 1:
        raise BadPattern(f"{result} is one file, but job {job} has {found.frames} frames")
    return found.first


def _where(status: Status) -> str:
    if status.state is JobState.FAILED:
        return f"{status.text} [{status.code}]"
    if status.state is JobState.QUEUED:
        place = f"{status.ahead} ahead" if status.ahead else "next"
        return f"{place}: {status.text} [{status.code}]" if status.code else place
    if status.state in (JobState.RUNNING, JobState.RECEIVING):
        return status.stage + count(status.step, status.of) + left(status.seconds_left)
    return ""


def _plain(value: object) -> object:
    return (
        list(value)
        if isinstance(value, tuple)
        else str(value)
        if isinstance(value, Path)
        else value
    )
