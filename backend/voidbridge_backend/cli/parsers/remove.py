"""The parsers of the commands that remove an object: run, survey and submit."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from voidbridge_backend.cli import options
from voidbridge_backend.cli.commands import jobs, mask
from voidbridge_backend.cli.common_options import (
    add_daemon_options,
    add_host_options,
    add_json_option,
    add_matte_start,
    add_openjd_option,
    add_overwrite_option,
    add_plate_start,
    add_queue_options,
    add_range_options,
    add_result_option,
)
from voidbridge_backend.cli.exits import EXITS
from voidbridge_backend.cli.setting_options import add_settings, option
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import SURVEY_ENGINE, SURVEY_SETTINGS, RemoveSettings

PLATE_SHAPE = """\
PLATE and MATTE are sequences (plate.%04d.exr, plate.####.exr), folders with one, clips, or single files.
A matte is 0 outside and 1 on the object, or a quadmask with the codes 0, 63, 127 and 255."""
SHAPE = f"{PLATE_SHAPE}\nRESULT is a sequence of OpenEXR files, a folder, or one file."


def add_run(parser: Any) -> None:
    parser.set_defaults(
        run=lambda o: jobs.run(
            mask.removal(o, options.client(o)),
            options.client(o),
            o.output,
            o.json,
            o.status_file,
            o.frames_from_stdin,
            o.overwrite,
            o.openjd,
        )
    )
    parser.epilog = f"{SHAPE}\n\n{EXITS}"
    add_shot_options(parser, needs_matte=False)
    _add_survey_option(parser)
    mask.add_prompt_options(parser)
    add_result_option(parser)
    add_overwrite_option(parser)
    add_openjd_option(parser)
    add_host_options(parser)
    add_daemon_options(parser, local=True)


def add_survey(parser: Any) -> None:
    parser.set_defaults(run=_survey)
    parser.epilog = f"{PLATE_SHAPE}\n\n{EXITS}"
    add_shot_options(parser, for_survey=True)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="file for the survey")
    add_overwrite_option(parser)
    add_openjd_option(parser)
    add_json_option(parser)


def _survey(parsed: argparse.Namespace) -> None:
    from voidbridge_backend.tools.survey import survey

    if parsed.engine != SURVEY_ENGINE:
        raise BadSetting(
            f"the engine {parsed.engine} has no survey: it looks at each range by itself",
            f"Choose {SURVEY_ENGINE}, or run the job without a survey.",
        )
    ocio = options.config(parsed)[0].ocio
    typed = parsed.output, parsed.overwrite, parsed.json, parsed.openjd
    survey(lambda: options.removal(parsed), ocio, *typed)


def add_submit(parser: Any) -> None:
    parser.set_defaults(
        run=lambda o: jobs.submit(lambda: options.removal(o), options.client(o), o.json)
    )
    parser.epilog = f"{PLATE_SHAPE}\n\n{EXITS}"
    add_shot_options(parser)
    _add_survey_option(parser)
    add_daemon_options(parser)


def _add_survey_option(parser: Any) -> None:
    parser.add_argument(
        "--survey",
        metavar="FILE",
        help="file of `voidbridge survey` with the same options, for a job of a range; --handles auto then means "
        "the whole shot; cleanplate only",
    )


class _ForJobs(argparse.Action):
    """An option that a survey does not depend on."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        raise BadSetting(
            f"{option} does not change a survey",
            "Leave it out here, and give it to `voidbridge run`: any value goes with this survey.",
        )


def add_shot_options(
    parser: Any,
    *,
    needs_matte: bool = True,
    needs_plate: bool = True,
    for_survey: bool = False,
) -> None:
    """Adds plate, matte, frames and every setting of a removal, or those on which a survey depends."""
    parser.add_argument(
        "plate", nargs=None if needs_plate else "?", metavar="PLATE", help="the plate"
    )
    parser.add_argument(
        "matte",
        nargs=None if needs_matte else "?",
        metavar="MATTE",
        help="matte of the object to remove"
        + ("; or give prompts" if needs_plate and not needs_matte else ""),
    )
    shot = parser.add_argument_group("the shot")
    shot.add_argument(
        "--affected",
        metavar="MATTE",
        help="matte of shadow, ripples and other effects of the object",
    )
    shot.add_argument(
        "--clean",
        action="append",
        metavar="FRAME=FILE",
        help="painted background of a frame, RGB with alpha or a whole frame; repeatable, or one sequence",
    )
    add_range_options(shot)
    add_plate_start(shot)
    add_matte_start(shot)
    others = [field.name for field in fields(RemoveSettings) if field.name not in SURVEY_SETTINGS]
    add_settings(parser, RemoveSettings, {"the shot": shot}, without=others if for_survey else ())
    if not for_survey:
        add_queue_options(parser)
        return
    for name in (*others, "priority", "force"):
        parser.add_argument(
            option(name), action=_ForJobs, nargs="?", dest="_", help=argparse.SUPPRESS
        )
