"""The command `voidbridge`: parses, calls one function, prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from voidbridge_backend.config import Config
from voidbridge_backend.worker import malloc
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import (
    BadSetting,
    DaemonError,
    JobCancelled,
    ProtocolError,
    RequestError,
    VoidbridgeError,
)
from voidbridge_protocol.operations.remove import RemoveSettings

from . import commands, key_parser, mask_parser, options
from . import key as key_command
from . import keys as key_commands
from . import mask as mask_command
from .argument_parser import Parser
from .progress import show_error
from .setting_options import add_settings
from .submission import MOST_AUTO_HANDLES

EXIT_DONE, EXIT_REQUEST, EXIT_DAEMON, EXIT_JOB, EXIT_CANCELLED = 0, 2, 3, 4, 5

SHAPE = """\
PLATE, MATTE and RESULT are sequences (plate.%04d.exr, plate.####.exr) or single OpenEXR files.
A matte is 0 outside and 1 on the object, or a quadmask with the codes 0, 63, 127 and 255."""

EXITS = "exit codes: 0 done, 2 bad request, 3 daemon unreachable, 4 job failed, 5 cancelled"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    malloc.keep_large_blocks()
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = argparse.Namespace(json="--json" in words)
    try:
        options = parser().parse_args(words)
        run: Callable[[argparse.Namespace], int | None] = options.run
        return run(options) or EXIT_DONE
    except VoidbridgeError as error:
        code = exit_code(error)
        show_error(getattr(options, "json", False), error, code)
        return code
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("voidbridge"):
            raise
        missing = BadSetting(
            f"this needs the package {error.name}, which is not installed",
            "Install the daemon's packages with: pip install 'voidbridge[backend]'",
        )
        show_error(getattr(options, "json", False), missing, EXIT_REQUEST)
        return EXIT_REQUEST
    except KeyboardInterrupt:
        show_error(getattr(options, "json", False), JobCancelled("stopped"), EXIT_CANCELLED)
        return EXIT_CANCELLED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of standard output has closed it
        return EXIT_DONE


def exit_code(error: VoidbridgeError) -> int:
    """Maps a branch of the error tree to its exit code."""
    if isinstance(error, JobCancelled):
        return EXIT_CANCELLED
    if isinstance(error, RequestError):
        return EXIT_REQUEST
    if isinstance(error, (DaemonError, ProtocolError)):
        return EXIT_DAEMON
    return EXIT_JOB


def parser() -> argparse.ArgumentParser:
    top = Parser(
        prog="voidbridge",
        description="Removes an object, and its shadow or reflection, from a film plate.",
        epilog="`voidbridge COMMAND --help` shows its options. `voidbridge @FILE` reads arguments from a file, "
        "one per line. " + EXITS,
        fromfile_prefix_chars="@",
    )
    top.add_argument("--version", action="version", version=__version__)
    found = top.add_subparsers(metavar="COMMAND", required=True, title="commands")
    _run_command(found)
    _mask_command(found)
    _key_commands(found)
    _serve_command(found)
    _job_commands(found)
    _other_commands(found)
    return top


def _command(found: Any, name: str, summary: str, run: Callable[..., Any], **more: Any) -> Any:
    made = found.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **more,
    )
    made.set_defaults(run=run)
    return made


def _run_command(found: Any) -> None:
    run = _command(
        found,
        "run",
        "remove an object from a shot and wait for the result",
        lambda o: commands.run(
            mask_parser.removal(o, options.client(o)),
            options.client(o),
            o.output,
            o.json,
            o.status_file,
            o.frames_from_stdin,
            o.overwrite,
        ),
        epilog=f"{SHAPE}\n\n{EXITS}",
    )
    _shot_options(run, needs_matte=False)
    mask_parser.add_prompt_options(run)
    run.add_argument(
        "-o", "--output", required=True, metavar="RESULT", help="result sequence or folder"
    )
    _overwrite_option(run)
    run.add_argument(
        "--status-file", type=Path, metavar="FILE", help="write job progress to FILE as JSON"
    )
    run.add_argument(
        "--frames-from-stdin",
        action="store_true",
        help="frames are still being rendered; standard input names the complete ones",
    )
    _daemon_options(run, embedded=True)
    submit = _command(
        found,
        "submit",
        "send a shot to a daemon and print the job's id",
        lambda o: commands.submit(lambda: options.removal(o), options.client(o), o.json),
        epilog=f"{SHAPE}\n\n{EXITS}",
    )
    _shot_options(submit)
    _daemon_options(submit)


def _overwrite_option(made: Any) -> None:
    made.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that Voidbridge did not make; sources are never replaced",
    )


def _mask_command(found: Any) -> None:
    mask = _command(
        found,
        "mask",
        "track an object from clicks, a box or a few key mattes, and write its mattes",
        lambda o: mask_command.mask(
            mask_parser.mask_options(o), options.client(o), o.json, o.overwrite
        ),
        epilog=f"{mask_parser.EPILOG}\n\n{EXITS}",
    )
    mask_parser.add_mask_options(mask)
    _daemon_options(mask, embedded=True)


def _key_commands(found: Any) -> None:
    key = _command(
        found,
        "key",
        "unmix a green or blue screen into foreground and alpha",
        lambda o: commands.run(
            lambda *_: key_parser.key_submission(o),
            options.client(o),
            o.output,
            o.json,
            o.status_file,
            overwrite=o.overwrite,
        ),
        epilog=f"{key_parser.SHAPE}\n\n{EXITS}",
    )
    key_parser.add_key_options(key)
    _daemon_options(key, embedded=True)
    report = _command(
        found,
        "key-report",
        "measure a key from its files, against a true alpha if there is one",
        lambda o: key_command.key_report(
            o.result, o.plate, o.truth or "", o.output or "", o.json, o.overwrite
        ),
    )
    key_parser.add_report_options(report)


def _shot_options(made: Any, *, needs_matte: bool = True) -> None:
    made.add_argument("plate", metavar="PLATE", help="the plate")
    made.add_argument(
        "matte",
        nargs=None if needs_matte else "?",
        metavar="MATTE",
        help="matte of the object to remove" + ("" if needs_matte else "; or give prompts"),
    )
    shot = made.add_argument_group("the shot")
    shot.add_argument(
        "--affected",
        metavar="MATTE",
        help="matte of shadow, ripples and other effects of the object",
    )
    shot.add_argument("--frames", metavar="1001-1100", help="default: every frame of the plate")
    shot.add_argument(
        "--handles",
        default="auto",
        metavar="N",
        help="frames before and after the range that help; auto (default): up to "
        f"{MOST_AUTO_HANDLES} that are there",
    )
    shot.add_argument(
        "--plate-start",
        type=int,
        metavar="N",
        help="number of the plate's first frame, as for a clip (default 1)",
    )
    shot.add_argument(
        "--matte-start",
        type=int,
        metavar="N",
        help="number of the mattes' first frame, as for tools that count from 0",
    )
    add_settings(made, RemoveSettings, {"the shot": shot})
    queue = made.add_argument_group("the queue")
    queue.add_argument("--priority", type=int, default=0, metavar="N", help="higher runs first")
    queue.add_argument("--force", action="store_true", help="run it even if its result exists")


def _daemon_options(made: Any, *, embedded: bool = False) -> None:
    group = made.add_argument_group("the daemon")
    group.add_argument(
        "--daemon",
        metavar="ADDRESS",
        help="as tcp://HOST:5577"
        + ("; default: start a temporary local daemon" if embedded else ""),
    )
    group.add_argument("--server-key", metavar="KEY", help="the daemon's public key, if it has one")
    group.add_argument("--keys", metavar="FOLDER", help="folder of your own key")
    group.add_argument("--user", default=None, metavar="NAME", help="owner of the jobs")
    group.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    if embedded:
        _config_options(group)


def _config_options(group: Any) -> None:
    group.add_argument(
        "--config", metavar="FILE", help=f"settings, TOML (default {options.CONFIG_FILE})"
    )
    for name, metavar, what in (
        ("models", "FOLDER", "the weights of the engine void"),
        ("spool", "FOLDER", "folder for received frames and results"),
        ("devices", "LIST", "cpu, cuda:0, ...; auto"),
        ("ocio", "FILE", "an OpenColorIO config"),
        ("window-mb", "N", "megabytes in flight, for each client"),
    ):
        group.add_argument(f"--{name}", metavar=metavar, help=what)


def _serve_command(found: Any) -> None:
    serve = _command(
        found,
        "serve",
        "run the daemon",
        lambda o: commands.serve(options.config(o)[0], o.until_stdin_closes),
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
    serve.add_argument("--max-frames", metavar="N", help="maximum frames of one job")
    serve.add_argument("--max-file-mb", metavar="N", help="maximum megabytes of one file")
    serve.add_argument(
        "--stall-s", metavar="N", help="seconds without a step before a worker counts as hung"
    )
    serve.add_argument("--load-s", metavar="N", help="maximum seconds for loading an engine")
    serve.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    _config_options(serve)


def _job_commands(found: Any) -> None:
    status = _command(
        found,
        "status",
        "show the jobs of a daemon, or one of them",
        lambda o: commands.status(options.client(o), o.job, o.json),
    )
    status.add_argument("job", nargs="?", metavar="JOB")
    _daemon_options(status)
    fetch = _command(
        found,
        "fetch",
        "wait for a job and write its results",
        lambda o: commands.fetch(options.client(o), o.job, o.output, o.json, o.overwrite),
    )
    fetch.add_argument("job", metavar="JOB")
    fetch.add_argument(
        "-o",
        "--output",
        default="",
        metavar="RESULT",
        help="where the results go, or a folder; default: a folder with the name of the job",
    )
    _overwrite_option(fetch)
    _daemon_options(fetch)
    cancel = _command(
        found, "cancel", "stop a job", lambda o: commands.cancel(options.client(o), o.job, o.json)
    )
    cancel.add_argument("job", metavar="JOB")
    _daemon_options(cancel)


def _other_commands(found: Any) -> None:
    demo = _command(
        found,
        "demo",
        "render a small shot with known truth, remove its object, report and draw a picture",
        lambda o: commands.demo(options.client(o), o.folder, o.json),
    )
    demo.add_argument("folder", nargs="?", default="demo", metavar="FOLDER", help="default: demo")
    _daemon_options(demo, embedded=True)
    _report_command(found)
    doctor = _command(
        found,
        "doctor",
        "check the installation, with a tiny round trip",
        lambda o: _doctor(o),
    )
    doctor.add_argument(
        "files", nargs="*", metavar="FILE", help="tell what these sequences are, and check nothing"
    )
    _daemon_options(doctor, embedded=True)
    bundle = _command(
        found,
        "support-bundle",
        "write versions, settings, health, jobs and log into one file, without names and paths",
        lambda o: commands.support_bundle(
            Path(o.output), options.config(o)[1], o.log, options.client(o), o.json
        ),
    )
    bundle.add_argument(
        "-o", "--output", default="voidbridge-support.zip", metavar="FILE", help="the file"
    )
    bundle.add_argument("--log", type=Path, metavar="FILE", help="default: the service's journal")
    _daemon_options(bundle, embedded=True)
    models = _command(
        found,
        "models",
        "list, check and fetch the files of the engine void",
        lambda o: _models(o),
        epilog="""\
actions: list (default)  show needed files and their state
fetch           download missing files from huggingface.co
prepare         compute prompt embeddings for all jobs once
make-tiny       write a tiny model with the same layout, for a quick trial
accept NAME     accept the terms of an engine's weights (corridorkey) for the setting `models`
""",
    )
    models.add_argument("action", nargs="?", default="list", metavar="ACTION", help="default: list")
    models.add_argument("folder", nargs="?", metavar="FOLDER", help="default: the setting `models`")
    models.add_argument(
        "--sha256", action="store_true", help="read every byte of files with a known SHA-256"
    )
    models.add_argument("--devices", metavar="LIST", help="`prepare` computes on the first; auto")
    models.add_argument(
        "--config", metavar="FILE", help=f"settings, TOML (default {options.CONFIG_FILE})"
    )
    models.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    _keys_command(found)
    install = _command(
        found,
        "install",
        "write the plug-in of a host",
        lambda o: commands.install(o.host, o.to, options.variable("APPDATA"), o.remove),
    )
    install.add_argument("host", metavar="HOST", help="nuke, resolve")
    install.add_argument("--to", metavar="FOLDER", help="folder for the plug-in")
    install.add_argument("--remove", action="store_true", help="uninstall")
    settings = _command(
        found,
        "config",
        "show every setting, its value and its origin",
        lambda o: _show_config(o),
    )
    settings.add_argument("--json", action="store_true", help="as one JSON object")
    _config_options(settings)


def _keys_command(found: Any) -> None:
    made = _command(
        found,
        "keys",
        "make and show keys, and list the keys that a daemon allows",
        lambda o: key_commands.execute(key_commands.parsed(o), options.config(o)[0].keys, o.json),
        epilog=key_commands.ACTIONS_HELP,
    )
    made.add_argument("action", nargs="?", default="list", metavar="ACTION", help="default: list")
    made.add_argument(
        "name", nargs="?", default="", metavar="NAME", help="daemon, a user, or a key"
    )
    made.add_argument("key", nargs="?", default="", metavar="KEY", help="a public key")
    made.add_argument("--admin", action="store_true", help="sees and cancels everybody's jobs")
    made.add_argument("--replace", action="store_true", help="replace an existing key")
    made.add_argument("--keys", metavar="FOLDER", help="folder of the keys")
    made.add_argument("--json", action="store_true", help="one JSON object a line on stdout")


def _report_command(found: Any) -> None:
    report = _command(
        found,
        "report",
        "measure a result around its hole, and against a truth, from its files",
        lambda o: commands.report(
            options.report_files(o), options.report_settings(o), o.output or "", o.json, o.overwrite
        ),
    )
    report.add_argument("result", metavar="RESULT")
    report.add_argument("plate", metavar="PLATE")
    report.add_argument("matte", metavar="MATTE")
    report.add_argument("--affected", metavar="MATTE", help="matte of the object's effects")
    report.add_argument("--truth", metavar="TRUTH", help="the plate without the object, if known")
    report.add_argument("-o", "--output", metavar="PICTURE", help="PNG with sample frames")
    _overwrite_option(report)
    add_settings(report, RemoveSettings, only=options.OF_THE_HOLE)
    report.add_argument("--json", action="store_true", help="one JSON object a line on stdout")


def _doctor(parsed: argparse.Namespace) -> int:
    """Its lines have told people of the error already; programs get the event that ends every failure."""
    if parsed.files:
        commands.describe(parsed.files, options.config(parsed)[0].ocio, parsed.json)
        return EXIT_DONE
    error = commands.doctor(options.client(parsed), parsed.json)
    if error is None:
        return EXIT_DONE
    if parsed.json:
        show_error(True, error, exit_code(error))
    return exit_code(error)


def _show_config(parsed: argparse.Namespace) -> None:
    commands.show_config(options.config(parsed)[1], parsed.json)


def _models(parsed: argparse.Namespace) -> None:
    """`models FOLDER` means `models list FOLDER`."""
    action, folder = parsed.action, parsed.folder
    if action == "accept":
        key_command.accept_terms(folder or "", options.config(parsed)[0].models, parsed.json)
        return
    if action not in commands.MODEL_ACTIONS:
        if folder is not None:
            raise BadSetting(
                f"unknown action {action!r}; choose from {', '.join(commands.MODEL_ACTIONS)}",
                "`voidbridge models --help` explains each action.",
            )
        action, folder = "list", action
    found = options.config(parsed)[0]
    where = Path(folder).expanduser() if folder else None
    commands.models(action, where, found, parsed.sha256, parsed.json)
