"""The command `generate`: its options, and the job that they describe."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from voidbridge_backend.cli.common_options import (
    add_overwrite_option,
    add_plate_start,
    add_queue_options,
    add_status_file_option,
)
from voidbridge_backend.cli.setting_options import add_settings, settings_of
from voidbridge_backend.client import status_file
from voidbridge_backend.client.daemon_client import ClientOptions
from voidbridge_backend.client.outputs import check_files
from voidbridge_backend.client.progress import watched
from voidbridge_backend.client.shots import table, timeline
from voidbridge_backend.client.shots.takes import TakeOptions, make_takes
from voidbridge_backend.client.submission import Submission
from voidbridge_backend.sequences.found import find, numbered_from
from voidbridge_backend.sequences.patterns import FrameRange, compact, frames_for
from voidbridge_protocol.errors import BadSetting, BadTimeline, JobCancelled, MissingFrames
from voidbridge_protocol.operations.generate import (
    MODEL_REACH,
    MODES,
    MOST_FRAMES,
    REACH,
    GenerateSettings,
    check_mode,
)
from voidbridge_protocol.transfer.atomic_files import write_whole

SHAPE = """\
bridge PLATE TAIL --length N      N frames between the last frame of PLATE and the first of TAIL
extend PLATE --length N           N frames behind the last frame of PLATE; with --before, ahead of its first
extend PLATE --frames 1051-1062   the same, named by their numbers; so in text and from-frame
retake PLATE --frames 1010-1016   these frames again, from those around them; the files need not exist

with --engine ltx also:
text PLATE --length N             N frames from --prompt, in the format of PLATE
from-frame PLATE --length N       N frames that go on from the last frame of PLATE alone
hdr PLATE                         every frame of PLATE, or --frames, as scene-linear light

Only the new frames are written. They are numbered as they follow PLATE.

generate --shots LIST -o FOLDER   every shot of a table or a timeline, its takes in FOLDER, and a new timeline"""
NEEDED = {"bridge": ("tail", "length"), "retake": ("frames",), "hdr": ("frames",)}
"""Words that a mode takes; the others take a length, or frames. Only `hdr` can do without."""
LISTS = {table.ENDING: table.read_table, timeline.ENDING: timeline.read_timeline}
"""Readers of a list of shots, by the end of its name."""
NAMES = {
    "plate": "PLATE",
    "tail": "TAIL",
    "length": "--length N",
    "frames": "--frames FIRST-LAST",
    "output": "-o RESULT",
}
MOST_TAKES = 100
HINT = "See `voidbridge generate --help` for the modes."


def add_generate_options(parser: Any) -> None:
    """Everything but the options of the daemon."""
    parser.add_argument("mode", nargs="?", choices=MODES, metavar="MODE", help=", ".join(MODES))
    parser.add_argument("plate", nargs="?", metavar="PLATE", help="the clip, a sequence of files")
    parser.add_argument("tail", nargs="?", metavar="TAIL", help="the clip behind, for bridge")
    parser.add_argument(
        "-o", "--output", metavar="RESULT", help="result sequence or folder (required)"
    )
    add_overwrite_option(parser)
    add_status_file_option(parser)
    frames = parser.add_argument_group("the frames")
    frames.add_argument("--length", type=int, metavar="N", help="number of new frames")
    frames.add_argument(
        "--frames-from-stdin",
        action="store_true",
        help="wait until standard input says `end`: a host still renders the frames beside the new ones",
    )
    frames.add_argument("--before", action="store_true", help="extend ahead of the first frame")
    frames.add_argument(
        "--frames", metavar="1010-1016", help="the frames to make; bridge takes a length instead"
    )
    add_plate_start(frames)
    add_settings(parser, GenerateSettings, {"the frames": frames})
    shots = parser.add_argument_group("many shots")
    shots.add_argument(
        "--shots",
        type=Path,
        metavar="LIST",
        help="a table (.toml) or a timeline (.otio) of shots, instead of MODE and PLATE",
    )
    shots.add_argument(
        "--takes", type=int, default=1, metavar="N", help="new takes of each shot (default 1)"
    )
    add_queue_options(parser)


def generate_submission(parsed: argparse.Namespace) -> Submission:
    """The job of `generate`. Raises `BadPattern`, `BadSetting`, `MissingFrames`."""
    _check_words(parsed)
    if parsed.takes != 1:
        raise BadSetting("--takes is for --shots", "Another --seed makes another take.")
    plate = find(parsed.plate)
    if parsed.plate_start is not None:
        plate = numbered_from(plate, parsed.plate_start)
    files = {"plate": plate}
    if parsed.tail:
        files["tail"] = find(parsed.tail)
    there = files["plate"].scan() or frames_for(files["plate"], None)
    wanted = _wanted(parsed, there)
    if (count := wanted.last - wanted.first + 1) > MOST_FRAMES:
        raise BadSetting(
            f"{count} new frames are asked for; one job makes up to {MOST_FRAMES}",
            "Make a long stretch in several jobs.",
        )
    reach = REACH if parsed.engine == "morph" else MODEL_REACH
    parts = {"plate": _plate_part(parsed.mode, wanted, reach)}
    if "tail" in files:
        first = (files["tail"].scan() or frames_for(files["tail"], None))[0]
        parts = {
            "plate": FrameRange(wanted.first - reach, wanted.first - 1),
            "tail": FrameRange(first, first + reach - 1),
        }
    _check_around(parsed.mode, there, parts["plate"], wanted, reach)
    return Submission(
        files,
        replace(settings_of(parsed, GenerateSettings), mode=parsed.mode),
        frames=wanted,
        operation="generate",
        priority=parsed.priority,
        force=parsed.force,
        parts=parts,
    )


def _check_words(parsed: argparse.Namespace) -> None:
    """Raises `BadSetting` for every word that the mode lacks, or one that it does not take."""
    if not parsed.mode:
        raise BadSetting(
            "generate needs MODE, PLATE and -o RESULT; or --shots LIST, -o FOLDER", HINT
        )
    check_mode(parsed.engine, parsed.mode, parsed.prompt)
    words = NEEDED.get(parsed.mode, ("length",) if parsed.frames is None else ("frames",))
    needed = ("plate", *(() if parsed.mode == "hdr" else words), "output")
    if lacking := [NAMES[name] for name in needed if getattr(parsed, name) is None]:
        *first, last = lacking
        named = f"{', '.join(first)} and {last}" if first else last
        raise BadSetting(f"{parsed.mode} needs {named}", HINT)
    for name in ("tail", "length", "frames"):
        if name not in words and getattr(parsed, name) is not None:
            raise BadSetting(f"{parsed.mode} does not take {NAMES[name]}", HINT)
    if parsed.before and parsed.mode != "extend":
        raise BadSetting(f"{parsed.mode} does not take --before", HINT)
    if parsed.length is not None and parsed.length < 1:
        raise BadSetting(f"--length is {parsed.length}; at least one frame is made", HINT)


def _wanted(parsed: argparse.Namespace, existing: list[int]) -> FrameRange:
    if parsed.frames:
        return _named(parsed.mode, FrameRange.parse(parsed.frames), existing)
    if parsed.mode == "hdr":
        return FrameRange(existing[0], existing[-1])
    if parsed.before:
        return FrameRange(existing[0] - parsed.length, existing[0] - 1)
    return FrameRange(existing[-1] + 1, existing[-1] + parsed.length)


def _named(mode: str, wanted: FrameRange, existing: list[int]) -> FrameRange:
    """Raises `BadSetting` for frames that do not adjoin the plate in a mode that carries it on."""
    adjoins = wanted.first == existing[-1] + 1 or (
        mode == "extend" and wanted.last == existing[0] - 1
    )
    if mode not in NEEDED and not adjoins:
        raise BadSetting(
            f"{mode} makes frames that adjoin the plate, and {wanted} do not: it has {compact(existing)}",
            f"Begin at {existing[-1] + 1}.",
        )
    return wanted


def wait_for_frames(lines: Iterable[bytes]) -> None:
    """Returns when a line says that every frame is rendered. Raises `JobCancelled` if none does."""
    if not any(line.strip() == b"end" for line in lines):
        raise JobCancelled("the host ended before it had rendered the frames")


def _plate_part(mode: str, wanted: FrameRange, reach: int) -> FrameRange:
    """The frames of the plate that a mode looks at, or takes the format from."""
    if mode == "hdr":
        return wanted
    if mode in ("text", "from-frame"):
        return FrameRange(wanted.first - 1, wanted.first - 1)
    return FrameRange(wanted.first - reach, wanted.last + reach)


def _check_around(
    mode: str, existing: list[int], part: FrameRange, wanted: FrameRange, reach: int
) -> None:
    """Raises `BadSetting` if retake has no frame of the plate on one side, `MissingFrames` if hdr lacks one."""
    if mode == "hdr" and (lacking := sorted({*range(wanted.first, wanted.last + 1)} - {*existing})):
        raise MissingFrames(f"the plate lacks {compact(lacking)}; it has {compact(existing)}")
    if mode != "retake":
        return
    used = [frame for frame in existing if part.first <= frame <= part.last]
    before = [frame for frame in used if frame < wanted.first]
    behind = [frame for frame in used if frame > wanted.last]
    if not before or not behind:
        side = "before" if not before else "behind"
        raise BadSetting(
            f"the plate has {compact(existing)}, so no frame within {reach} is {side} {wanted}",
            "Leave at least one frame of the plate on both sides, or use `extend`.",
        )


def generate_shots(parsed: argparse.Namespace, client_options: ClientOptions) -> None:
    """Makes the takes of every shot of a list, and writes the timeline with them.

    Raises `BadTimeline`, `BadSetting`, `MissingFrames` before any job, and what a job fails of.
    """
    if parsed.mode or parsed.plate:
        raise BadSetting("--shots takes no MODE and no PLATE", HINT)
    if parsed.output is None:
        raise BadSetting("--shots needs -o FOLDER, for the takes and the new timeline", HINT)
    for name in ("length", "frames", "before", "plate_start", "frames_from_stdin"):
        if getattr(parsed, name) not in (None, False):
            option = name.replace("_", "-")
            raise BadSetting(
                f"--shots does not take --{option}",
                "LIST has the length and the frames of each shot.",
            )
    if not 1 <= parsed.takes <= MOST_TAKES:
        raise BadSetting(f"--takes is {parsed.takes}; it goes from 1 to {MOST_TAKES}")
    if (read := LISTS.get(parsed.shots.suffix.lower())) is None:
        raise BadTimeline(
            f"{parsed.shots} is not a list of shots; its name has to end in {' or '.join(LISTS)}",
            "Export the timeline as OpenTimelineIO, or write a table. docs/generate.md describes it.",
        )
    cut = read(parsed.shots)
    timeline.library()
    folder = Path(parsed.output)
    written = folder / f"{parsed.shots.stem}.takes{timeline.ENDING}"
    check_files([(written, timeline.is_own)], [parsed.shots], parsed.overwrite)
    options = TakeOptions(
        folder,
        settings_of(parsed, GenerateSettings),
        parsed.takes,
        parsed.overwrite,
        parsed.priority,
        parsed.force,
    )
    with (
        watched(parsed.json) as (shown, cancelled),
        status_file.kept(parsed.status_file, shown, cancelled) as view,
    ):
        takes = make_takes(cut, options, client_options, view, cancelled)
        write_whole(written, timeline.write_timeline(cut, takes))
        view.event("timeline", path=str(written), shots=len(takes))
        view.message(f"done: {len(takes)} shots, {written}")
