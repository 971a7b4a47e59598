"""The parsers of the commands beside jobs, such as web, demo, report, doctor, models and install."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from voidbridge_backend.cli import options
from voidbridge_backend.cli.commands import ask, dataset, key, tools, web
from voidbridge_backend.cli.common_options import (
    add_config_option,
    add_daemon_options,
    add_json_option,
    add_matte_start,
    add_overwrite_option,
    add_plate_start,
)
from voidbridge_backend.cli.exits import EXIT_DONE, exit_code
from voidbridge_backend.cli.setting_options import add_settings
from voidbridge_backend.client.progress import show_error
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

from . import page_forms


def add_web(parser: Any) -> None:
    parser.set_defaults(
        run=lambda o: web.web(
            o, options.client(o), options.config(o)[0].ocio, page_forms.page_options()
        )
    )
    web.add_web_options(parser)
    add_daemon_options(parser)


def add_demo(parser: Any) -> None:
    parser.set_defaults(run=lambda o: tools.demo(options.client(o), o.folder, o.json))
    parser.add_argument("folder", nargs="?", default="demo", metavar="FOLDER", help="default: demo")
    add_daemon_options(parser, local=True)


def add_mask_ask(parser: Any) -> None:
    parser.set_defaults(run=ask.ask)
    parser.epilog = ask.EPILOG
    ask.add_ask_options(parser)


def add_report(parser: Any) -> None:
    parser.set_defaults(
        run=lambda o: tools.report(
            options.report_files(o), options.report_settings(o), o.output or "", o.json, o.overwrite
        )
    )
    parser.add_argument("result", metavar="RESULT", help="the result, measured in all its frames")
    parser.add_argument("plate", metavar="PLATE", help="the plate of this result")
    parser.add_argument("matte", metavar="MATTE", help="the matte of this result")
    parser.add_argument("--affected", metavar="MATTE", help="matte of the object's effects")
    parser.add_argument("--truth", metavar="TRUTH", help="the plate without the object, if known")
    parser.add_argument("-o", "--output", metavar="PICTURE", help="write a PNG with sample frames")
    add_overwrite_option(parser)
    add_plate_start(parser)
    add_matte_start(parser)
    add_settings(parser, RemoveSettings, only=options.HOLE_SETTINGS)
    add_json_option(parser)


def add_doctor(parser: Any) -> None:
    parser.set_defaults(run=_doctor)
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="describe these sequences, and check nothing"
    )
    add_daemon_options(parser, local=True)


def _doctor(parsed: argparse.Namespace) -> int:
    """Runs the check. Its lines already show the error to people; programs get an event, too."""
    if parsed.files:
        tools.describe(parsed.files, options.config(parsed)[0].ocio, parsed.json)
        return EXIT_DONE
    error = tools.doctor(options.client(parsed), parsed.json)
    if error is None:
        return EXIT_DONE
    if parsed.json:
        show_error(True, error, exit_code(error))
    return exit_code(error)


def add_support_bundle(parser: Any) -> None:
    parser.set_defaults(
        run=lambda o: tools.support_bundle(
            Path(o.output), options.config(o)[1], o.log, options.client(o), o.json
        )
    )
    parser.add_argument(
        "-o",
        "--output",
        default="voidbridge-support.zip",
        metavar="FILE",
        help="the file (default voidbridge-support.zip)",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="default: the service's journal")
    add_daemon_options(parser, local=True)


def add_models(parser: Any) -> None:
    parser.set_defaults(run=_models)
    parser.epilog = """\
actions:
list            show needed files and their state (default)
fetch           download missing files from huggingface.co
prepare         compute prompt embeddings for all jobs once
make-tiny       write a tiny model with the same layout, for a quick trial
accept NAME     accept the terms of an engine's weights (corridorkey, ltx) for the setting `models`
"""
    parser.add_argument("action", nargs="?", default="list", metavar="ACTION", help="default: list")
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="default: the setting `models`")
    parser.add_argument(
        "--sha256", action="store_true", help="read every byte of files with a known SHA-256"
    )
    parser.add_argument(
        "--engine",
        choices=("void", "ltx", "sam2", "sam3"),
        default="void",
        help="engine that needs the files (default void)",
    )
    parser.add_argument(
        "--models", metavar="FOLDER", help="folder to use instead of the setting `models`"
    )
    parser.add_argument(
        "--devices", metavar="LIST", help="`prepare` computes on the first of these (default auto)"
    )
    add_config_option(parser)
    add_json_option(parser)


def _models(parsed: argparse.Namespace) -> None:
    """`models FOLDER` means `models list FOLDER`."""
    action, folder = parsed.action, parsed.folder
    if action == "accept":
        key.accept_terms(folder or "", options.config(parsed)[0].models, parsed.json)
        return
    if action not in tools.MODEL_ACTIONS:
        if folder is not None:
            raise BadSetting(
                f"unknown action {action!r}; choose from {', '.join(tools.MODEL_ACTIONS)}",
                "`voidbridge models --help` explains each action.",
            )
        action, folder = "list", action
    found = options.config(parsed)[0]
    where = Path(folder).expanduser() if folder else None
    if parsed.engine == "ltx":
        tools.ltx_models(action, where, found, parsed.json)
        return
    if parsed.engine in ("sam2", "sam3"):
        tools.sam_models(parsed.engine, action, where, found, parsed.json)
        return
    tools.models(action, where, found, parsed.sha256, parsed.json)


def add_dataset(parser: Any) -> None:
    parser.set_defaults(run=lambda o: dataset.make_dataset(o, options.config(o)[0]))
    dataset.add_dataset_options(parser)


def add_install(parser: Any) -> None:
    parser.set_defaults(
        run=lambda o: tools.install(o.host, o.to, options.variable("APPDATA"), o.remove)
    )
    parser.add_argument("host", metavar="HOST", help="nuke, resolve")
    parser.add_argument("--to", metavar="FOLDER", help="folder for the plug-in")
    parser.add_argument("--remove", action="store_true", help="uninstall")


def add_selftest(parser: Any) -> None:
    parser.set_defaults(run=lambda o: tools.selftest(o.host, o.to))
    parser.add_argument("host", metavar="HOST", help="nuke, resolve")
    parser.add_argument(
        "--to", metavar="FILE", help="default: voidbridge_selftest.py or .lua in the current folder"
    )


def add_archive(parser: Any) -> None:
    parser.set_defaults(run=lambda o: tools.archive(o.folders, o.to, o.move, o.json))
    parser.add_argument("folders", nargs="+", metavar="VERSION", help="folders of versions")
    parser.add_argument("--to", required=True, metavar="PLACE", help="folder of the archive")
    parser.add_argument(
        "--move", action="store_true", help="delete each version once its copy is verified"
    )
    add_json_option(parser)
