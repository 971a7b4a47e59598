"""Makes the takes of a cut's shots, with a list and a picture of each shot's takes beside them."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voidbridge_backend.client.daemon_client import ClientOptions, open_client
from voidbridge_backend.client.file_names import named
from voidbridge_backend.client.job_run import run_job
from voidbridge_backend.client.outputs import check_files, is_sidecar, record_bytes
from voidbridge_backend.client.progress import ProgressView
from voidbridge_backend.client.submission import SIDECAR, Submission
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.generate import GenerateSettings
from voidbridge_protocol.transfer.atomic_files import write_whole

from .cut import Cut, KeptClip, NewShot, settings_of
from .take_folder import TOLD, TakeFolder, TakeRecord

PICTURES = 5
"""Frames of a take in the picture of a shot."""
NAME = re.compile(r"(?!\.+$)[\w.-]+")
"""Dots alone, as `..`, would lead out of the folder of the takes."""


@dataclass(frozen=True)
class TakeOptions:
    """The choices of the command for every shot."""

    folder: Path
    settings: GenerateSettings
    takes: int = 1
    overwrite: bool = False
    priority: int = 0
    force: bool = False


def make_takes(
    cut: Cut,
    options: TakeOptions,
    client_options: ClientOptions,
    view: ProgressView,
    cancelled: threading.Event,
) -> dict[int, list[KeptClip]]:
    """Every new take of each shot, by its place in the cut. The takes that are there stay, and are counted on.

    Raises `BadSetting`, `MissingFrames`, `OutputExists` before any job, and what a job fails of.
    """
    cut.check(options.settings)
    for _, shot in cut.shots():
        if not NAME.fullmatch(shot.name):
            raise BadSetting(
                f"the shot's name {shot.name!r} is not a name of a folder",
                "Rename the shot with letters, digits, dots, dashes and underscores.",
            )
    _check_engines(cut, options.settings, client_options)
    _check_lists([options.folder / shot.name for _, shot in cut.shots()], options.overwrite)
    made: dict[int, list[KeptClip]] = {}
    for at, shot in cut.shots():
        firsts = {place: clips[0] for place, clips in made.items()}
        submission = cut.submission(at, options.settings, firsts)
        submission = replace(submission, priority=options.priority, force=options.force)
        made[at] = _of_shot(shot, submission, options, client_options, view, cancelled)
    return made


def _of_shot(
    shot: NewShot,
    submission: Submission,
    options: TakeOptions,
    client_options: ClientOptions,
    view: ProgressView,
    cancelled: threading.Event,
) -> list[KeptClip]:
    folder = TakeFolder(options.folder / shot.name, shot.name)
    settings = submission.settings
    assert isinstance(settings, GenerateSettings)
    assert submission.frames is not None
    # Without a model there is no chance, so another take would be the same.
    is_morph = settings.engine == "morph"
    clips = []
    count = 1 if is_morph else shot.takes or options.takes
    for place in range(1, count + 1):
        view.message(
            f"{shot.name}: {settings.mode} by {settings.engine}, new take {place} of {count}"
        )
        number = (_same(folder, submission) if is_morph else None) or folder.claim()
        seed = settings.seed if is_morph else settings.seed + number - 1
        result = folder.sequence(number)
        try:
            outcome = run_job(
                replace(submission, settings=replace(settings, seed=seed)),
                result,
                client_options,
                view,
                cancelled,
                overwrite=options.overwrite,
                announce=False,
            )
        except BaseException:
            with contextlib.suppress(OSError):
                result.folder.rmdir()  # It stays if it has files, and so do those around it.
                folder.path.rmdir()
                options.folder.rmdir()
            raise
        view.event("take", shot=shot.name, take=number, job=outcome.job, result=str(result))
        view.message(f"{shot.name}: take {number} in {result}")
        clips.append(KeptClip(shot.name, result, submission.frames))
    _write_list(folder, options.overwrite, view)
    return clips


def _same(folder: TakeFolder, submission: Submission) -> int | None:
    """The take that this very job made before: from the same files, with the same settings."""
    records, _ = folder.records()
    if not records:
        return None
    with named(submission.files):
        task = submission.task(folder.sequence(1).path, lambda done, total: None, lambda: False)
    return next((record.number for record in records if record.is_of(task.request)), None)


def _check_engines(cut: Cut, base: GenerateSettings, client_options: ClientOptions) -> None:
    """Raises `BadSetting` for an engine that the daemon lacks. Every daemon has `morph`."""
    named = {settings_of(shot, base).engine: shot.name for _, shot in cut.shots()}
    if not named.keys() - {"morph"}:
        return
    with open_client(client_options) as client:
        there = {engine for kind, engine in client.welcome.engines if kind == "generate"}
    for engine, shot in named.items():
        if engine not in there:
            raise BadSetting(
                f"the shot {shot}: this daemon has no engine {engine!r} for generate; "
                f"it has: {', '.join(sorted(there))}",
                "Name another engine, or ask for it to be installed on the daemon.",
            )


def _check_lists(folders: Sequence[Path], overwrite: bool) -> None:
    """Raises `OutputExists` for a list or a picture of takes that is somebody else's file."""
    check_files(
        [
            target
            for folder in folders
            for target in (
                (folder / f"takes{SIDECAR}", is_sidecar),
                (folder / "takes.png", is_marked),
            )
        ],
        [],
        overwrite,
        "Move the file away; the list of takes is written there.",
    )


def _write_list(folder: TakeFolder, overwrite: bool, view: ProgressView) -> None:
    """takes.voidbridge.json and takes.png: every take of the shot with its prompt and seed.

    The picture needs the packages of the daemon, which a workstation may lack.
    """
    records, damaged = folder.records()
    for path in damaged:
        view.message(
            f"{folder.name}: {path} is not a record of a take, which is therefore not listed"
        )
    rows = [_row(record, folder) for record in records]
    _check_lists([folder.path], overwrite)
    found = {"generator": "voidbridge", "shot": folder.name, "takes": rows}
    write_whole(folder.path / f"takes{SIDECAR}", record_bytes(found))
    try:
        write_whole(folder.path / "takes.png", _picture(rows, folder))
    except ImportError as error:
        view.message(f"{folder.name}: no picture of the takes, as a package is missing: {error}")


def _row(record: TakeRecord, folder: TakeFolder) -> dict[str, Any]:
    result = folder.sequence(record.number)
    return {
        "take": record.number,
        "frames": [*record.frames],
        **{word: record.settings[word] for word in TOLD},
        "pattern": f"{result.folder.name}/{result.prefix}%0{result.width}d{result.suffix}",
    }


def _picture(rows: Sequence[dict[str, Any]], folder: TakeFolder) -> bytes:
    from voidbridge_backend.quality.take_sheet import TakeRow, take_sheet

    found = []
    for row in rows:
        first, last = row["frames"]
        step = max((last - first) / (PICTURES - 1), 1)
        frames = sorted({min(round(first + step * n), last) for n in range(PICTURES)})
        media = folder.sequence(row["take"])
        files = tuple((frame, media.path(frame)) for frame in frames)
        words = f"{row['engine']} {row['mode']}"
        if row["engine"] != "morph":
            words += f", seed {row['seed']}"
        found.append(TakeRow(f"take {row['take']}", words, row["prompt"], files))
    return take_sheet(folder.name, found)
