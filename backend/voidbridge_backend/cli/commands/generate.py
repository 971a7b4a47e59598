"""The command `generate`: its options, and the job that they describe."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from voidbridge_backend.cli.setting_options import add_settings, settings_of
from voidbridge_backend.client.submission import Submission
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import FrameRange, compact, frames_for
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.generate import (
    MODEL_MODES,
    MODEL_REACH,
    MODES,
    REACH,
    GenerateSettings,
    no_model,
)

SHAPE = """\
bridge PLATE TAIL --length N      N frames between the last frame of PLATE and the first of TAIL
extend PLATE --length N           N frames behind the last frame of PLATE; with --before, ahead of its first
retake PLATE --frames 1010-1016   these frames again, from those around them; the files need not exist

with --engine ltx also:
text PLATE --length N             N frames from --prompt, in the format of PLATE
from-frame PLATE --length N       N frames that go on from the last frame of PLATE alone
hdr PLATE                         every frame of PLATE, or --frames, as scene-linear light

Only the new frames are written. They are numbered as they follow PLATE."""
NEEDED = {"bridge": ("tail", "length"), "retake": ("frames",), "hdr": ("frames",)}
"""Words that a mode takes; the others take a length. Only `hdr` can do without."""
HINT = "See `voidbridge generate --help` for the modes."


def add_generate_options(parser: Any) -> None:
    """Everything but the options of the daemon."""
    parser.add_argument("mode", choices=MODES, metavar="MODE", help=", ".join(MODES))
    parser.add_argument("plate", metavar="PLATE", help="the clip, a sequence of files")
    parser.add_argument("tail", nargs="?", metavar="TAIL", help="the clip behind, for bridge")
    parser.add_argument(
        "-o", "--output", required=True, metavar="RESULT", help="result sequence or folder"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that Voidbridge did not make; sources are never replaced",
    )
    parser.add_argument(
        "--status-file", type=Path, metavar="FILE", help="write job progress to FILE as JSON"
    )
    frames = parser.add_argument_group("the frames")
    frames.add_argument("--length", type=int, metavar="N", help="new frames")
    frames.add_argument("--before", action="store_true", help="extend ahead of the first frame")
    frames.add_argument(
        "--frames", metavar="1010-1016", help="frames that retake and hdr make again"
    )
    add_settings(parser, GenerateSettings, {"the frames": frames})
    queue = parser.add_argument_group("the queue")
    queue.add_argument("--priority", type=int, default=0, metavar="N", help="higher runs first")
    queue.add_argument("--force", action="store_true", help="run it even if its result exists")


def generate_submission(parsed: argparse.Namespace) -> Submission:
    """The job of `generate`. Raises `BadPattern`, `BadSetting`, `MissingFrames`."""
    files = {"plate": find(parsed.plate)}
    if parsed.tail:
        files["tail"] = find(parsed.tail)
    _check_words(parsed)
    there = files["plate"].scan() or frames_for(files["plate"], None)
    wanted = _wanted(parsed, there)
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
    """Raises `BadSetting` for a word that the mode lacks, or has no use for."""
    needed = NEEDED.get(parsed.mode, ("length",))
    names = {"tail": "TAIL", "length": "--length N", "frames": "--frames FIRST-LAST"}
    if parsed.mode in MODEL_MODES and parsed.engine == "morph":
        raise no_model(parsed.mode)
    for name in needed:
        if getattr(parsed, name) is None and parsed.mode != "hdr":
            raise BadSetting(f"{parsed.mode} needs {names[name]}", HINT)
    for name in names.keys() - {*needed}:
        if getattr(parsed, name) is not None:
            raise BadSetting(f"{parsed.mode} has no use for {names[name]}", HINT)
    if parsed.before and parsed.mode != "extend":
        raise BadSetting(f"{parsed.mode} has no use for --before", HINT)
    if parsed.length is not None and parsed.length < 1:
        raise BadSetting(f"--length is {parsed.length}; at least one frame is made", HINT)


def _wanted(parsed: argparse.Namespace, there: list[int]) -> FrameRange:
    if parsed.frames:
        return FrameRange.parse(parsed.frames)
    if parsed.mode == "hdr":
        return FrameRange(there[0], there[-1])
    if parsed.before:
        return FrameRange(there[0] - parsed.length, there[0] - 1)
    return FrameRange(there[-1] + 1, there[-1] + parsed.length)


def _plate_part(mode: str, wanted: FrameRange, reach: int) -> FrameRange:
    """The frames of the plate that a mode looks at, or takes the format from."""
    if mode == "hdr":
        return wanted
    if mode in ("text", "from-frame"):
        return FrameRange(wanted.first - 1, wanted.first - 1)
    return FrameRange(wanted.first - reach, wanted.last + reach)


def _check_around(
    mode: str, there: list[int], part: FrameRange, wanted: FrameRange, reach: int
) -> None:
    """Raises `BadSetting` where retake has no frame of the plate on one side."""
    if mode != "retake":
        return
    used = [frame for frame in there if part.first <= frame <= part.last]
    before = [frame for frame in used if frame < wanted.first]
    behind = [frame for frame in used if frame > wanted.last]
    if not before or not behind:
        side = "before" if not before else "behind"
        raise BadSetting(
            f"the plate has {compact(there)}, so no frame within {reach} is {side} {wanted}",
            "Leave at least one frame of the plate on both sides, or use `extend`.",
        )
