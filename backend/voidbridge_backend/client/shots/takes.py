"""Makes the takes of a cut's shots, with a list and a picture of each shot's takes beside them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voidbridge_backend.client.daemon_client import ClientOptions
from voidbridge_backend.client.job_run import run_job
from voidbridge_backend.client.outputs import check_files, is_sidecar, record_bytes
from voidbridge_backend.client.progress import ProgressView
from voidbridge_backend.client.submission import SIDECAR, Submission
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_backend.sequences import patterns
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.generate import GenerateSettings
from voidbridge_protocol.transfer.atomic_files import write_whole

from .cut import Cut, KeptClip, NewShot

TAKE = re.compile(r"take_(\d{3,})")
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

    Raises `BadSetting`, `MissingFrames` before any job, and what a job fails of.
    """
    cut.check(options.settings)
    for _, shot in cut.shots():
        if not NAME.fullmatch(shot.name):
            raise BadSetting(
                f"the shot's name {shot.name!r} is no name of a folder",
                "Rename the shot with letters, digits, dots, dashes and underscores.",
            )
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
    folder = options.folder / shot.name
    settings = submission.settings
    assert isinstance(settings, GenerateSettings)
    assert submission.frames is not None
    # Without a model there is no chance, so another take would be the same.
    is_morph = settings.engine == "morph"
    begin = _morph_number(folder, shot.name) if is_morph else len(_numbers(folder)) + 1
    count = 1 if is_morph else shot.takes or options.takes
    clips = []
    for number in range(begin, begin + count):
        seeded = replace(settings, seed=settings.seed + number - 1)
        result = _sequence(folder, shot.name, number)
        result.folder.mkdir(parents=True, exist_ok=True)
        job = replace(submission, settings=settings if is_morph else seeded)
        outcome = run_job(
            job,
            result,
            client_options,
            view,
            cancelled,
            overwrite=options.overwrite,
            announce=False,
        )
        view.event("take", shot=shot.name, take=number, job=outcome.job, result=str(result))
        view.message(f"{shot.name}: take {number} in {result}")
        clips.append(KeptClip(shot.name, result, submission.frames))
    _write_list(folder, shot.name, options.overwrite, view)
    return clips


def _sequence(folder: Path, name: str, number: int) -> patterns.Sequence:
    return patterns.Sequence(folder / f"take_{number:03d}", f"{name}.", ".exr", 4)


def _numbers(folder: Path) -> list[int]:
    """The takes that are there. Their numbers have no gap, so that counting gives the next."""
    if not folder.is_dir():
        return []
    found = {int(match[1]) for path in folder.iterdir() if (match := TAKE.fullmatch(path.name))}
    return sorted(found) and list(range(1, max(found) + 1))


def _morph_number(folder: Path, name: str) -> int:
    """The take that `morph` made before, else the next number. Takes of other engines stay."""
    numbers = _numbers(folder)
    for number in numbers:
        records = _sequence(folder, name, number).folder.glob(f"*{SIDECAR}")
        engines = {json.loads(path.read_bytes())["settings"]["engine"] for path in records}
        if engines == {"morph"}:
            return number
    return len(numbers) + 1


def _write_list(folder: Path, name: str, overwrite: bool, view: ProgressView) -> None:
    """takes.voidbridge.json and takes.png: every take of the shot with its prompt and seed.

    The picture needs the packages of the daemon, which a workstation may lack.
    """
    rows = []
    for number in _numbers(folder):
        result = _sequence(folder, name, number)
        for record in result.folder.glob(f"*{SIDECAR}"):
            rows.append(_row(number, json.loads(record.read_bytes()), result))
    listed, sheet = folder / f"takes{SIDECAR}", folder / "takes.png"
    check_files(
        [(listed, is_sidecar), (sheet, is_marked)],
        [],
        overwrite,
        "Move the file away; the list of takes is written there.",
    )
    write_whole(listed, record_bytes({"generator": "voidbridge", "shot": name, "takes": rows}))
    try:
        write_whole(sheet, _picture(name, rows, folder))
    except ImportError as error:
        view.message(f"{name}: no picture of the takes, as a package is missing: {error}")


def _row(number: int, record: dict[str, Any], result: patterns.Sequence) -> dict[str, Any]:
    settings = record["settings"]
    return {
        "take": number,
        "frames": record["frames"],
        "engine": settings["engine"],
        "mode": settings["mode"],
        "seed": settings["seed"],
        "prompt": settings["prompt"],
        "pattern": f"{result.folder.name}/{result.prefix}%0{result.width}d{result.suffix}",
    }


def _picture(name: str, rows: Sequence[dict[str, Any]], folder: Path) -> bytes:
    from voidbridge_backend.quality.take_sheet import TakeRow, take_sheet

    found = []
    for row in rows:
        first, last = row["frames"]
        step = max((last - first) / (PICTURES - 1), 1)
        frames = sorted({min(round(first + step * n), last) for n in range(PICTURES)})
        media = _sequence(folder, name, row["take"])
        files = tuple((frame, media.path(frame)) for frame in frames)
        words = f"{row['engine']} {row['mode']}, seed {row['seed']}"
        found.append(TakeRow(f"take {row['take']}", words, row["prompt"], files))
    return take_sheet(name, found)
