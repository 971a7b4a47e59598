"""The command `farm`: a shot or a table of shots becomes the job files of a farm."""

from __future__ import annotations

import argparse
import csv
import getpass
import itertools
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from voidbridge_backend.cli import options
from voidbridge_backend.cli.painted import absolute_words
from voidbridge_backend.client import outputs
from voidbridge_backend.client.farms.commands import FarmFiles, FarmJob, command_job, farm_job
from voidbridge_backend.client.farms.deadline import deadline_files
from voidbridge_backend.client.farms.opencue import opencue_files
from voidbridge_backend.client.farms.tractor import tractor_files
from voidbridge_backend.client.openjd.bundle import (
    LONGEST_NAME,
    HostRequirements,
    ShotTask,
    command_template,
    survey_options,
    template,
    typed,
)
from voidbridge_backend.client.progress import JsonView
from voidbridge_backend.client.submission import Submission, result_sequence
from voidbridge_backend.log_format import one_line
from voidbridge_backend.sequences.patterns import FrameRange, Sequence
from voidbridge_protocol.errors import BadSetting, OutputExists, VoidbridgeError
from voidbridge_protocol.operations.remove import SURVEY_ENGINE, RemoveSettings
from voidbridge_protocol.transfer.atomic_files import write_whole

COLUMNS = ("plate", "matte", "result", "affected", "clean", "frames")
PATHS = COLUMNS[:5]
NEEDED = COLUMNS[:3]
FILE = "template.json"
SEND = ("deadline", "bundle", "submit", ".")
OWN = "own"
"""Stands for the farm's own command."""
STAYS = "The files are written. Run the command in their folder to see what it says."
SEND_S = 600.0
"""Seconds that a farm's command may take."""
FARMS = ("openjd", "deadline", "opencue", "tractor")
EXACT_IN_RANGES = ("cleanplate", "echo")
"""Engines whose pixels of a frame do not depend on which others are wanted."""
PLACEHOLDER = re.compile(r"#+|%0?\d*d")
SHAPE = f"""\
TABLE is a CSV file with the columns {", ".join(PATHS)} and {COLUMNS[-1]}; the last three are optional. Its paths
count from the table's folder. Submit the bundle with your farm's own command, or try it here:
openjd run BUNDLE/{FILE}"""


def farm(parsed: argparse.Namespace) -> None:
    """Checks every shot as `run` does, and writes the farm's files. Nothing is sent.

    Raises `BadSetting`, `BadPattern`, `OutputExists` and what the shots raise.
    """
    if parsed.task:
        _write(parsed, _command_files(parsed), [])
        return
    shots, places = [], []
    for where, shot in _shots(parsed):
        task, place = _task(shot, where, parsed.overwrite)
        shots.append(task)
        places.append(place)
    outputs.check_together(places)
    settings = options.removal_settings(parsed)
    count = f"{len(shots)} shots" if shots[1:] else Path(shots[0].plate).name
    name = parsed.name or f"voidbridge {settings.engine}: {count}"[:LONGEST_NAME]
    if parsed.chunk is not None:
        shots = _chunks(parsed, shots, settings.engine)
    gpus = int(settings.engine == "void") if parsed.gpus is None else parsed.gpus
    needs = HostRequirements(gpus, parsed.vcpus, parsed.memory_gb)
    _write(parsed, _files(parsed, name, shots, settings, needs), shots)


def _chunks(parsed: argparse.Namespace, shots: list[ShotTask], engine: str) -> list[ShotTask]:
    """Divides the frames of each shot into tasks that see the whole plate. Raises `BadSetting`."""
    if engine not in EXACT_IN_RANGES:
        raise BadSetting(
            f"{engine} makes other pixels in a range than in the whole shot",
            f"Leave out --chunk, or choose {' or '.join(EXACT_IN_RANGES)}.",
        )
    if parsed.chunk < 1 or parsed.handles != "auto":
        raise BadSetting(
            f"--chunk is {parsed.chunk} and --handles {parsed.handles}",
            "Give --chunk a number from 1 on, without --handles: each task sees the whole plate.",
        )
    parsed.handles = options.ALL_FRAMES
    made, surveys = [], set[str]()
    for shot in shots:
        if engine == SURVEY_ENGINE:
            shot = replace(shot, survey=_survey_of(shot.result, surveys))
        frames = FrameRange.parse(shot.frames)
        for first in range(frames.first, frames.last + 1, parsed.chunk):
            last = min(first + parsed.chunk - 1, frames.last)
            made.append(replace(shot, frames=str(FrameRange(first, last))))
    return made


def _survey_of(result: str, taken: set[str]) -> str:
    """A file beside the results for the survey of their shot. It is none of `taken`, and is added to them."""
    folder, name = os.path.split(result)
    stem = PLACEHOLDER.split(name)[0].strip("._-") or "shot"
    for number in itertools.count(1):
        file = f"{stem}.survey.npz" if number == 1 else f"{stem}.{number}.survey.npz"
        path = os.path.join(folder, file)
        if path.casefold() not in taken:
            break
    taken.add(path.casefold())
    return path


def _write(parsed: argparse.Namespace, made: FarmFiles, shots: list[ShotTask]) -> None:
    """Raises `OutputExists`."""
    targets = {Path(parsed.bundle) / file: text for file, text in made.files.items()}
    for target in targets:
        if os.path.lexists(target) and not parsed.overwrite:
            raise OutputExists(f"{target} exists", "Choose another folder, or add --overwrite.")
    table = [Path(parsed.shots)] if parsed.shots else []
    outputs.check_files([(path, lambda _: True) for path in targets], table, parsed.overwrite)
    try:
        written = {target: text.encode() for target, text in targets.items()}
    except UnicodeEncodeError as error:
        raise BadSetting(
            f"a name in {error.object[max(0, error.start - 40) : error.end + 20]!a} is not UTF-8",
            "Rename the file or folder: a farm's files are UTF-8.",
        ) from error
    Path(parsed.bundle).mkdir(parents=True, exist_ok=True)
    for target, content in written.items():
        write_whole(target, content)
    path, tasks = str(next(iter(targets))), [asdict(shot) for shot in shots]
    said = _send(parsed.send, made.submit, Path(parsed.bundle)) if parsed.send else ""
    if parsed.json:
        JsonView().event(
            "farm-bundle",
            path=path,
            submit=list(made.submit),
            tasks=tasks,
            sent=bool(parsed.send),
            said=said,
        )
        return
    count = len(shots or parsed.task)
    print(one_line(f"{count} {'task' if count == 1 else 'tasks'}: {path}"))
    print(one_line(f"sent: {said}" if parsed.send else f"send: {shlex.join(made.submit)}"))


def _send(text: str, own: tuple[str, ...], folder: Path) -> str:
    """Runs the command that sends the files, in their folder. Returns the last line that it said.

    Raises `BadSetting` with the reason; the files stay.
    """
    words = list(own) if text == OWN else _command("--send", text)
    if not words:
        raise BadSetting(
            "--send names no command", f'Write it as --send "sbatch job.sh", or {OWN}.'
        )
    try:
        done = subprocess.run(
            words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=SEND_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadSetting(f"{words[0]} did not send the job in {folder}: {error}", STAYS) from error
    lines = [*done.stderr.decode(errors="replace").splitlines()] if done.returncode else []
    lines += done.stdout.decode(errors="replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    if done.returncode:
        raise BadSetting(f"{words[0]} ended with {done.returncode} in {folder}: {last}", STAYS)
    return last


def _files(
    parsed: argparse.Namespace,
    name: str,
    shots: list[ShotTask],
    settings: RemoveSettings,
    needs: HostRequirements,
) -> FarmFiles:
    """The files of the farm that was chosen. Raises `BadSetting`."""
    then = _command("--then", parsed.then)
    if parsed.farm == FARMS[0]:
        made = template(name, shots, settings, needs, _words(parsed), then)
        text = json.dumps(made, indent=1) + "\n"
        return FarmFiles({FILE: text}, SEND)
    words = _words(parsed)
    options, looks = [*typed(settings), *words], [*survey_options(settings), *words]
    return _of(parsed, farm_job(name, shots, options, then, needs, looks))


def _command_files(parsed: argparse.Namespace) -> FarmFiles:
    """The files of a job whose commands were typed. Raises `BadSetting`."""
    if parsed.shots or parsed.plate or parsed.output:
        raise BadSetting("commands and shots are given", "Write a bundle for each.")
    commands = [_command("--task", text) for text in parsed.task]
    then = _command("--then", parsed.then)
    if not all(commands):
        raise BadSetting("--task names no command", 'Write it as --task "nuke -t task.py".')
    name = parsed.name or f"voidbridge: {Path(commands[0][0]).name}"[:LONGEST_NAME]
    needs = HostRequirements(parsed.gpus or 0, parsed.vcpus, parsed.memory_gb)
    if parsed.farm == FARMS[0]:
        text = json.dumps(command_template(name, commands, needs, then), indent=1) + "\n"
        return FarmFiles({FILE: text}, SEND)
    return _of(parsed, command_job(name, commands, then, needs))


def _command(option: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadSetting(f"{option} cannot be read: {error}", "Close its quotes.") from error


def _of(parsed: argparse.Namespace, job: FarmJob) -> FarmFiles:
    if parsed.farm == "deadline":
        return deadline_files(job)
    if parsed.farm == "opencue":
        return opencue_files(job, parsed.show, job.name, getpass.getuser())
    return tractor_files(job, parsed.service)


def _words(parsed: argparse.Namespace) -> list[str]:
    """The typed options of the shot that are no settings and no paths."""
    typed = {
        "--handles": None if parsed.handles == "auto" else parsed.handles,
        "--plate-start": parsed.plate_start,
        "--matte-start": parsed.matte_start,
    }
    words = [f"{option}={value}" for option, value in typed.items() if value is not None]
    if not parsed.shots:
        words += [f"--clean={word}" for word in absolute_words(parsed.clean or [])]
    return [*words, "--overwrite"] if parsed.overwrite else words


def _shots(parsed: argparse.Namespace) -> Iterator[tuple[str, argparse.Namespace]]:
    """Each shot as it would be typed for `run`, and where it stands in the table."""
    words = (parsed.plate, parsed.matte, parsed.output)
    if not parsed.shots:
        if not all(words):
            raise BadSetting(
                "no shot is named", "Give PLATE, MATTE and -o RESULT, or a table with --shots."
            )
        yield "", parsed
        return
    if any((*words, parsed.affected, parsed.clean, parsed.frames)):
        raise BadSetting(
            "a table of shots and a single shot are given", "Name files in the table only."
        )
    for number, row in enumerate(_rows(Path(parsed.shots)), 2):
        lacking = [column for column in NEEDED if not row[column]]
        if lacking:
            raise BadSetting(
                f"line {number} of {parsed.shots} has no {lacking[0]}",
                "Fill in plate, matte and result of every shot.",
            )
        folder = os.path.dirname(os.path.abspath(parsed.shots))
        paths = {name: os.path.join(folder, row[name]) if row[name] else "" for name in PATHS}
        clean = [paths.pop("clean")] if row["clean"] else []
        shot = {"output": paths.pop("result"), **paths, "clean": clean, "frames": row["frames"]}
        yield f"line {number} of {parsed.shots}: ", argparse.Namespace(**{**vars(parsed), **shot})


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            columns = table.fieldnames or []
            rows = [{name: (row.get(name) or "").strip() for name in COLUMNS} for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or error
        raise BadSetting(
            f"the table {path} cannot be read: {reason}",
            "Name a CSV file in UTF-8 with --shots; its paths count from its own folder.",
        ) from error
    lacking = [name for name in NEEDED if name not in columns]
    unknown = [name for name in columns if name not in COLUMNS]
    if lacking or unknown:
        wrong = f"has no column {lacking[0]}" if lacking else f"has an unknown column {unknown[0]}"
        raise BadSetting(f"the table {path} {wrong}", f"Its columns are {', '.join(COLUMNS)}.")
    if not rows:
        raise BadSetting(f"the table {path} lists no shot", "Write one line for each shot.")
    return rows


def _task(
    parsed: argparse.Namespace, place: str, overwrite: bool
) -> tuple[ShotTask, tuple[Submission, Sequence]]:
    """The shot with absolute paths and its frames, and its files.

    Raises what `run` raises before it sends, with the place.
    """
    try:
        submission = options.removal(parsed)
        plate, *others = submission.files.values()
        result = result_sequence(parsed.output, plate, others)
        _, frames = submission.ranges()
        outputs.check_run(submission, result, overwrite)
    except VoidbridgeError as error:
        raise type(error)(place + error.text, error.hint) from error
    task = ShotTask(
        _absolute(submission, "plate"),
        _absolute(submission, "matte"),
        _pattern(result),
        str(frames),
        _absolute(submission, "affected"),
        next(iter(parsed.clean), "") if place else "",
    )
    return task, (submission, result)


def _absolute(submission: Submission, role: str) -> str:
    return _pattern(submission.files[role]) if role in submission.files else ""


def _pattern(sequence: Sequence) -> str:
    return sequence.absolute()
