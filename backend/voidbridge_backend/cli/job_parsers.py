"""The parsers of the commands about jobs: run, mask, key, generate, train, submit, status, fetch, cancel, serve."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from voidbridge_backend.client.daemon_client import ClientOptions
from voidbridge_backend.client.submission import MOST_AUTO_HANDLES
from voidbridge_backend.config import Config
from voidbridge_protocol.operations.remove import RemoveSettings

from . import options
from .commands import farm, generate, jobs, key, mask, train
from .common_options import (
    EXITS,
    add_command,
    add_config_options,
    add_daemon_options,
    add_matte_start,
    add_overwrite_option,
    add_plate_start,
)
from .setting_options import add_settings

SHAPE = """\
PLATE and MATTE are sequences (plate.%04d.exr, plate.####.exr), folders with one, clips, or single files.
RESULT is a sequence of OpenEXR files, a folder, or one file.
A matte is 0 outside and 1 on the object, or a quadmask with the codes 0, 63, 127 and 255."""


def add_job_commands(found: Any) -> None:
    """Adds the commands in the order of `voidbridge --help`."""
    _run_command(found)
    _submit_command(found)
    _farm_command(found)
    _mask_command(found)
    _key_commands(found)
    _generate_command(found)
    _train_command(found)
    _serve_command(found)
    _job_commands(found)


def _run_command(found: Any) -> None:
    run = add_command(
        found,
        "run",
        "remove an object from a shot and wait for the result",
        lambda o: jobs.run(
            mask.removal(o, options.client(o)),
            options.client(o),
            o.output,
            o.json,
            o.status_file,
            o.frames_from_stdin,
            o.overwrite,
            o.openjd,
        ),
        epilog=f"{SHAPE}\n\n{EXITS}",
    )
    add_shot_options(run, needs_matte=False)
    mask.add_prompt_options(run)
    run.add_argument(
        "-o", "--output", required=True, metavar="RESULT", help="result sequence or folder"
    )
    add_overwrite_option(run)
    run.add_argument(
        "--openjd",
        action="store_true",
        help="print progress as messages of Open Job Description, for a farm",
    )
    run.add_argument(
        "--status-file", type=Path, metavar="FILE", help="write job progress to FILE as JSON"
    )
    run.add_argument(
        "--frames-from-stdin",
        action="store_true",
        help="frames are still being rendered; standard input names the complete ones",
    )
    add_daemon_options(run, local=True)


def _submit_command(found: Any) -> None:
    submit = add_command(
        found,
        "submit",
        "send a shot to a daemon and print the job's id",
        lambda o: jobs.submit(lambda: options.removal(o), options.client(o), o.json),
        epilog=f"{SHAPE}\n\n{EXITS}",
    )
    add_shot_options(submit)
    add_daemon_options(submit)


def _farm_command(found: Any) -> None:
    parser = add_command(
        found,
        "farm",
        "write a job bundle for a farm: one task for each shot",
        farm.farm,
        epilog=f"{SHAPE}\n{farm.SHAPE}\n\n{EXITS}",
    )
    add_shot_options(parser, needs_matte=False, needs_plate=False)
    parser.add_argument("-o", "--output", metavar="RESULT", help="result sequence or folder")
    parser.add_argument("--bundle", required=True, metavar="FOLDER", help="gets the job's files")
    parser.add_argument("--shots", metavar="TABLE", help="many shots, a CSV file")
    parser.add_argument("--name", metavar="NAME", help="name of the job on the farm")
    parser.add_argument(
        "--for",
        dest="farm",
        choices=farm.FARMS,
        default=farm.FARMS[0],
        help="the farm that takes the files (default openjd)",
    )
    parser.add_argument(
        "--task",
        action="append",
        metavar="COMMAND",
        help="a command instead of shots, as the task of a Nuke node; may be given again",
    )
    parser.add_argument(
        "--then",
        metavar="COMMAND",
        default="",
        help='a command that waits for all shots, as "nuke -x comp.nk 1001,1100"',
    )
    parser.add_argument("--service", default="voidbridge", help="a service of Tractor's blades")
    parser.add_argument("--show", default="voidbridge", help="a show that OpenCue knows")
    add_overwrite_option(parser)
    needs = parser.add_argument_group("the farm's machines")
    needs.add_argument("--gpus", type=int, metavar="N", help="cards; default: 1 for void, else 0")
    needs.add_argument("--vcpus", type=int, default=2, metavar="N", help="cores (default 2)")
    needs.add_argument("--memory-gb", type=int, default=8, metavar="N", help="default 8")
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout")


def _mask_command(found: Any) -> None:
    parser = add_command(
        found,
        "mask",
        "track an object from clicks, a box or a few key mattes, and write its mattes",
        lambda o: mask.mask(mask.mask_options(o), options.client(o), o.json, o.overwrite),
        epilog=f"{mask.EPILOG}\n\n{EXITS}",
    )
    mask.add_mask_options(parser)
    add_daemon_options(parser, local=True)


def _key_commands(found: Any) -> None:
    parser = add_command(
        found,
        "key",
        "unmix a green or blue screen into foreground and alpha",
        lambda o: jobs.run(
            lambda *_: key.key_submission(o),
            options.client(o),
            o.output,
            o.json,
            o.status_file,
            o.frames_from_stdin,
            o.overwrite,
        ),
        epilog=f"{key.SHAPE}\n\n{EXITS}",
    )
    key.add_key_options(parser)
    add_daemon_options(parser, local=True)
    report = add_command(
        found,
        "key-report",
        "measure a key from its files, against a true alpha if there is one",
        key.key_report,
    )
    key.add_report_options(report)


def _generate_command(found: Any) -> None:
    parser = add_command(
        found,
        "generate",
        "make new frames: between two clips, beyond a clip, or again inside one",
        lambda o: _generate(o, options.client(o)),
        epilog=f"{generate.SHAPE}\n\n{EXITS}",
    )
    generate.add_generate_options(parser)
    add_daemon_options(parser, local=True)


def _generate(parsed: argparse.Namespace, client_options: ClientOptions) -> None:
    if parsed.shots:
        generate.generate_shots(parsed, client_options)
        return
    jobs.run(
        lambda *_: generate.generate_submission(parsed),
        client_options,
        parsed.output,
        parsed.json,
        parsed.status_file,
        overwrite=parsed.overwrite,
    )


def _train_command(found: Any) -> None:
    parser = add_command(
        found,
        "train",
        "train a LoRA for a show from its dataset",
        lambda o: train.train(o, options.client(o)),
        epilog=EXITS,
    )
    train.add_train_options(parser)
    add_daemon_options(parser, local=True)


def add_shot_options(parser: Any, *, needs_matte: bool = True, needs_plate: bool = True) -> None:
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
        help="painted background of a frame, RGB with alpha or a whole frame; any number of times, or a sequence",
    )
    shot.add_argument("--frames", metavar="1001-1100", help="default: every frame of the plate")
    shot.add_argument(
        "--handles",
        default="auto",
        metavar="N",
        help="frames before and after the range that help; auto (default): up to "
        f"{MOST_AUTO_HANDLES} that are there",
    )
    add_plate_start(shot)
    add_matte_start(shot)
    add_settings(parser, RemoveSettings, {"the shot": shot})
    queue = parser.add_argument_group("the queue")
    queue.add_argument("--priority", type=int, default=0, metavar="N", help="higher runs first")
    queue.add_argument("--force", action="store_true", help="run it even if its result exists")


def _serve_command(found: Any) -> None:
    serve = add_command(
        found,
        "serve",
        "run the daemon",
        lambda o: jobs.serve(options.config(o)[0], o.until_stdin_closes),
    )
    serve.add_argument("--listen", metavar="ADDRESS", help=f"default {Config().listen}")
    serve.add_argument(
        "--keys", metavar="FOLDER", help="folder of the daemon's key and the allowed keys"
    )
    serve.add_argument(
        "--require-keys",
        action="store_true",
        default=None,
        help="require keys for local addresses too",
    )
    serve.add_argument("--shares", metavar="LIST", help="folders for file import by path")
    serve.add_argument(
        "--devices-per-job", metavar="N", help="devices that one job may use if the others are idle"
    )
    serve.add_argument(
        "--ray", metavar="ADDRESS", help="the Ray cluster with more devices: auto, or HOST:PORT"
    )
    serve.add_argument(
        "--ray-resource",
        metavar="NAME",
        help=f"resource of Ray whose units are devices (default {Config().ray_resource})",
    )
    serve.add_argument("--max-frames", metavar="N", help="maximum frames of one job")
    serve.add_argument("--max-file-mb", metavar="N", help="maximum megabytes of one file")
    serve.add_argument(
        "--stall-s", metavar="N", help="seconds without a step before a worker counts as hung"
    )
    serve.add_argument("--load-s", metavar="N", help="maximum seconds for loading an engine")
    serve.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    add_config_options(serve)


def _job_commands(found: Any) -> None:
    status = add_command(
        found,
        "status",
        "show the jobs of a daemon, or one of them",
        lambda o: jobs.status(options.client(o), o.job, o.json),
    )
    status.add_argument("job", nargs="?", metavar="JOB", help="show only the job with this id")
    add_daemon_options(status)
    fetch = add_command(
        found,
        "fetch",
        "wait for a job and write its results",
        lambda o: jobs.fetch(options.client(o), o.job, o.output, o.json, o.overwrite),
    )
    fetch.add_argument("job", metavar="JOB", help="the id that submit printed")
    fetch.add_argument(
        "-o",
        "--output",
        default="",
        metavar="RESULT",
        help="where the results go, or a folder; default: a folder with the name of the job",
    )
    add_overwrite_option(fetch)
    add_daemon_options(fetch)
    cancel = add_command(
        found,
        "cancel",
        "stop a job",
        lambda o: jobs.cancel(options.client(o), o.job, o.json),
    )
    cancel.add_argument("job", metavar="JOB", help="the id of the job")
    add_daemon_options(cancel)
