"""The commands `key` and `key-report`, and the consent to the terms of a keyer's weights."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from voidbridge_backend.cli.common_options import (
    add_host_options,
    add_json_option,
    add_overwrite_option,
    add_plate_start,
    add_queue_options,
    add_range_options,
    add_result_option,
)
from voidbridge_backend.cli.options import beside, handles_of, plate_of
from voidbridge_backend.cli.setting_options import add_settings, settings_of
from voidbridge_backend.client import outputs
from voidbridge_backend.client.progress import JsonView, measuring, watched
from voidbridge_backend.client.submission import Submission
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import FrameRange
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.key import KeySettings

SHAPE = """\
PLATE, HINT and SCREEN are sequences (plate.%04d.exr, plate.####.exr), folders with one, clips, or single files.
A result has the key in R, G, B and A, and the layers fg, alpha and screen."""


def key_report(parsed: argparse.Namespace) -> None:
    """Measures a key from its files; the numbers go to standard output.

    Raises `OverwritesSource` or, without --overwrite, `OutputExists` before anything is measured.
    """
    from voidbridge_backend.tools.report import key_report as report

    plate = plate_of(parsed)
    result = beside(find(parsed.result), plate, None)
    truth = beside(find(parsed.truth), plate, None) if parsed.truth else None
    target = Path(parsed.output) if parsed.output else None
    if target:
        named = [result, plate, *([truth] if truth else ())]
        outputs.check_picture(target, named, parsed.overwrite)
    with watched(parsed.json) as (view, cancelled):
        on_frame = measuring(view, cancelled)
        found = report.review(result, plate, truth, target, on_frame)
        view.event("key-quality", **asdict(found))
    if not parsed.json:
        print("\n".join(found.lines()))


def accept_terms(name: str, folder: Path, as_json: bool) -> None:
    """Shows the terms of an engine's weights and records for a models folder that the user accepts them."""
    from voidbridge_backend.engines.corridorkey.terms import TERMS as CORRIDORKEY
    from voidbridge_backend.engines.ltx.terms import TERMS as LTX

    known = {terms.engine: terms for terms in (CORRIDORKEY, LTX)}
    if name not in known:
        raise BadSetting(
            f"there are no terms to accept for {name or 'no name'!r}",
            f"Name an engine whose weights have terms: {', '.join(known)}",
        )
    terms = known[name]
    if not as_json:
        print(terms.text)
        for path in sorted(folder.glob(terms.licences)):
            print(f"{path}:\n\n{path.read_text(encoding='utf-8', errors='replace')}")
    path, digest = terms.accept(folder, date.today()), terms.sha256()
    if as_json:
        JsonView().event("accepted-terms", network=terms.name, path=str(path), sha256=digest)
    else:
        print(f"You accepted these terms for {folder}. The record is {path}")


def add_key_options(parser: Any) -> None:
    """Everything but the options of the daemon."""
    parser.add_argument("plate", metavar="PLATE", help="the plate")
    parser.add_argument("hint", nargs="?", metavar="HINT", help="a rough alpha of the foreground")
    add_result_option(parser)
    add_overwrite_option(parser)
    add_host_options(parser)
    shot = parser.add_argument_group("the shot")
    shot.add_argument(
        "--clean-screen", metavar="SCREEN", help="the screen without a foreground, for any frames"
    )
    add_range_options(shot)
    add_plate_start(shot)
    shot.add_argument(
        "--hint-start",
        type=int,
        metavar="N",
        help="number of the hint's first frame, as for tools that count from 0",
    )
    add_settings(parser, KeySettings, {"the shot": shot})
    add_queue_options(parser)


def key_submission(parsed: argparse.Namespace) -> Submission:
    """The job of `key`. Raises `BadPattern`, `BadSetting`."""
    files = {"plate": plate_of(parsed)}
    if parsed.hint:
        files["hint"] = beside(find(parsed.hint), files["plate"], parsed.hint_start)
    if parsed.clean_screen:
        files["screen"] = find(parsed.clean_screen)
    return Submission(
        files,
        settings_of(parsed, KeySettings),
        frames=FrameRange.parse(parsed.frames) if parsed.frames else None,
        handles=handles_of(parsed),
        operation="key",
        priority=parsed.priority,
        force=parsed.force,
    )


def add_report_options(parser: Any) -> None:
    parser.add_argument("result", metavar="RESULT", help="result of `voidbridge key`")
    parser.add_argument("plate", metavar="PLATE", help="the plate of that result")
    parser.add_argument("--truth", metavar="ALPHA", help="the true alpha, if it is known")
    parser.add_argument(
        "-o", "--output", metavar="PICTURE", help="a PNG: over a checkerboard, black and a color"
    )
    add_overwrite_option(parser)
    add_plate_start(parser)
    add_json_option(parser)
